"""Codes of a few bits packed into bytes, as Core ML stores them."""

import numpy as np


def pack_bits(codes: np.ndarray, nbits: int) -> bytes:
    """Codes of `nbits` bits one after the other, the highest bit first.

    The order of Core ML's `WeightParams.rawValue`. The last byte is filled
    up with zeros.

    Args:
        codes: Whole numbers below `2**nbits`; taken in C order.
        nbits: Bits of one code, 1 to 16.

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
    whole = codes.astype(">u2")[:, None].view("uint8")
    bits = np.unpackbits(whole, axis=1)
    return np.packbits(bits[:, 16 - nbits :]).tobytes()


def unpack_bits(data: bytes, nbits: int, count: int) -> np.ndarray:
    """The first `count` codes of `nbits` bits in `data`, highest bit first.

    Args:
        data: Bytes as `pack_bits` makes them.
        nbits: Bits of one code, 1 to 16.
        count: Codes to read.

    Returns: array of shape `(count,)`, uint8 up to 8 bits, else uint16.

    Raises:
        ValueError: for `nbits` out of range or too few bytes.

    >>> unpack_bits(bytes.fromhex("6c80"), nbits=2, count=5)
    [1, 2, 3, 0, 2]
    """
    check_nbits(nbits)
    if len(data) * 8 < count * nbits:
        raise ValueError(
            f"{count} codes of {nbits} bits need {-(-count * nbits // 8)} "
            f"bytes. Received: {len(data)} bytes."
        )
    bits = np.unpackbits(np.frombuffer(data, "uint8"))
    rows = bits[: count * nbits].reshape(count, nbits)
    width = 8 if nbits <= 8 else 16
    padded = np.pad(rows, [(0, 0), (width - nbits, 0)])
    packed = np.packbits(padded, axis=1).reshape(-1)
    return packed.view(f">u{width // 8}").astype(f"uint{width}")


def check_nbits(nbits: int, most: int = 16, name: str = "nbits") -> None:
    """Raises a ValueError unless `nbits`, so named, is 1 to `most`."""
    known = isinstance(nbits, (int, np.integer)) and nbits is not True
    if not known or not 1 <= nbits <= most:
        raise ValueError(
            f"`{name}` must be a whole number from 1 to {most}. Received: "
            f"{nbits!r}."
        )
