"""Pruned tensors without their zeros: compressed rows, relative indices.

Both forms are plain arrays, which an entropy coder or a file format can take
on. Every number comes back bit by bit, with one exception: a negative zero is
a zero and comes back as a positive one. NaN is not a zero.
"""

import dataclasses
import math

import numpy as np

LARGEST_INDEX_BITS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class CompressedRows:
    """A tensor as compressed sparse rows (CSR).

    The rows run along the last axis: a tensor of shape `(3, 3, 16, 32)` has
    144 rows of 32 columns. Row `r` holds the entries from `row_starts[r]` to
    `row_starts[r + 1]`.

    Attributes:
        shape: Shape of the tensor. A scalar is one row of one column.
        values: The numbers that are not zero, in the tensor's dtype, row by
            row.
        columns: The column of each, unsigned, ascending in each row.
        row_starts: Where each row starts among the values, and the end:
            unsigned, one more than there are rows.
    """

    shape: tuple[int, ...]
    values: np.ndarray
    columns: np.ndarray
    row_starts: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of values and indices, rounded up once; not of the shape.

        A column takes as many bits as the last column needs, a row start as
        many as the number of values needs.
        """
        columns = _rows_and_columns(self.shape)[1]
        column_bits = len(self.columns) * max(columns - 1, 0).bit_length()
        start_bits = len(self.row_starts) * len(self.values).bit_length()
        return _bytes(self.values.nbytes * 8 + column_bits + start_bits)


@dataclasses.dataclass(frozen=True, eq=False)
class RelativeIndices:
    """A tensor as its values and the number of zeros before each.

    Positions count through the flat tensor, last axis first. Where more
    zeros follow each other than a gap can count, a zero is among the values:
    a filler. Zeros after the last value are not stored.

    Attributes:
        shape: Shape of the tensor.
        index_bits: Bits of one gap.
        values: Numbers that are not zero, and fillers, in the tensor's dtype.
        gaps: Zeros before each value, 0 to `2**index_bits - 1`: the
            difference between its position and that of the value before,
            less one. uint8 up to 8 bits, uint16 above.
    """

    shape: tuple[int, ...]
    index_bits: int
    values: np.ndarray
    gaps: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of values and gaps, rounded up once; not of the shape."""
        gap_bits = len(self.gaps) * self.index_bits
        return _bytes(self.values.nbytes * 8 + gap_bits)

    @property
    def fillers(self) -> int:
        """How many of the values are zeros that only bridge a gap."""
        return len(self.values) - int(np.count_nonzero(self.values))


def to_csr(array: np.ndarray) -> CompressedRows:
    """Compressed sparse rows of an array, the rows along its last axis.

    Args:
        array: Numbers of any shape and dtype, those of `ml_dtypes` (bfloat16)
            included.

    Raises:
        TypeError: for an array that does not hold numbers.

    Example:

    >>> to_csr(np.array([[0, 7, 0], [0, 0, 0], [5, 0, 6]]))
    CompressedRows(shape=(3, 3), values=array([7, 5, 6]),
        columns=array([1, 0, 2]), row_starts=array([0, 1, 1, 3]))
    """
    array = _checked(array)
    rows, columns = _rows_and_columns(array.shape)
    positions = _nonzero_positions(array)
    row_of, column_of = np.divmod(positions, max(columns, 1))
    starts = np.zeros(rows + 1, "int64")
    np.cumsum(np.bincount(row_of, minlength=rows), out=starts[1:])
    return CompressedRows(
        array.shape,
        array.reshape(-1)[positions],
        column_of.astype(np.min_scalar_type(max(columns - 1, 0))),
        starts.astype(np.min_scalar_type(len(positions))),
    )


def from_csr(rows: CompressedRows) -> np.ndarray:
    """The array that `to_csr` was given, zeros positive.

    Raises:
        ValueError: if the parts do not fit together.
    """
    number, columns = _rows_and_columns(rows.shape)
    starts = rows.row_starts.astype("int64")
    fits = (
        len(starts) == number + 1
        and starts[0] == 0
        and starts[-1] == len(rows.values) == len(rows.columns)
        and (np.diff(starts) >= 0).all()
        and (rows.columns < columns).all()
    )
    if not fits:
        raise ValueError(
            f"Expected {number} rows of {columns} columns, {number + 1} "
            "ascending row starts from 0 to the number of values, and one "
            f"column per value. Received: {len(starts)} row starts, "
            f"{len(rows.columns)} columns, {len(rows.values)} values. Pass "
            "what `to_csr` returned."
        )
    row_of = np.repeat(np.arange(number), np.diff(starts))
    positions = row_of * columns + rows.columns
    return _scattered(rows.shape, positions, rows.values)


