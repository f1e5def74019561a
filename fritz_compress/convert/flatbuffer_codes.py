"""Codes that Keras kernels hold, in a `.tflite` file as they are.

TFLite quantizes every kernel to 8 bits once more, whatever it holds: four-bit
codes would be rounded to 255 levels between their own. Here the very codes
are written, with the scale that batch normalization, folded into the kernel,
has left them.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress.convert import flatbuffer
from fritz_compress.convert.binary_kernels import holds_levels, whole_levels
from fritz_compress.graph import weights_by_attribute
from fritz_compress.ops.codes import LinearCodes, expand_groups
from fritz_compress.ops.recognition import recognize
from fritz_compress.surgery.kernel_axes import (
    TRANSPOSED,
    channel_axes,
    is_depthwise,
)

# Operators that compute with float inputs and integer kernels, the version
# that introduced it, and whether four bits are among them (LiteRT 2.3).
HYBRID = {
    "CONV_2D": (5, True),
    "DEPTHWISE_CONV_2D": (6, False),
    "FULLY_CONNECTED": (12, True),
    "TRANSPOSE_CONV": (3, False),
}
DEQUANTIZE_VERSION = 6  # Four bits, and a scale per channel.
TOLERANCE = 1e-4  # Of the largest number, for what folding has rounded.


@dataclasses.dataclass(frozen=True, eq=False)
class KernelCodes:
    """The codes of a kernel in the layout of TFLite.

    Attributes:
        steps: Whole numbers of steps from zero, in the layout of the file.
        axis: Axis of the output channels.
        nbits: Bits of a code in Keras.
    """

    steps: np.ndarray
    axis: int
    nbits: int


def held_codes(layer: keras.Layer) -> tuple[list[KernelCodes], list[str]]:
    """The codes that the kernels of a layer hold.

    Args:
        layer: A layer with kernels, one or several.

    Returns: codes that TFLite has a form for, and for kernels that hold
    others the reason why they have none.
    """
    if holds_levels(layer):
        return _held_levels(layer)
    found, notes = [], []
    for attribute, weight in weights_by_attribute(layer).items():
        values = keras.ops.convert_to_numpy(weight)
        if values.ndim < 2:
            continue
        codes = recognize(values)
        if codes is None:
            continue
        channels = channel_axes(layer, values.ndim, attribute)
        reason = _reason(codes, channels)
        if reason:
            notes.append(reason)
            continue
        steps = codes.codes.astype("int64")
        steps -= expand_groups(codes.zero_points, codes.shape)
        depthwise = is_depthwise(layer, attribute)
        found.append(_in_layout(steps, layer, depthwise, codes.nbits))
    return found, notes


def store_codes(
    model: Any, layers: Mapping[int, keras.Layer], hybrid: bool
) -> dict[int, list[str]]:
    """Writes the codes that kernels hold into the file, in place.

    Args:
        model: A `ModelT` object, not yet stripped, whose kernels are floats
            or have been quantized by TFLite.
        layers: The layer of each node with weights.
        hybrid: Whether operators read the codes themselves; else an operator
            in front of them makes floats of them, which computes the very
            same as the floats.

    Returns: for each node why codes were not written, if they were not.
    """
    held = {node: held_codes(layer) for node, layer in layers.items()}
    notes = {node: reasons for node, (_, reasons) in held.items() if reasons}
    for node, tensor, part in list(flatbuffer.weights_of_nodes(model, layers)):
        for codes in held[node][0]:
            stored = flatbuffer.dequantized(model, tensor)
            if stored is None or stored.size != codes.steps.size:
                continue
            scaled = _scaled(codes, stored)
            if scaled is None:
                notes.setdefault(node, []).append(
                    "folded with more than a factor per channel"
                )
            else:
                _write(model, part, tensor, *scaled, codes.nbits, hybrid)
    return notes


def quantize_kernels(model: Any, nodes: Mapping[int, Any]) -> None:
    """Makes the float kernels that are left 8-bit, with floats made of them.

    Args:
        model: A `ModelT` object, not yet stripped.
        nodes: Numbers of the nodes with weights.
    """
    for _, tensor, part in list(flatbuffer.weights_of_nodes(model, nodes)):
        values = flatbuffer.floats(model, tensor)
        reader = _reader(model, part, tensor)
        if values is None or len(tensor.shape) < 2 or reader not in HYBRID:
            continue
        axis = 3 if reader == "DEPTHWISE_CONV_2D" else 0
        moved = np.moveaxis(values.reshape(tensor.shape), axis, 0)
        steps, scales = flatbuffer.symmetric(moved)
        steps = np.moveaxis(steps, 0, axis)
        _write(model, part, tensor, steps, scales, axis, 8, hybrid=False)


def _held_levels(layer):
    """As `held_codes`, of a layer whose kernel is of few bits."""
    found = whole_levels(layer)
    if found is None:
        return [], ["holds uneven levels, for which TFLite has no form"]
    steps, nbits = found
    if nbits > 8:
        return [], [f"holds levels of {nbits} bits with zero; TFLite has 8"]
    depthwise = is_depthwise(layer, "kernel")
    return [_in_layout(steps, layer, depthwise, nbits)], []


def _reason(codes, channels):
    """Why TFLite has no form for codes, if it has none."""
    if not isinstance(codes, LinearCodes) or codes.zero_points is None:
        return "holds a codebook, for which TFLite has no form"
    others = set(range(len(codes.shape))) - set(channels)
    if any(codes.groups[axis] > 1 for axis in others):
        return "holds a scale per block, for which TFLite has no form"
    if codes.nbits > 8:
        return f"holds codes of {codes.nbits} bits; TFLite has up to 8"
    return ""


def _in_layout(steps, layer, depthwise, nbits):
    if depthwise:
        merged = steps.reshape(*steps.shape[:-2], -1)
        return KernelCodes(merged[np.newaxis], merged.ndim, nbits)
    axis = -2 if isinstance(layer, TRANSPOSED) else -1
    return KernelCodes(np.moveaxis(steps, axis, 0), 0, nbits)


def _scaled(codes, stored):
    """Steps in the tensor's shape, a scale per channel, and its axis.

    Args:
        stored: What the file holds: the kernel times a factor per channel,
            rounded to 8 bits or not.

    Returns: `None` if it is something else.
    """
    axis = codes.axis if codes.axis == 0 else stored.ndim - 1
    steps = np.moveaxis(codes.steps, codes.axis, 0)
    values = np.moveaxis(stored, axis, 0)
    steps = steps.reshape(values.shape)
    rows, numbers = (a.reshape(len(steps), -1) for a in (steps, values))
    # The factor of a channel may be negative.
    signs = np.sign((rows * numbers).sum(axis=1))
    signs[signs == 0] = 1
    rows = rows * signs[:, None].astype("int64")
    most = np.abs(rows).max(axis=1)
    scales = np.abs(numbers).max(axis=1) / np.maximum(most, 1)
    scales[scales == 0] = 1
    error = np.abs(rows * scales[:, None] - numbers)
    # TFLite has rounded to a 127th of the largest number of the tensor.
    allowed = (0.51 / 127 + TOLERANCE) * np.abs(numbers).max()
    if (error > allowed).any():
        return None
    steps = np.moveaxis(rows.reshape(values.shape), 0, axis)
    return steps, scales.astype("float32"), axis


def _write(model, part, tensor, steps, scales, axis, nbits, hybrid):
    schema = flatbuffer.schema()
    reader = _reader(model, part, tensor)
    version, packs = HYBRID.get(reader, (0, False))
    if hybrid and not version:
        return
    zeros = _zero_points(steps, axis)
    if hybrid and zeros.any():
        return
    packed = nbits <= 4 and (packs or not hybrid)
    packed = packed and -8 <= steps.min() and steps.max() <= 7
    shifted = steps + zeros.reshape([-1] + [1] * (steps.ndim - 1 - axis))
    data = _nibbles(steps) if packed else shifted.astype("int8")
    kind = schema.TensorType.INT4 if packed else schema.TensorType.INT8
    target = (
        tensor
        if hybrid
        else flatbuffer.insert_dequantize(
            model, part, tensor, DEQUANTIZE_VERSION
        )
    )
    target.type = kind
    target.quantization = schema.QuantizationParametersT(
        scale=scales,
        zeroPoint=zeros,
        quantizedDimension=axis,
    )
    model.buffers.append(schema.BufferT(data=data.reshape(-1).view("uint8")))
    target.buffer = len(model.buffers) - 1
    if hybrid:
        flatbuffer.raise_version(model, part, tensor, version)


def _zero_points(steps, axis):
    """The 8-bit code of zero in each channel: zero unless codes do not fit."""
    rows = np.moveaxis(steps.astype("int64"), axis, 0)
    rows = rows.reshape(len(rows), -1)
    lowest = rows.min(axis=1)
    outside = (lowest < -128) | (rows.max(axis=1) > 127)
    return np.where(outside, -128 - lowest, 0)


def _nibbles(steps):
    """Two codes of 4 bits in a byte, the first in the lower half."""
    low = steps.reshape(-1).astype("int8").view("uint8") & 15
    low = np.append(low, np.zeros(len(low) % 2, "uint8"))
    return low[::2] | (low[1::2] << 4)


def _reader(model, part, tensor):
    """Name of the operator that reads a tensor, if all are of one kind."""
    names = set(_reader_names(model, part, tensor))
    return names.pop() if len(names) == 1 else ""


def _reader_names(model, part, tensor) -> Iterator[str]:
    operators = vars(flatbuffer.schema().BuiltinOperator)
    names = {value: name for name, value in operators.items()}
    for reader in flatbuffer.readers(part, tensor):
        yield names[model.operatorCodes[reader.opcodeIndex].builtinCode]
