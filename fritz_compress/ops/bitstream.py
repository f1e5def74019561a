"""Bits, whole numbers of few bits and varints in bytes."""

import numpy as np

LONGEST_VARINT = 9  # Bytes, of seven bits each.
LONGEST_CODE = 4096  # Ones in a row that a number may take.


class Writer:
    """Bits one after the other, the highest bit of a byte first."""

    def __init__(self):
        self._parts = []

    def bits(self, value: int, width: int) -> None:
        """A number below `2**width` in `width` bits."""
        if width:
            self._parts.append(format(value, f"0{width}b"))

    def gamma(self, value: int) -> None:
        """A number from 1 in Elias' gamma code: 5 is 00 1 01."""
        width = value.bit_length()
        self.bits(0, width - 1)
        self.bits(value, width)

    def rice(self, value: int, k: int) -> None:
        """A number from 0 in a Rice code: 5 is 11 0 1 with `k` of 1."""
        self._parts.append("1" * (value >> k) + "0")
        self.bits(value & ((1 << k) - 1), k)

    def to_bytes(self) -> bytes:
        """All bits, the last byte filled up with zeros."""
        text = "".join(self._parts)
        text += "0" * (-len(text) % 8)
        return int(f"0{text}", 2).to_bytes(len(text) // 8, "big")


class Reader:
    """Reads bytes, and bits from the highest one of a byte on.

    Every method raises a ValueError where the bytes end too early.
    """

    def __init__(self, data: bytes):
        self._data = data
        self._bit = 0

    @property
    def left(self) -> int:
        """Whole bytes not yet read."""
        return len(self._data) - -(-self._bit // 8)

    def align(self) -> None:
        """Goes on to the next whole byte; the bits between must be zeros."""
        if self._bit % 8 and self.bits(-self._bit % 8):
            raise ValueError("bits after the last one are not zero")

    def take(self, count: int) -> bytes:
        """The next so many bytes."""
        if count > self.left:
            raise ValueError(f"{count} bytes expected, {self.left} left")
        start = self._bit // 8
        self._bit += 8 * count
        return self._data[start : start + count]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """A whole number as `varint` writes it."""
        value = 0
        for index in range(LONGEST_VARINT):
            byte = self.byte()
            value |= (byte & 127) << (7 * index)
            if byte < 128:
                return value
        raise ValueError(f"a number of more than {LONGEST_VARINT} bytes")

    def bits(self, width: int) -> int:
        """A number of `width` bits."""
        value = 0
        for _ in range(width):
            value = 2 * value + self._next_bit()
        return value

    def gamma(self) -> int:
        """A number as `Writer.gamma` writes it."""
        width = self._run_of(0)
        if width > 62:
            raise ValueError(f"a number of {width} bits")
        return (1 << width) + self.bits(width)

    def rice(self, k: int) -> int:
        """A number as `Writer.rice` writes it."""
        return (self._run_of(1) << k) + self.bits(k)

    def _next_bit(self):
        index, shift = divmod(self._bit, 8)
        if index >= len(self._data):
            raise ValueError("the bytes end in the middle of a number")
        self._bit += 1
        return self._data[index] >> (7 - shift) & 1

    def _run_of(self, bit):
        for length in range(LONGEST_CODE):
            if self._next_bit() != bit:
                return length
        raise ValueError("a number without an end")


def varint(value: int) -> bytes:
    """A whole number in bytes of seven bits, the lowest first.

    All but the last have 128 added. Up to `2**63`.

    >>> varint(300).hex()
    'ac02'
    """
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def pack(values: np.ndarray, widths: np.ndarray | int) -> bytes:
    """Numbers one after the other, each in bits of its own width.

    Args:
        values: Whole numbers, each below `2**width`.
        widths: Bits of each, 0 to 31, or of all.

    Returns: their bits, the highest first, the last byte filled with zeros.
    """
    if isinstance(widths, int):
        if widths == 8:
            return values.astype("uint8").tobytes()
        bits = np.empty((len(values), widths), "uint8")
        for bit in range(widths):
            bits[:, widths - 1 - bit] = values >> bit & 1
        return np.packbits(bits).tobytes()
    bits = np.zeros(int(widths.sum()), "uint8")
    ends = np.cumsum(widths)
    for bit in range(int(widths.max(initial=0))):
        longer = widths > bit
        bits[ends[longer] - 1 - bit] = values[longer] >> bit & 1
    return np.packbits(bits).tobytes()


def unpack(
    data: bytes, widths: np.ndarray | int, count: int | None = None
) -> np.ndarray:
    """The numbers that `pack` was given, as int64.

    Args:
        data: As many bytes as `pack` made.
        widths: Bits of each number, or of all.
        count: How many numbers there are, for one width.
    """
    bits = np.frombuffer(data, "uint8")
    if isinstance(widths, int):
        if widths == 8:
            return bits.astype("int64")
        bits = np.unpackbits(bits, count=count * widths)
        values = np.zeros(count, "int64")
        for column in bits.reshape(count, widths).T:
            values = values << 1 | column
        return values
    bits = np.unpackbits(bits)
    ends = np.cumsum(widths)
    values = np.zeros(len(widths), "int64")
    for bit in range(int(widths.max(initial=0))):
        longer = widths > bit
        values[longer] |= bits[ends[longer] - 1 - bit].astype("int64") << bit
    return values
