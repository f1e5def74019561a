"""Codes that an array already holds, found again in its numbers.

A quantized network needs nothing beside it: its weights are the levels of a
grid, the entries of a codebook or sub-vectors that repeat. Here they are found
exactly, so that a file can store codes in place of floats, whoever quantized
the weights, and after they were saved, loaded and fine-tuned.
"""

import math
from collections.abc import Iterator, Sequence

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

MOST_BITS = 16  # Of one code.
LENGTHS = (2, 3, 4, 5, 6, 8, 9, 12, 16)  # Of sub-vectors that are looked for.
BLOCKS = (16, 32, 64, 128)  # Along the last axis but one.
CHANNELS = (2, 4, 8, 16, 32, 64)  # That may share a codebook.
SAMPLE = 4096  # Numbers that tell most arrays without codes apart.


def recognize(
    values: np.ndarray, groups: Sequence[tuple[int, ...]] | None = None
) -> Codes | None:
    """The codes that take the fewest bytes and decode to the very array.

    Sub-vectors are looked for where single numbers hardly repeat.

    Args:
        values: float32 numbers of any shape.
        groups: Shapes of groups to look for, see `ops.codes`. By default per
            tensor, per channel of the last axis, of the last but one and of
            both, blocks of 16 to 128 along the last but one, and 2 to 64
            channels of the last that share a codebook.

    Returns: codes whose `decode()` equals `values` number by number (a
    negative zero may come back positive), or `None` if none is smaller than
    the array. That is so for nearly all arrays that were not quantized.

    Example:

    >>> recognize(np.array([0.5, -0.5, 0.5, 1.5, 0.5, -0.5], "float32"))
    LinearCodes(codes=[1, 0, 1, 2, 1, 0], scale=[1.0], offset=[-0.5], nbits=2)
    """
    values = np.asarray(values)
    if values.dtype != "float32" or not np.isfinite(values).all():
        return None
    values = values + np.float32(0)  # No negative zeros.
    best = None
    for shape in groups or _usual_groups(values.shape):
        best = _smaller(
            best, recognize_linear(values, shape, _limit(best, shape))
        )
    for shape in groups or _codebook_groups(values.shape):
        best = _smaller(
            best, recognize_codebook(values, shape, _limit(best, shape))
        )
    if groups is None and values.ndim > 1 and not _repeats_numbers(best):
        for arguments in _sub_vectors(values.shape):
            best = _smaller(best, recognize_product(values, *arguments))
    return best if best and best.nbytes < values.nbytes else None


def recognize_linear(
    values: np.ndarray, groups: tuple[int, ...], most_bits: int = MOST_BITS
) -> LinearCodes | None:
    """The grids that an array holds, one for each group, or `None`.

    Every difference in a group must be a multiple of the step, and every
    number a multiple of one ulp of the group's largest, as `linear_quantize`
    makes them. The step is the greatest common divisor: the grid found has
    the same levels, or fewer where levels are not in use.

    Args:
        values: Finite float32 numbers.
        groups: Shape of the groups, see `ops.codes`.
        most_bits: Bits of a code above which `None` is returned.
    """
    rows = to_rows(values, groups)
    for part in (rows[:, : SAMPLE // len(rows) + 8], rows):
        quantum, whole = _whole_numbers(part)
        if whole is None:
            return None
        step, top = _steps(whole)
        nbits = max(int(top.max()).bit_length(), 1)
        if nbits > most_bits:
            return None
    lowest = whole.min(axis=1)
    if _is_symmetric(whole, step, nbits):
        lowest = -step * symmetric_zero_point(nbits)
    codes = (whole - lowest[:, None]) // step[:, None]
    return LinearCodes(
        from_rows(codes.astype(code_dtype(nbits)), groups, values.shape),
        (step * quantum).astype("float32").reshape(groups),
        (lowest * quantum).astype("float32").reshape(groups),
        nbits,
    )


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
    rows = to_rows(values, groups)
    most = min(rows.shape[1] - 1, 2**most_bits)
    if len(np.unique(rows[0, :SAMPLE])) > min(most, SAMPLE - 1):
        return None
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
    if len(np.unique(_opaque(vectors.reshape(-1, length)[:SAMPLE]))) == min(
        vectors.size // length, SAMPLE
    ):
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


def _smaller(best, codes):
    if best is None or (codes is not None and codes.nbytes < best.nbytes):
        return codes
    return best


def _half(values):
    """Half the numbers that are not zero: fewer must make up the rest."""
    return np.count_nonzero(values) // 2


def _repeats_numbers(codes):
    """Whether codes are of single numbers rather than by chance.

    Numbers of sub-vectors at one place repeat where the sub-vectors do, but
    not over the whole array, and not at even distances.
    """
    if isinstance(codes, CodebookCodes):
        return set(codes.groups) == {1}
    return codes is not None


def _limit(best, groups):
    """Bits of a code with which these groups may still be smaller."""
    if best is None:
        return MOST_BITS
    return best.nbits - (math.prod(groups) >= math.prod(best.groups))


def _sub_vectors(shape) -> Iterator[tuple[int, int, bool]]:
    """Axis, length and whether to split, of the sub-vectors to look for."""
    for axis in (len(shape) - 2, len(shape) - 1):
        for length in LENGTHS:
            if shape[axis] % length == 0:
                yield axis, length, False
                yield axis, length, True


def _usual_groups(shape):
    """Per tensor, channel and block: shapes of groups without repetition."""
    ones = [1] * (len(shape) - 2)
    found = [(1,) * len(shape)]
    if len(shape) >= 2:
        inner, outer = shape[-2:]
        found += [(*ones, 1, outer), (*ones, inner, 1), (*ones, inner, outer)]
        found += [
            (*ones, inner // block, outer)
            for block in BLOCKS
            if inner % block == 0
        ]
    return list(dict.fromkeys(found))


def _codebook_groups(shape):
    """Per tensor, channel, and some channels of the last axis."""
    found = [(1,) * len(shape)]
    if len(shape) >= 2:
        ones = (1,) * (len(shape) - 1)
        shared = [n for n in (1, *CHANNELS) if shape[-1] % n == 0]
        found += [(*ones, shape[-1] // n) for n in shared]
        found += [(*ones[:-1], shape[-2], 1)]
    return list(dict.fromkeys(found))


def _whole_numbers(rows):
    """Rows as multiples of one ulp of their largest number, if they are."""
    magnitude = np.abs(rows).max(axis=1)
    exponent = np.maximum(np.frexp(magnitude)[1] - 24, -149)
    multiples = np.ldexp(rows, -exponent[:, None])
    whole = multiples.astype("int32")
    quantum = np.ldexp(1.0, exponent)
    return quantum, whole if (whole == multiples).all() else None


def _steps(whole):
    """Step of each row, and its largest number in steps from its lowest."""
    lowest = whole.min(axis=1)
    step = np.gcd.reduce(whole - lowest[:, None], axis=1).astype("int64")
    alone = np.where(lowest == 0, 1, np.abs(lowest))
    step = np.where(step == 0, alone, step)
    return step, (whole.max(axis=1) - lowest) // step


def _is_symmetric(whole, step, nbits):
    """Whether all rows fit grids around zero."""
    most = step * symmetric_zero_point(nbits)
    with_zero = (whole[:, 0] % step == 0).all()
    return with_zero and (np.abs(whole).max(axis=1) <= most).all()


def _opaque(vectors):
    """Each sub-vector along the last axis as one item."""
    vectors = np.ascontiguousarray(vectors)
    item = np.dtype((np.void, vectors.dtype.itemsize * vectors.shape[-1]))
    return vectors.view(item)[..., 0]
