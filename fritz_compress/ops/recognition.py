"""Codes that an array already holds, found again in its numbers.

A quantized network needs nothing beside it: its weights are the levels of a
grid, the entries of a codebook or sub-vectors that repeat. Here they are found
exactly, so that a file can store codes in place of floats, whoever quantized
the weights, and after they were saved, loaded and fine-tuned.
"""

import math
from collections.abc import Sequence

import numpy as np

from fritz_compress.ops.codes import (
    CodebookCodes,
    Codes,
    LinearCodes,
    ProductCodes,
    code_dtype,
    from_rows,
    symmetric_zero_point,
    to_rows,
)
from fritz_compress.ops.group_shapes import (
    codebook_groups,
    linear_groups,
    sub_vectors,
)

MOST_BITS = 16  # Of one code.
SAMPLE = 4096  # Numbers that tell most arrays without codes apart.
CORNER = 3  # Groups along each axis, likewise.
DISTINCT = 0.9  # Of sampled sub-vectors: codes of vectors repeat more.
FEW_BITS = 4  # Of a codebook of numbers, which vectors hardly undercut.


def recognize(
    values: np.ndarray, groups: Sequence[tuple[int, ...]] | None = None
) -> Codes | None:
    """The codes that take the fewest bytes and decode to the very array.

    Sub-vectors are looked for where single numbers hardly repeat.

    Args:
        values: float32 numbers of any shape.
        groups: Shapes of groups to look for, see `ops.codes`. By default per
            tensor; per channel of the last axis, of the last but one, and of
            both; blocks of 4 to 128 along one of them with a scale for each
            index of the other; and 2 to 64 indices that share a codebook.

    Returns: codes whose `decode()` equals `values` number by number (a
    negative zero may come back positive), or `None` if none is smaller than
    the array. That is so for nearly all arrays that were not quantized.

    Example:

    >>> recognize(np.array([0.5, -0.5, 0.5, 1.5, 0.5, -0.5], "float32"))
    LinearCodes(codes=[1, 0, 1, 2, 1, 0], scale=[1.0], offset=[-0.5], nbits=2)
    """
    values = np.asarray(values)
    if values.dtype != "float32" or not values.size:
        return None
    if not np.isfinite(values).all():
        return None
    values = values + np.float32(0)  # No negative zeros.
    best = None
    for shape in groups or linear_groups(values.shape):
        linear = recognize_linear(values, shape, _limit(best, shape))
        best = _smaller(best, linear, values)
    for shape in groups or codebook_groups(values.shape):
        codebook = recognize_codebook(values, shape, _limit(best, shape))
        best = _smaller(best, codebook, values)
    if (
        groups is None
        and values.ndim > 1
        and not _repeats_numbers(best, values)
    ):
        for arguments in sub_vectors(values.shape):
            product = recognize_product(values, *arguments)
            best = _smaller(best, product, values)
    return best


