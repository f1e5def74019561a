"""Shapes of groups, and sub-vectors, in which codes are looked for."""

from collections.abc import Iterator

LENGTHS = (2, 3, 4, 5, 6, 8, 9, 12, 16)  # Of sub-vectors that are looked for.
BLOCKS = range(4, 129)  # Inputs that may share a scale.
CHANNELS = range(2, 65)  # Outputs that may share a codebook.


def linear_groups(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Per tensor, channel and block."""
    found = [(1,) * len(shape)]
    if len(shape) >= 2:
        ones, (inner, outer) = (1,) * (len(shape) - 2), shape[-2:]
        found += [(*ones, 1, outer), (*ones, inner, 1), (*ones, inner, outer)]
        found += [(*ones, n, outer) for n in _counts(inner, BLOCKS)]
        found += [(*ones, inner, n) for n in _counts(outer, BLOCKS)]
    return list(dict.fromkeys(found))


def codebook_groups(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Per tensor, channel, and some channels."""
    found = [(1,) * len(shape)]
    if len(shape) >= 2:
        ones, (inner, outer) = (1,) * (len(shape) - 2), shape[-2:]
        found += [(*ones, 1, outer), (*ones, inner, 1), (*ones, inner, outer)]
        found += [(*ones, 1, n) for n in _counts(outer, CHANNELS)]
        found += [(*ones, n, 1) for n in _counts(inner, CHANNELS)]
    return list(dict.fromkeys(found))


def sub_vectors(shape: tuple[int, ...]) -> Iterator[tuple[int, int, bool]]:
    """Axis, length and whether to split, of the sub-vectors to look for."""
    for axis in (len(shape) - 2, len(shape) - 1):
        for length in LENGTHS:
            if shape[axis] % length == 0:
                yield axis, length, False
                yield axis, length, True


def _counts(side, sizes):
    """How many blocks of each size an axis has, where they fill it."""
    return [side // size for size in sizes if side % size == 0]
