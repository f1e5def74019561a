"""Linear quantization of arrays, and codes of a few bits packed into bytes."""

import numpy as np

NARROWEST = 0.2  # Of the full range: below it no distribution gains.
CANDIDATES = 33


def linear_quantize(
    values: np.ndarray,
    nbits: int,
    axis: int | None = None,
    narrow: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rounds numbers to `2**nbits` evenly spaced levels.

    `values` is close to `codes * scale + offset`. The levels reach from the
    smallest to the largest value; a constant array is kept exactly.

    Args:
        values: Numbers of any shape.
        nbits: Bits of one code, 1 to 8.
        axis: Axis that has a scale and an offset of its own for each index,
            such as that of the output channels; one for all by default.
        narrow: Whether to try narrower ranges too and keep the one with the
            least squared error. Values outside are clipped. Worth its time
            below 6 bits.

    Returns: `codes`, uint8 in the shape of `values`; `scale` and `offset`,
    float32 of shape `()`, or `(values.shape[axis],)` with an axis.

    Raises:
        ValueError: for `nbits` out of range, an empty array or one that is
            not finite.

    Example: with 2 bits the levels are -1, 0, 1 and 2.

    >>> linear_quantize([-1.0, 0.2, 0.4, 2.0], nbits=2)
    ([0, 1, 1, 3], 1.0, -1.0)
    """
    check_nbits(nbits)
    values = np.asarray(values, "float32")
    check_values(values)
    rows = _rows(values, axis)
    low, high = rows.min(axis=1), rows.max(axis=1)
    if narrow:
        low, high = _best_range(rows, low, high, nbits)
    codes, scale, offset = _quantize_rows(rows, low, high, nbits)
    if axis is None:
        return codes.reshape(values.shape), scale[0], offset[0]
    moved = np.moveaxis(values, axis, 0).shape
    return np.moveaxis(codes.reshape(moved), 0, axis), scale, offset


def dequantize(
    codes: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    axis: int | None = None,
) -> np.ndarray:
    """`codes * scale + offset` in float32, the inverse of `linear_quantize`.

    Args:
        codes: Whole numbers of any shape.
        scale, offset: One number, or one per index of `axis`.
        axis: The axis that they belong to.

    >>> dequantize([0, 1, 1, 3], scale=1.0, offset=-1.0)
    [-1.0, 0.0, 0.0, 2.0]
    """
    codes = np.asarray(codes)
    scale, offset = np.float32(scale), np.float32(offset)
    if axis is not None:
        shape = [1] * codes.ndim
        shape[axis] = -1
        scale, offset = np.reshape(scale, shape), np.reshape(offset, shape)
    return codes.astype("float32") * scale + offset


def pack_bits(codes: np.ndarray, nbits: int) -> bytes:
    """Codes of `nbits` bits one after the other, the highest bit first.

    The order of Core ML's `WeightParams.rawValue`. The last byte is filled
    up with zeros.

    Args:
        codes: Whole numbers below `2**nbits`; taken in C order.
        nbits: Bits of one code, 1 to 8.

    Raises:
        ValueError: for `nbits` or a code out of range.

    Example: 01 10 11 00 and 10 000000.

    >>> pack_bits([1, 2, 3, 0, 2], nbits=2).hex()
    '6c80'
    """
    check_nbits(nbits)
    codes = np.asarray(codes).reshape(-1)
    if codes.size and not 0 <= codes.min() <= codes.max() < 2**nbits:
        raise ValueError(
            f"Codes of {nbits} bits must be in [0, {2**nbits}). Received: "
            f"values from {codes.min()} to {codes.max()}."
        )
    bits = np.unpackbits(codes.astype("uint8")[:, None], axis=1)
    return np.packbits(bits[:, 8 - nbits :]).tobytes()


def unpack_bits(data: bytes, nbits: int, count: int) -> np.ndarray:
    """The first `count` codes of `nbits` bits in `data`, highest bit first.

    Args:
        data: Bytes as `pack_bits` makes them.
        nbits: Bits of one code, 1 to 8.
        count: Codes to read.

    Returns: uint8 array of shape `(count,)`.

    Raises:
        ValueError: for `nbits` out of range or too few bytes.

    >>> unpack_bits(bytes.fromhex("6c80"), nbits=2, count=5)
    [1, 2, 3, 0, 2]
    """
    check_nbits(nbits)
    bits = np.unpackbits(np.frombuffer(data, "uint8"))
    if bits.size < count * nbits:
        raise ValueError(
            f"{count} codes of {nbits} bits need {-(-count * nbits // 8)} "
            f"bytes. Received: {len(data)} bytes."
        )
    rows = bits[: count * nbits].reshape(count, nbits)
    padded = np.pad(rows, [(0, 0), (8 - nbits, 0)])
    return np.packbits(padded, axis=1).reshape(count)


def check_nbits(nbits: int) -> None:
    """Raises a ValueError unless `nbits` is 1 to 8."""
    if nbits not in range(1, 9):
        raise ValueError(
            f"`nbits` must be a whole number from 1 to 8. Received: {nbits!r}."
        )


def check_values(values: np.ndarray) -> None:
    """Raises a ValueError for an empty array or one that is not finite."""
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            "Only a finite, non-empty array can be quantized. Received: shape "
            f"{values.shape}, {int((~np.isfinite(values)).sum())} values not "
            "finite."
        )


def _rows(values, axis):
    if axis is None:
        return values.reshape(1, -1)
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _quantize_rows(rows, low, high, nbits):
    top = 2**nbits - 1
    # In float64, as the largest less the smallest float32 may overflow.
    scale = ((high.astype("float64") - low) / top).astype("float32")
    scale[scale == 0] = 1
    offset = np.float32(low)
    steps = (rows.astype("float64") - offset[:, None]) / scale[:, None]
    codes = np.clip(np.rint(steps), 0, top).astype("uint8")
    return codes, scale, offset


def _best_range(rows, low, high, nbits):
    """The range with the least squared error among shrunken full ranges."""

    def error(low, high):
        codes, scale, offset = _quantize_rows(rows, low, high, nbits)
        return np.square(dequantize(codes, scale, offset, 0) - rows).sum(1)

    middle = low / 2 + high / 2
    best_low, best_high, least = low.copy(), high.copy(), error(low, high)
    for share in np.linspace(NARROWEST, 1, CANDIDATES, endpoint=False):
        try_low = np.float32(middle + share * (low - middle))
        try_high = np.float32(middle + share * (high - middle))
        tried = error(try_low, try_high)
        better = tried < least
        least[better] = tried[better]
        best_low[better] = try_low[better]
        best_high[better] = try_high[better]
    return best_low, best_high