def recognize_linear(
    values: np.ndarray, groups: tuple[int, ...], most_bits: int = MOST_BITS
) -> LinearCodes | None:
    """The grids that an array holds, one for each group, or `None`.

    Every number must be a multiple of one ulp of the group's largest, as
    `linear_quantize` makes them. The step is the greatest common divisor of
    the numbers, so that zero is a level, or of their differences, whichever
    takes fewer bytes: the grid found has the same levels, or fewer where
    levels are not in use.

    Args:
        values: Finite float32 numbers.
        groups: Shape of the groups, see `ops.codes`.
        most_bits: Bits of a code above which `None` is returned.
    """
    for rows in (_corner(values, groups), to_rows(values, groups)):
        quantum, whole = _whole_numbers(rows)
        if whole is None:
            return None
        grids = [
            (step, lowest, nbits)
            for step, lowest in (_through_zero(whole), _between(whole))
            for nbits in [_bits((whole.max(axis=1) - lowest) // step)]
            if nbits <= most_bits
        ]
        if not grids:
            return None
    found = []
    for step, lowest, nbits in grids:
        if _is_symmetric(whole, step, nbits):
            lowest = -step * symmetric_zero_point(nbits)
        codes = (whole - lowest[:, None]) // step[:, None]
        found.append(
            LinearCodes(
                from_rows(
                    codes.astype(code_dtype(nbits)), groups, values.shape
                ),
                (step * quantum).astype("float32").reshape(groups),
                (lowest * quantum).astype("float32").reshape(groups),
                nbits,
            )
        )
    return min(found, key=lambda codes: codes.nbytes)


def recognize_codebook(
    values: np.ndarray, groups: tuple[int, ...], most_bits: int = MOST_BITS
) -> CodebookCodes | None:
    """The distinct numbers of each group as its codebook.

    Args:
        values: Finite float32 numbers.
        groups: Shape of the groups, see `ops.codes`.
        most_bits: Bits of a code above which `None` is returned.

    Returns: codes whose codebooks ascend, the last entry repeated where a
    group has fewer, or `None` where numbers other than zero hardly repeat.
    """
    most = min(values.size // math.prod(groups) - 1, 2**most_bits)
    for row in _corner(values, groups):
        if len(np.unique(row)) > min(most, SAMPLE - 1):
            return None
    rows = to_rows(values, groups)
    books = [np.unique(row) for row in rows]
    size = max(map(len, books))
    if size > most or sum(map(len, books)) > _half(values) + len(books):
        return None
    nbits = max((size - 1).bit_length(), 1)
    codes = [np.searchsorted(book, row) for book, row in zip(books, rows)]
    books = [np.pad(b, (0, size - len(b)), mode="edge") for b in books]
    return CodebookCodes(
        from_rows(np.array(codes, code_dtype(nbits)), groups, values.shape),
        np.array(books, "float32").reshape(*groups, size),
        nbits,
    )


def recognize_product(
    values: np.ndarray, axis: int, length: int, split: bool = False
) -> ProductCodes | None:
    """The distinct sub-vectors of an array as a codebook.

    Args:
        values: Finite float32 numbers.
        axis: Axis of the sub-vectors, not negative; `length` divides it.
        length: Numbers in a sub-vector.
        split: Whether each position along `axis` has a codebook of its own.

    Returns: codes, or `None` where hardly a sub-vector repeats.
    """
    shape = list(values.shape)
    shape[axis : axis + 1] = [shape[axis] // length, length]
    vectors = np.moveaxis(values.reshape(shape), axis + 1, -1)
    sample = _opaque(vectors.reshape(-1, length)[:SAMPLE])
    if len(np.unique(sample)) > DISTINCT * len(sample):
        return None
    groups = [1] * (values.ndim)
    groups[axis] = shape[axis] if split else 1
    found = [
        np.unique(row, return_inverse=True)
        for row in to_rows(_opaque(vectors), tuple(groups))
    ]
    sizes = [len(distinct) for distinct, _ in found]
    size = max(sizes)
    if size > 2 ** MOST_BITS or sum(sizes) > _half(vectors.any(-1)) + len(
        sizes
    ):
        return None
    nbits = max((size - 1).bit_length(), 1)
    codes = np.stack([inverse for _, inverse in found])
    books = [np.pad(d, (0, size - len(d)), mode="edge") for d, _ in found]
    codes = codes.astype(code_dtype(nbits))
    return ProductCodes(
        from_rows(codes, tuple(groups), vectors.shape[:-1]),
        np.stack(books).view("float32").reshape(*groups, size, length),
        axis,
        nbits,
    )


def _smaller(best, codes, values):
    # A grid for each number is exact, and larger than the floats.
    if codes is None or codes.nbytes >= values.nbytes:
        return best
    if best is None or _bytes(codes, values) < _bytes(best, values):
        return codes
    return best


def _bytes(codes, values):
    """Bytes of codes, without those of the zeros of a pruned array.

    A file leaves these out, so that fewer bits for each do not make up for
    more codebooks.
    """
    zeros = values.size - np.count_nonzero(values)
    if isinstance(codes, ProductCodes) or 2 * zeros < values.size:
        return codes.nbytes
    return codes.nbytes - zeros * codes.nbits // 8


def _half(values):
    """Half the numbers that are not zero: fewer must make up the rest."""
    return np.count_nonzero(values) // 2


def _repeats_numbers(codes, values):
    """Whether codes are of single numbers rather than by chance.

    Numbers of sub-vectors repeat where the sub-vectors do, but they are many,
    unless the array is pruned: then sub-vectors repeat by chance.
    """
    if isinstance(codes, CodebookCodes):
        pruned = 2 * np.count_nonzero(values) < values.size
        few = pruned or codes.nbits <= FEW_BITS
        return few and set(codes.groups) == {1}
    return codes is not None


def _limit(best, groups):
    """Bits of a code with which these groups may still be smaller."""
    if best is None:
        return MOST_BITS
    return best.nbits - (math.prod(groups) >= math.prod(best.groups))


def _corner(values, groups):
    """Some numbers of some groups, one row for each."""
    blocks = [side // count for side, count in zip(values.shape, groups)]
    counts = tuple(min(count, CORNER) for count in groups)
    ends = [slice(count * block) for count, block in zip(counts, blocks)]
    return to_rows(values[tuple(ends)], counts)[:, :SAMPLE]


def _whole_numbers(rows):
    """Rows as multiples of one ulp of their largest number, if they are."""
    magnitude = np.abs(rows).max(axis=1)
    exponent = np.maximum(np.frexp(magnitude)[1] - 24, -149)
    multiples = np.ldexp(rows, -exponent[:, None])
    whole = multiples.astype("int32")
    quantum = np.ldexp(1.0, exponent)
    return quantum, whole if (whole == multiples).all() else None


def _through_zero(whole):
    """Step and lowest level of each row, with zero among the levels."""
    step = np.gcd.reduce(whole, axis=1).astype("int64")
    lowest = np.minimum(whole.min(axis=1), 0).astype("int64")
    return np.where(step == 0, 1, step), lowest


def _between(whole):
    """Step and lowest level of each row."""
    lowest = whole.min(axis=1).astype("int64")
    step = np.gcd.reduce(whole - lowest[:, None].astype("int32"), axis=1)
    return np.where(step == 0, 1, step).astype("int64"), lowest


def _bits(codes):
    return max(int(codes.max()).bit_length(), 1)


def _is_symmetric(whole, step, nbits):
    """Whether all rows fit grids around zero."""
    most = step * symmetric_zero_point(nbits)
    with_zero = (whole[:, 0] % step == 0).all()
    fits = (np.abs(whole).max(axis=1) <= most).all()
    # The lowest level may be no number of the array, and too long for float32.
    return with_zero and fits and (most.astype("float32") == most).all()


def _opaque(vectors):
    """Each sub-vector along the last axis as one item."""
    vectors = np.ascontiguousarray(vectors)
    item = np.dtype((np.void, vectors.dtype.itemsize * vectors.shape[-1]))
    return vectors.view(item)[..., 0]
