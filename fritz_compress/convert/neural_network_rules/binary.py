"""Layers with kernels and inputs of few bits as Core ML layers.

The kernel in the file holds levels, which take their few bits there. Scale
and bias follow, so that sums of levels stay whole numbers.
"""

import functools
import math

import keras
import numpy as np

from fritz_compress.convert.neural_network_rules.activations import (
    add_activation,
)
from fritz_compress.convert.neural_network_rules.common import (
    array,
    check_channels_last,
)
from fritz_compress.convert.neural_network_rules.convolutions import (
    add_convolution,
    add_dense,
    by_channel,
)
from fritz_compress.convert.neural_network_rules.few_bits import add_quantizer


def _write(writer, node, sources, target, product, magnitudes=None):
    """Quantizer, padding, product, scale, magnitudes, bias, activation."""
    layer = node.operation
    check_channels_last(node)
    levels, scale = layer.kernel_levels()
    bias = array(layer.bias) if layer.use_bias else None
    steps = []

    def then(add, *arguments):
        steps.append(functools.partial(add, writer, *arguments))

    if layer.input_quantizer is not None and layer.quantizes_inputs:
        then(add_quantizer, layer.input_quantizer, layer.name)
    if layer.pads:
        then(_add_border, node)
    # The bias goes with what comes last of the three.
    after_scale = None if magnitudes else bias
    then(product, node, array(levels), after_scale if scale is None else None)
    if scale is not None:
        then(_add_scale, array(scale), after_scale)
    if magnitudes:
        then(_add_product, node, sources[0], magnitudes)
        if bias is not None:
            then(_add_bias, bias)
    if layer.activation is not keras.activations.linear:
        then(add_activation, layer.activation, layer.name)
    _chain(writer, steps, sources[0], target)


def _chain(writer, steps, source, target):
    """Calls `step(source, result)`, each with the result of the one before."""
    results = [*(writer.blob() for _ in steps[1:]), target]
    for step, read, made in zip(steps, [source, *results], results):
        step(read, made)


def _add_border(writer, node, source, target):
    """What 'same' pads, with other numbers than zeros."""
    layer = node.operation
    edges = []
    for size, width, stride, dilation in zip(
        node.inputs[0].shape[1:3],
        layer.kernel.shape,
        layer.strides,
        layer.dilation_rate,
    ):
        covered = (-(-size // stride) - 1) * stride + (width - 1) * dilation + 1
        missing = max(covered - size, 0)
        edges.append((missing // 2, missing - missing // 2))
    value = float(layer.pad_values)
    writer.builder.add_padding(
        writer.layer(), *edges[1], *edges[0], value, source, target
    )


# Products of levels


def _convolution(writer, node, levels, bias, source, target):
    layer = node.operation
    padding = "valid" if layer.pads else layer.padding
    add_convolution(
        writer, levels, bias, source, target, layer.groups, layer, padding
    )


def _depthwise(writer, node, levels, bias, source, target):
    layer, groups = node.operation, levels.shape[2]
    padding = "valid" if layer.pads else layer.padding
    add_convolution(
        writer, by_channel(levels), bias, source, target, groups, layer, padding
    )


def _dense(writer, node, levels, bias, source, target):
    rank = len(node.inputs[0].shape)
    add_dense(writer, levels, bias, source, target, rank)


# What follows them


def _add_scale(writer, scale, bias, source, target):
    writer.builder.add_scale(
        writer.layer(),
        W=scale,
        b=bias,
        has_bias=bias is not None,
        input_name=source,
        output_name=target,
        shape_scale=[scale.size],
        shape_bias=None if bias is None else [bias.size],
    )


def _add_bias(writer, bias, source, target):
    writer.builder.add_bias(writer.layer(), bias, source, target, [bias.size])


def _add_product(writer, node, inputs, magnitudes, source, target):
    """`source` times what is made of the inputs, one number for all filters."""
    scale = writer.blob()
    magnitudes(writer, node, inputs, scale)
    writer.builder.add_elementwise(
        writer.layer(), [source, scale], target, "MULTIPLY"
    )


def _magnitude(writer, node, source, target):
    """The mean magnitude of all channels."""
    positive = writer.blob()
    writer.builder.add_unary(writer.layer(), source, positive, "abs")
    writer.builder.add_reduce(writer.layer(), positive, target, "C", "avg")


def _magnitude_of_window(writer, node, source, target):
    """The mean of `_magnitude` over what a filter sees, zeros around."""
    layer, of_pixel = node.operation, writer.blob()
    window = tuple(layer.kernel_size)
    mean = np.full((*window, 1, 1), 1 / math.prod(window), "float32")
    _magnitude(writer, node, source, of_pixel)
    add_convolution(writer, mean, None, of_pixel, target, layer=layer)


conv2d = functools.partial(_write, product=_convolution)
depthwise_conv2d = functools.partial(_write, product=_depthwise)
dense = functools.partial(_write, product=_dense)
xnor_conv2d = functools.partial(
    _write, product=_convolution, magnitudes=_magnitude_of_window
)
xnor_dense = functools.partial(_write, product=_dense, magnitudes=_magnitude)
