"""Where the numbers of a pruned weight are that are not zero."""

import dataclasses
import math

import numpy as np

from fritz_compress.ops import bitstream, entropy, sparse

# ALL: every number is stored, zeros too. The others store no zeros: GAPS by
# relative indices, in C order; COLUMNS the same with the last axis taken
# first; ROWS by compressed rows, along the last axis.
ALL, GAPS, COLUMNS, ROWS = range(4)
NAMES = ("", "gaps", "column gaps", "rows")


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
    """Which numbers of a weight are stored, and the bytes that tell.

    Attributes:
        kind: `ALL`, `GAPS`, `COLUMNS` or `ROWS`.
        where: Indices into the flat weight, in the order in which their
            numbers are stored; `None` for all of them.
        data: The bytes.
        entropy: Bits that they need at least.
    """

    kind: int = ALL
    where: np.ndarray | None = None
    data: bytes = b""
    entropy: float = 0.0

    def among(self, array: np.ndarray) -> np.ndarray:
        """The numbers that are stored, flat."""
        flat = array.reshape(-1)
        return flat if self.where is None else flat[self.where]


def without_zeros(array: np.ndarray) -> Places | None:
    """The shortest way to leave out zeros, `None` if there is none."""
    nonzero = array.reshape(-1) != 0
    if nonzero.all() or array.size > entropy.LARGEST:
        return None
    where = np.flatnonzero(nonzero)
    order = _columns_first(array.shape)
    turned = np.flatnonzero(nonzero[order])
    found = [
        Places(GAPS, where, *_gaps(where)),
        Places(COLUMNS, order[turned], *_gaps(turned)),
        Places(ROWS, where, *_rows(nonzero.reshape(array.shape))),
    ]
    return min(found, key=lambda places: len(places.data))


def read(
    kind: int, reader: bitstream.Reader, shape: tuple[int, ...]
) -> np.ndarray | None:
    """The indices of the numbers that are stored, as in `Places.where`.

    Raises:
        ValueError: for bytes that do not fit the shape.
    """
    if kind == ALL:
        return None
    if kind not in (GAPS, COLUMNS, ROWS):
        raise ValueError(f"unknown way {kind} to leave out zeros")
    if kind == ROWS:
        return _read_rows(reader, shape)
    number, size = reader.varint(), math.prod(shape)
    if number > size:
        raise ValueError(f"{number} numbers in a weight of {size}")
    where = np.cumsum(read_stream(reader, number) + 1) - 1
    if number and where[-1] >= size:
        raise ValueError(f"number {where[-1]} in a weight of {size}")
    return where if kind == GAPS else _columns_first(shape)[where]


def write_stream(numbers: np.ndarray) -> tuple[bytes, float]:
    """Whole numbers after their number of bytes; and their entropy, in bits."""
    data = entropy.encode_integers(numbers)
    return bitstream.varint(len(data)) + data, entropy.entropy_bits(numbers)


def read_stream(reader: bitstream.Reader, count: int) -> np.ndarray:
    """So many whole numbers that `write_stream` wrote.

    Raises:
        ValueError: for other bytes.
    """
    return entropy.decode_integers(reader.take(reader.varint()), count)


def _gaps(where):
    number = bitstream.varint(len(where))
    data, bits = write_stream(np.diff(where, prepend=-1) - 1)
    return number + data, bits


def _rows(mask):
    rows = sparse.to_csr(mask)
    counts = np.diff(rows.row_starts.astype("int64"))
    steps = _steps_in_rows(rows.columns.astype("int64"), counts)
    parts = [write_stream(counts), write_stream(steps)]
    return b"".join(data for data, _ in parts), sum(bits for _, bits in parts)


def _read_rows(reader, shape):
    rows, columns = math.prod(shape[:-1]), shape[-1] if shape else 1
    counts = read_stream(reader, rows)
    if rows and counts.max() > columns:
        raise ValueError(f"{counts.max()} numbers in a row of {columns}")
    steps = read_stream(reader, int(counts.sum()))
    places = np.cumsum(steps + 1)
    starts = np.cumsum(counts) - counts
    before = np.concatenate([[0], places])[starts]
    found = places - 1 - np.repeat(before, counts)
    if len(found) and found.max() >= columns:
        raise ValueError(f"column {found.max()} in a row of {columns}")
    return np.repeat(np.arange(rows), counts) * columns + found


def _steps_in_rows(columns, counts):
    """Columns left out before each, in its row."""
    steps = np.diff(columns, prepend=-1) - 1
    first = (np.cumsum(counts) - counts)[counts > 0]
    steps[first] = columns[first]
    return steps


def _columns_first(shape):
    """Indices into the flat weight, those of the last axis' first index first.

    >>> _columns_first((2, 3))
    [0, 3, 1, 4, 2, 5]
    """
    indices = np.arange(math.prod(shape)).reshape(-1, shape[-1] if shape else 1)
    return indices.T.reshape(-1)