def to_relative(
    array: np.ndarray, index_bits: int | None = None
) -> RelativeIndices:
    """The relative indices of Deep Compression.

    Args:
        array: Numbers of any shape and dtype, those of `ml_dtypes` (bfloat16)
            included.
        index_bits: Bits of the difference between two positions, 1 to 16, so
            that differences of up to `2**index_bits` need no filler. None
            takes the number with the fewest bytes.

    Raises:
        TypeError: for an array that does not hold numbers.
        ValueError: for a number of bits out of range.

    Reference: Han, Mao and Dally, "Deep Compression",
    https://arxiv.org/abs/1510.00149, section 2 and figure 2. The paper takes
    8 bits for convolutions and 5 for dense layers. Positions count as in the
    authors' decoder: a first value at position 0 has the difference 1.

    Example: the figure's values at positions 1, 4 and 15, three bits. The
    difference of 11 needs a filler after 8.

    >>> row = np.zeros(16); row[[1, 4, 15]] = 3.4, 0.9, 1.7
    >>> to_relative(row, index_bits=3)
    RelativeIndices(shape=(16,), index_bits=3,
        values=array([3.4, 0.9, 0. , 1.7]), gaps=array([1, 2, 7, 2]))
    """
    if index_bits is not None:
        _check_bits(index_bits)
    array = _checked(array)
    positions = _nonzero_positions(array)
    zeros_before = np.diff(positions, prepend=-1) - 1
    if index_bits is None:
        index_bits = _fewest_bytes(zeros_before, array.dtype.itemsize)
    # A filler stands for 2**index_bits positions: itself and a full gap.
    fillers = zeros_before >> index_bits
    ends = np.cumsum(fillers + 1)
    length = int(ends[-1]) if len(ends) else 0
    largest = 2**index_bits - 1
    gaps = np.full(length, largest, np.min_scalar_type(largest))
    gaps[ends - 1] = zeros_before & largest
    values = np.zeros(length, array.dtype)
    values[ends - 1] = array.reshape(-1)[positions]
    return RelativeIndices(array.shape, int(index_bits), values, gaps)


def from_relative(indices: RelativeIndices) -> np.ndarray:
    """The array that `to_relative` was given, zeros positive.

    Raises:
        ValueError: if the parts do not fit together.
    """
    positions = np.cumsum(indices.gaps.astype("int64") + 1) - 1
    size = math.prod(indices.shape)
    end = int(positions[-1]) + 1 if len(positions) else 0
    if len(positions) != len(indices.values) or end > size:
        raise ValueError(
            "Expected one gap per value, and positions inside a tensor of "
            f"{size} numbers. Received: {len(positions)} gaps that reach to "
            f"number {end}, and {len(indices.values)} values. Pass what "
            "`to_relative` returned."
        )
    return _scattered(indices.shape, positions, indices.values)


def smaller_of(array: np.ndarray) -> CompressedRows | RelativeIndices:
    """Compressed rows or relative indices, whichever has fewer bytes.

    The relative indices have the best number of bits. The array as it is may
    be smaller than both: compare `nbytes` with its own.

    Raises:
        TypeError: for an array that does not hold numbers.
    """
    return min(to_csr(array), to_relative(array), key=lambda form: form.nbytes)


def restore(form: CompressedRows | RelativeIndices) -> np.ndarray:
    """The array of either form, zeros positive.

    Raises:
        TypeError: for anything else.
        ValueError: if the parts do not fit together.
    """
    if isinstance(form, CompressedRows):
        return from_csr(form)
    if isinstance(form, RelativeIndices):
        return from_relative(form)
    raise TypeError(
        "Expected CompressedRows or RelativeIndices. Received: "
        f"{type(form).__name__}. Pass what `to_csr`, `to_relative` or "
        "`smaller_of` returned."
    )


def _checked(array):
    array = np.asarray(array)
    # The number types of ml_dtypes have NumPy's kind of raw bytes.
    raw = issubclass(array.dtype.type, np.void)
    if raw or array.dtype.kind in "OSUmMT":
        raise TypeError(
            "Expected an array of numbers. Received: dtype "
            f"{array.dtype}. Convert it with `astype` first."
        )
    return array


def _check_bits(index_bits):
    known = isinstance(index_bits, (int, np.integer))
    if not known or not 1 <= index_bits <= LARGEST_INDEX_BITS:
        raise ValueError(
            "`index_bits` must be a whole number from 1 to "
            f"{LARGEST_INDEX_BITS}, or None to take the best. Received: "
            f"{index_bits!r}."
        )


def _rows_and_columns(shape):
    return math.prod(shape[:-1]), shape[-1] if shape else 1


def _nonzero_positions(array):
    return np.flatnonzero(array.reshape(-1) != 0)


def _fewest_bytes(zeros_before, itemsize):
    def bits(index_bits):
        fillers = int((zeros_before >> index_bits).sum())
        entries = len(zeros_before) + fillers
        return entries * (index_bits + 8 * itemsize)

    return min(range(1, LARGEST_INDEX_BITS + 1), key=bits)


def _scattered(shape, positions, values):
    array = np.zeros(math.prod(shape), values.dtype)
    array[positions] = values
    return array.reshape(shape)


def _bytes(bits):
    return -(-bits // 8)
