"""Numbers out of a Core ML `WeightParams` message, whatever its encoding."""

import numpy as np

from fritz_compress.convert.errors import ConversionError
from fritz_compress.ops.packing import unpack_bits


def numbers(weights, shape: tuple[int, ...], axis: int = 0) -> np.ndarray:
    """Decodes the weights of a layer from the bytes of the file.

    Args:
        weights: `WeightParams`: float32, float16, or codes of 1 to 8 bits with
            a linear scale or a lookup table.
        shape: Shape of the weights. The number of values must fit exactly.
        axis: Axis of the output channels, to which a vector of scales belongs.

    Returns: float32 array.

    Raises:
        ConversionError: if the message has no values, values in two encodings,
            or too few or too many.
    """
    encodings = [name for name in DECODERS if getattr(weights, name)]
    if len(encodings) != 1:
        raise ConversionError(
            "expected weights in one encoding. Received: "
            f"{encodings or 'none'}."
        )
    count = int(np.prod(shape))
    values = DECODERS[encodings[0]](weights, count)
    if values.size != count:
        raise ConversionError(
            f"expected {count} weights of shape {shape}. Received: "
            f"{values.size}."
        )
    values = values.reshape(shape)
    if encodings[0] != "rawValue":
        return values
    return _dequantized(values, weights.quantization, axis)


def _float32(weights, count):
    return np.array(weights.floatValue, "float32")


def _float16(weights, count):
    return np.frombuffer(weights.float16Value, "<f2").astype("float32")


def _codes(weights, count):
    """`numberOfBits` bits each, the first in the highest bits of a byte."""
    nbits = weights.quantization.numberOfBits
    expected = -(-count * nbits // 8)
    if len(weights.rawValue) != expected:
        raise ConversionError(
            f"expected {expected} bytes for {count} codes of {nbits} bits. "
            f"Received: {len(weights.rawValue)} bytes."
        )
    return unpack_bits(weights.rawValue, nbits, count)


DECODERS = {
    "floatValue": _float32,
    "float16Value": _float16,
    "rawValue": _codes,
}


def _dequantized(codes, quantization, axis):
    kind = quantization.WhichOneof("QuantizationType")
    if kind == "lookupTableQuantization":
        table = np.array(quantization.lookupTableQuantization.floatValue)
        if len(table) != 2**quantization.numberOfBits:
            raise ConversionError(
                f"a lookup table of {quantization.numberOfBits} bits must have "
                f"{2**quantization.numberOfBits} entries. Received: "
                f"{len(table)}."
            )
        return table.astype("float32")[codes]
    if kind != "linearQuantization":
        raise ConversionError("quantized weights without scale or table.")
    scale = np.array(quantization.linearQuantization.scale, "float32")
    offset = np.array(quantization.linearQuantization.bias, "float32")
    if not offset.size:
        offset = np.zeros_like(scale)
    if scale.shape != offset.shape or scale.size not in (1, codes.shape[axis]):
        raise ConversionError(
            f"expected 1 or {codes.shape[axis]} scales and as many offsets. "
            f"Received: {scale.size} and {offset.size}."
        )
    shape = [1] * codes.ndim
    shape[axis] = scale.size
    scale, offset = scale.reshape(shape), offset.reshape(shape)
    return codes.astype("float32") * scale + offset
