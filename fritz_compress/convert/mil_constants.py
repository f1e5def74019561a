"""What the constants of a Core ML program hold, compressed ones decoded.

One function per constant expression of MIL, with its parameters as keywords.
`DECODERS` is the table of them; iOS 18 gave two names new parameters.
"""

from typing import Any

import numpy as np

from fritz_compress.convert.errors import ConversionError


def constant(value: Any) -> np.ndarray:
    """The array that a constant variable of MIL stands for.

    Raises:
        ConversionError: for a constant expression that is not known here.
    """
    operation = value.op
    if operation is None or operation.op_type == "const":
        return np.asarray(value.val)
    decode = DECODERS.get(operation.op_type)
    if decode is None:
        raise ConversionError(
            f"Constant '{value.name}' of kind '{operation.op_type}' cannot be "
            "decoded."
        )
    inputs = {n: constant(v) for n, v in operation.inputs.items() if v}
    decoded = decode(**inputs)
    if isinstance(decoded, tuple):
        return decoded[operation.outputs.index(value)]
    return decoded


def affine_dequantize(quantized_data, zero_point, scale, axis):
    """`scale * (quantized - zero_point)` along an axis."""
    shape = [1] * quantized_data.ndim
    if np.size(scale) > 1 or np.size(zero_point) > 1:
        shape[int(axis)] = -1
    zero = np.reshape(zero_point, shape if np.size(zero_point) > 1 else ())
    scale = np.reshape(scale, shape if np.size(scale) > 1 else ())
    return scale * (quantized_data.astype("float32") - zero)


def blockwise_shift_scale(data, scale, offset=None):
    """`scale * (data - offset)` with a scale and an offset for each block."""
    numbers = data.astype("float32")
    if offset is not None:
        numbers = numbers - _blocks(offset.astype("float32"), data.shape)
    return _blocks(scale, data.shape) * numbers


def lut_to_dense(indices, lut, shape=None, vector_axis=None):
    """Entries of a table, or of tables for blocks of the indices."""
    if shape is not None:  # iOS 16.
        return lut[_unpacked(indices, int(np.log2(len(lut))), shape)]
    tables = lut.reshape(-1, *lut.shape[-2:])
    numbers = np.arange(len(tables)).reshape(lut.shape[:-2])
    vectors = tables[_blocks(numbers, indices.shape), indices]
    if vector_axis is None:
        return vectors[..., 0]
    axis = int(vector_axis) % indices.ndim
    shape = list(indices.shape)
    shape[axis] *= lut.shape[-1]
    return np.moveaxis(vectors, -1, axis + 1).reshape(shape)


def sparse_to_dense(nonzero_data, mask, shape=None):
    """Numbers where the mask is set, zeros elsewhere."""
    if shape is not None:  # iOS 16.
        mask = _unpacked(mask, 1, shape)
    dense = np.zeros(mask.shape, nonzero_data.dtype)
    dense[mask.astype(bool)] = nonzero_data
    return dense


def lut_to_sparse(indices_mask, indices_nonzero_data, lut, vector_axis=None):
    """The mask, and the entries of tables where it is set."""
    indices = sparse_to_dense(indices_nonzero_data, indices_mask)
    mask = indices_mask
    if vector_axis is not None:
        mask = np.repeat(mask, lut.shape[-1], int(vector_axis))
    dense = lut_to_dense(indices, lut, vector_axis=vector_axis)
    return mask, dense[mask.astype(bool)]


def sparse_blockwise_shift_scale(data_mask, nonzero_data, scale, offset=None):
    """The mask, and what its numbers are when scaled in their blocks."""
    data = sparse_to_dense(nonzero_data, data_mask)
    dense = blockwise_shift_scale(data, scale, offset)
    return data_mask, dense[data_mask.astype(bool)]


def _unpacked(packed, nbits, shape):
    """Codes of `nbits` bits, packed from the lowest bit up."""
    count = int(np.prod(shape))
    bits = np.unpackbits(packed, bitorder="little")[: count * nbits]
    codes = bits.reshape(count, nbits) @ (1 << np.arange(nbits))
    return codes.reshape(shape)


def _blocks(values, shape):
    """One value per block as one per number."""
    for axis, size in enumerate(shape):
        values = np.repeat(values, size // values.shape[axis], axis)
    return values


DECODERS = {
    "constexpr_affine_dequantize": affine_dequantize,
    "constexpr_blockwise_shift_scale": blockwise_shift_scale,
    "constexpr_cast": lambda source_val, output_dtype: source_val.astype(
        "float32"
    ),
    "constexpr_lut_to_dense": lut_to_dense,
    "constexpr_lut_to_sparse": lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": sparse_to_dense,
}
