"""Convolutions of all kinds."""

import math

from keras import layers

from fritz_compress.costs.activations import activated
from fritz_compress.costs.table import Call, Cost, rule


@rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def convolution(call: Call) -> Cost:
    """Each output number is a sum over one filter (of its own group)."""
    kernel = call.operation.kernel.shape
    return _with_activation(call, call.outputs * math.prod(kernel[:-1]))


@rule(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def transposed(call: Call) -> Cost:
    """Each input number is multiplied with its part of every filter."""
    kernel = call.operation.kernel.shape
    return _with_activation(call, call.inputs * math.prod(kernel[:-1]))


@rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def depthwise(call: Call) -> Cost:
    kernel = call.operation.kernel.shape
    return _with_activation(call, call.outputs * math.prod(kernel[:-2]))


@rule(layers.SeparableConv1D, layers.SeparableConv2D)
def separable(call: Call) -> Cost:
    layer = call.operation
    macs = _separable(
        call.outputs, layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
    )
    return _with_activation(call, macs)


@rule(layers.STFTSpectrogram)
def spectrogram(call: Call) -> Cost:
    """Convolutions with a cosine and a sine of every frequency."""
    layer = call.operation
    numbers = call.outputs // (2 if layer.mode == "stft" else 1)
    waves = 1 if layer.mode in ("real", "imag") else 2
    squared = layer.mode in ("log", "magnitude", "psd")
    return Cost(
        waves * numbers * layer.frame_length, 2 * numbers if squared else 0
    )


@rule("Conv")
def convolve(call: Call) -> Cost:
    kernel = call.argument("kernel")
    return Cost(call.outputs * math.prod(kernel[:-1]))


@rule("ConvTranspose")
def convolve_transposed(call: Call) -> Cost:
    kernel = call.argument("kernel")
    return Cost(call.inputs * math.prod(kernel[:-1]))


@rule("DepthwiseConv")
def convolve_depthwise(call: Call) -> Cost:
    kernel = call.argument("kernel")
    return Cost(call.outputs * math.prod(kernel[:-2]))


@rule("SeparableConv")
def convolve_separable(call: Call) -> Cost:
    return Cost(
        _separable(
            call.outputs,
            call.argument("depthwise_kernel"),
            call.argument("pointwise_kernel"),
        )
    )


def _separable(outputs, depthwise_kernel, pointwise_kernel):
    channels, filters = pointwise_kernel[-2:]
    between = outputs // filters * channels
    return between * math.prod(depthwise_kernel[:-2]) + outputs * channels


def _with_activation(call, macs):
    function = getattr(call.operation, "activation", None)
    return Cost(macs) + activated(call, function, call.outputs)
