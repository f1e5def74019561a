"""Coded arrays: small whole numbers, and the few floats they stand for.

Groups are blocks of an array that share a scale or a codebook. They are given
by a shape with as many axes as the array, each of which divides the array's:
1 is shared along the axis, its full length is one per index, a divisor is one
per block of consecutive indices. (The convention of Core ML's blockwise
scales and grouped lookup tables.) For a kernel of shape `(3, 3, 64, 32)`:
`(1, 1, 1, 1)` per tensor, `(1, 1, 1, 32)` per channel, `(1, 1, 2, 32)` per
block of 32 input channels.
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class LinearCodes:
    """Evenly spaced numbers: `codes * scale + offset`.

    Attributes:
        codes: Whole numbers in `[0, 2**nbits)`, unsigned, in the array's
            shape.
        scale, offset: float32 in the shape of the groups. Where zero is one
            of the levels, `offset` is a whole negative multiple of `scale`.
        nbits: Bits of one code, 1 to 16.

    Example:

    >>> LinearCodes(
    ...     np.array([[0, 1], [1, 3]], "uint8"), scale=np.float32([[0.5]]),
    ...     offset=np.float32([[-0.5]]), nbits=2,
    ... ).decode()
    [[-0.5, 0.0], [0.0, 1.0]]
    """

    codes: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    nbits: int

    def decode(self) -> np.ndarray:
        """The numbers, float32."""
        scale = expand_groups(self.scale, self.shape)
        offset = expand_groups(self.offset, self.shape)
        # In float64, as the product alone may overflow.
        return (self.codes * scale.astype("float64") + offset).astype("float32")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.codes.shape

    @property
    def groups(self) -> tuple[int, ...]:
        """Shape of the groups."""
        return self.scale.shape

    @property
    def zero_points(self) -> np.ndarray | None:
        """The code of zero in each group, int64; `None` if one has none.

        It may lie outside `[0, 2**nbits)` where a group does not reach zero.
        """
        # In float64, where the quotient of exact multiples is whole.
        points = -self.offset.astype("float64") / self.scale
        whole = np.rint(points)
        return whole.astype("int64") if (points == whole).all() else None

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and offsets, rounded up once.

        Offsets that are all zero points of `nbits` bits count as such; those
        in the middle of the codes, as symmetric ones are, as nothing.
        """
        bits = self.codes.size * self.nbits + self.scale.size * 32
        points = self.zero_points
        if points is None or points.min() < 0 or points.max() >= 2**self.nbits:
            bits += self.offset.size * 32
        elif (points != symmetric_zero_point(self.nbits)).any():
            bits += self.offset.size * self.nbits
        return -(-bits // 8)


@dataclasses.dataclass(frozen=True, eq=False)
class CodebookCodes:
    """Numbers out of a codebook for each group: `codebooks[group, code]`.

    Attributes:
        codes: Whole numbers below the size of a codebook, unsigned, in the
            array's shape.
        codebooks: float32 of shape `(*groups, size)`, ascending, where `size`
            is `2**nbits` at most.
        nbits: Bits of one code, 1 to 16.
    """

    codes: np.ndarray
    codebooks: np.ndarray
    nbits: int

    def decode(self) -> np.ndarray:
        """The numbers, float32."""
        size = self.codebooks.shape[-1]
        return self.codebooks.reshape(-1)[
            group_numbers(self.groups, self.shape) * size + self.codes
        ]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.codes.shape

    @property
    def groups(self) -> tuple[int, ...]:
        """Shape of the groups."""
        return self.codebooks.shape[:-1]

    @property
    def nbytes(self) -> int:
        """Bytes of codes and codebooks, rounded up once."""
        bits = self.codes.size * self.nbits + self.codebooks.size * 32
        return -(-bits // 8)


@dataclasses.dataclass(frozen=True, eq=False)
class ProductCodes:
    """Sub-vectors out of a codebook for each group (product quantization).

    Attributes:
        codes: Whole numbers below the size of a codebook, unsigned, in the
            array's shape with `axis` shortened by the sub-vectors' length.
        codebooks: float32 of shape `(*groups, size, length)`; the groups are
            blocks of `codes`.
        axis: The axis along which `length` consecutive numbers are one
            sub-vector; not negative.
        nbits: Bits of one code, 1 to 16.
    """

    codes: np.ndarray
    codebooks: np.ndarray
    axis: int
    nbits: int

    def decode(self) -> np.ndarray:
        """The numbers, float32."""
        *groups, size, length = self.codebooks.shape
        rows = group_numbers(tuple(groups), self.codes.shape) * size
        vectors = self.codebooks.reshape(-1, length)[rows + self.codes]
        vectors = np.moveaxis(vectors, -1, self.axis + 1)
        return vectors.reshape(self.shape)

    @property
    def length(self) -> int:
        """Numbers in a sub-vector."""
        return self.codebooks.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        shape = list(self.codes.shape)
        shape[self.axis] *= self.length
        return tuple(shape)

    @property
    def groups(self) -> tuple[int, ...]:
        """Shape of the groups, blocks of the codes."""
        return self.codebooks.shape[:-2]

    @property
    def nbytes(self) -> int:
        """Bytes of codes and codebooks, rounded up once."""
        bits = self.codes.size * self.nbits + self.codebooks.size * 32
        return -(-bits // 8)


Codes = LinearCodes | CodebookCodes | ProductCodes


def check_groups(groups: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raises a ValueError unless `groups` divides `shape`, axis by axis."""
    fits = len(groups) == len(shape) and all(
        group > 0 and side % group == 0 for group, side in zip(groups, shape)
    )
    if not fits:
        raise ValueError(
            "`groups` must have one number per axis of the array, each a "
            f"divisor of its length. Received: groups={tuple(groups)} for an "
            f"array of shape {tuple(shape)}."
        )


def expand_groups(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One value per group as one per number, able to broadcast to `shape`.

    >>> expand_groups(np.array([[1, 2]]), (3, 4))
    [[1, 1, 2, 2]]
    """
    for axis, (count, side) in enumerate(zip(values.shape, shape)):
        if count not in (1, side):
            values = np.repeat(values, side // count, axis)
    return values


def group_numbers(
    groups: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """The number of the group that each position belongs to, in C order.

    Returns: int64 array that broadcasts to `shape`.
    """
    numbers = np.arange(math.prod(groups)).reshape(groups)
    return expand_groups(numbers, shape)


def to_rows(array: np.ndarray, groups: tuple[int, ...]) -> np.ndarray:
    """The numbers of each group as one row, groups in C order.

    >>> to_rows(np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), (1, 2))
    [[1, 2, 5, 6], [3, 4, 7, 8]]
    """
    split, order = _split(array.shape, groups)
    rows = array.reshape(split).transpose(order)
    return rows.reshape(math.prod(groups), -1)


def from_rows(
    rows: np.ndarray, groups: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """The array of which `to_rows` made these rows."""
    split, order = _split(shape, groups)
    moved = rows.reshape([split[axis] for axis in order])
    return moved.transpose(np.argsort(order)).reshape(shape)


def symmetric_zero_point(nbits: int) -> int:
    """The code of zero in a symmetric grid of `2**nbits - 1` levels."""
    return 2 ** (nbits - 1) - 1


def code_dtype(nbits: int) -> np.dtype:
    """The unsigned type that holds codes of `nbits` bits."""
    return np.dtype("uint8" if nbits <= 8 else "uint16")


def _split(shape, groups):
    """Every axis as (groups, block), and the order that puts groups first."""
    split = [
        n for count, side in zip(groups, shape) for n in (count, side // count)
    ]
    axes = range(len(split))
    return split, [*axes[::2], *axes[1::2]]
