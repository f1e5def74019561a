"""Layers with kernels of few bits.

A layer counts as the float layer that it extends, but where it multiplies
signs with signs: those are binary MACs. A sign times a float is an addition
on hardware that is made for it, a product elsewhere, and counts as one.
Quantizing inputs compares them with thresholds, which is no product.
"""

import math

from keras import ops

from fritz_compress.costs import convolution, products
from fritz_compress.costs.table import Call, Cost, rule
from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    XnorConv2D,
    XnorDense,
)
from fritz_compress.layers.binary_kernel import BinaryKernel


@rule(BinaryConv2D)
def convolved(call: Call) -> Cost:
    return _of_signs(call, convolution.convolution(call))


@rule(BinaryDepthwiseConv2D)
def depthwise(call: Call) -> Cost:
    return _of_signs(call, convolution.depthwise(call))


@rule(BinaryDense)
def dense(call: Call) -> Cost:
    return _of_signs(call, products.dense(call))


@rule(XnorConv2D)
def xnor_convolved(call: Call) -> Cost:
    """A mean of channels at each position, a convolution of it, a product."""
    layer = call.operation
    means = call.inputs // layer.kernel.shape[-2]
    summed = call.outputs // layer.filters * math.prod(layer.kernel_size)
    return convolved(call) + Cost(summed, means + call.outputs)


@rule(XnorDense)
def xnor_dense(call: Call) -> Cost:
    """A mean of each vector, and a product."""
    means = call.inputs // call.shape[-1]
    return dense(call) + Cost(others=means + call.outputs)


def has_scale(layer: BinaryKernel) -> bool:
    """Whether the sums of each filter are multiplied by a number.

    It may be a weight, or what the quantizer makes of the latent kernel.
    """
    quantizer = layer.kernel_quantizer
    if layer.use_scale or quantizer is None:
        return layer.use_scale
    any_kernel = ops.zeros(layer.kernel.shape)
    _, scale = quantizer.levels_and_scale(any_kernel, layer.kernel_axes)
    return scale is not None


def _of_signs(call: Call, plain: Cost) -> Cost:
    """Sums of signs are scaled after; the scale of others is in the kernel."""
    layer = call.operation
    if not layer.is_binary:
        return plain
    scales = call.outputs if has_scale(layer) else 0
    return Cost(others=plain.others, binary_macs=plain.macs) + Cost(
        others=scales
    )
