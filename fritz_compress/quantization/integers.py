"""The integers that a model simulates, as they are in its file."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np

from fritz_compress import graph
from fritz_compress.checks import check_model
from fritz_compress.layers import ActivationRange, QuantizedLayer


@dataclasses.dataclass(frozen=True, eq=False)
class LayerIntegers:
    """Kernel and bias of one layer: `kernel * scale` are the numbers.

    Attributes:
        kernel: int8, the output channels on the last axis (those of a
            depthwise kernel and its multipliers on one axis).
        scale: float32, one per output channel.
        bias: int64 in steps of `input_scale * scale`, or `None`.
        input_scale: Width of a step of the layer's input.
        nbits: Bits of a number of the kernel.
    """

    kernel: np.ndarray
    scale: np.ndarray
    bias: np.ndarray | None
    input_scale: float
    nbits: int


@dataclasses.dataclass(frozen=True)
class ActivationIntegers:
    """`(integer - zero_point) * scale` are the numbers of an activation.

    Attributes:
        scale: Width of a step.
        zero_point: The integer of zero, signed.
        nbits: Bits of an integer.
    """

    scale: float
    zero_point: int
    nbits: int


@dataclasses.dataclass(frozen=True)
class Integers:
    """All integers of a model.

    Attributes:
        layers: By the name of the layer; the first call of a shared one.
        activations: By the name of the range, such as `"conv_1_range"`.
    """

    layers: Mapping[str, LayerIntegers]
    activations: Mapping[str, ActivationIntegers]


def integers(model: keras.Model) -> Integers:
    """What `to_tflite` writes for a model with simulated integers.

    Args:
        model: What `quantization_aware` or `apply_ranges` returned.

    Raises:
        TypeError: for what is no model.
        ValueError: for a model without simulated integers.

    Example:

    >>> integers(aware).layers["conv_1"].kernel.min()
    -127
    """
    check_model(model)
    layers: dict[str, LayerIntegers] = {}
    activations: dict[str, ActivationIntegers] = {}
    ranges = {}
    for node in graph.trace(model).nodes:
        layer = node.operation
        if isinstance(layer, ActivationRange):
            ranges[node.outputs[1]] = activations[layer.name] = _of_range(layer)
        elif type(layer) is QuantizedLayer:
            own = _of_layer(layer, ranges[node.inputs[1]].scale)
            layers.setdefault(layer.name, own)
    if not activations:
        raise ValueError(
            f"Model '{model.name}' has no simulated integers. Make it with "
            "`fritz_compress.quantization_aware(model)`."
        )
    return Integers(layers, activations)


def _of_range(layer):
    low, high = keras.ops.convert_to_numpy(layer.range)
    scale, zero = layer.quantizer.scale_and_zero(low, high)
    return ActivationIntegers(float(scale), int(zero), layer.quantizer.nbits)


def _of_layer(layer, input_scale):
    kernel, limit, bias = layer.folded(input_scale)
    kernel = layer.quantizer(kernel, -limit, limit)
    step, _ = layer.quantizer.scale_and_zero(-limit, limit)
    step = keras.ops.convert_to_numpy(step)
    if bias is not None:
        bias = _whole(bias, input_scale * step).astype("int64")
    return LayerIntegers(
        _whole(kernel, step).astype("int8"),
        step,
        bias,
        input_scale,
        layer.quantizer.nbits,
    )


def _whole(values, step):
    values = keras.ops.convert_to_numpy(values)
    return np.rint(values.astype("float64") / step)
