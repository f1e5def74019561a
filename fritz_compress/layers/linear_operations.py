"""What a layer computes before its bias, with any kernel in place of its own.

Kernels are handled with their output channels on the last axis, where a
quantizer finds them.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class LinearOperation:
    """How a kind of layer uses its kernel.

    Attributes:
        apply: Called as `apply(layer, inputs, kernel)` with a kernel as the
            layer has it; returns the result without bias and activation.
        turn: From the layer's kernel to one with output channels last.
        turn_back: The inverse: `turn_back(kernel, shape)`.
    """

    apply: Callable[[keras.Layer, Any, Any], Any]
    turn: Callable[[Any], Any]
    turn_back: Callable[[Any, tuple[int, ...]], Any]


def operation_of(layer: keras.Layer) -> LinearOperation | None:
    """The operation of a layer, `None` if it is of another kind.

    Subclasses are another kind: what they compute is not known.
    """
    return _OPERATIONS.get(type(layer))


def gain_and_offset(
    normalization: keras.layers.BatchNormalization,
) -> tuple[Any, Any]:
    """A batch normalization at inference, as `gain * x + offset`."""
    variance = ops.convert_to_tensor(normalization.moving_variance)
    gain = ops.rsqrt(variance + normalization.epsilon)
    if normalization.scale:
        gain = gain * normalization.gamma
    offset = -ops.convert_to_tensor(normalization.moving_mean) * gain
    return gain, offset + normalization.beta if normalization.center else offset


def _settings(layer):
    """What the operations of Keras take as layers do."""
    names = ("strides", "padding", "data_format", "dilation_rate")
    return {name: getattr(layer, name) for name in names}


def _convolution(layer, inputs, kernel):
    settings = _settings(layer)
    if layer.padding == "causal":
        (size,), (dilation,) = layer.kernel_size, layer.dilation_rate
        inputs = ops.pad(inputs, [(0, 0), (dilation * (size - 1), 0), (0, 0)])
        settings["padding"] = "valid"
    return ops.conv(inputs, kernel, **settings)


def _depthwise(layer, inputs, kernel):
    return ops.depthwise_conv(inputs, kernel, **_settings(layer))


def _transposed(layer, inputs, kernel):
    return ops.conv_transpose(
        inputs,
        kernel,
        output_padding=layer.output_padding,
        **_settings(layer),
    )


def _dense(layer, inputs, kernel):
    return ops.matmul(inputs, kernel)


def _same(kernel, shape=None):
    return kernel


def _merged(kernel):
    """From (..., channels, multiplier) to (..., channels * multiplier)."""
    return ops.reshape(
        kernel, (*kernel.shape[:-2], math.prod(kernel.shape[-2:]))
    )


def _swapped(kernel, shape=None):
    return ops.swapaxes(kernel, -1, -2)


_FORWARD = LinearOperation(_convolution, _same, _same)
_DEPTHWISE = LinearOperation(_depthwise, _merged, ops.reshape)
_OPERATIONS = {
    keras.layers.Conv1D: _FORWARD,
    keras.layers.Conv2D: _FORWARD,
    keras.layers.DepthwiseConv1D: _DEPTHWISE,
    keras.layers.DepthwiseConv2D: _DEPTHWISE,
    keras.layers.Conv2DTranspose: LinearOperation(
        _transposed, _swapped, _swapped
    ),
    keras.layers.Dense: LinearOperation(_dense, _same, _same),
}
