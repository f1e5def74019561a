"""Where a step from -1 to 1 is, found by evaluating what makes it.

The sign of a normalized, scaled or otherwise monotone number is a comparison
of that number itself. Functions are called on the very numbers that occur, so
that the limits found hold to the last bit, however they round.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

_AT_ONCE = 2**24  # Numbers that are evaluated.
_PARTS = 256  # Of an interval that is searched.


class Limits(NamedTuple):
    """What has the sign 1: numbers from `low` to `high`, for each channel."""

    low: np.ndarray
    high: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.low.nbytes + self.high.nbytes


def limits_of_floats(
    function: Callable[[np.ndarray], Any], channels: int
) -> Limits | None:
    """Which float32 numbers a step makes 1.

    The step is looked for among all finite numbers, between ever nearer ones,
    which takes for granted that there is no other.

    Args:
        function: From numbers, `(n, channels)`, to -1 and 1 in that shape.
        channels: How many.

    Returns: `None` if the function was seen to be no step.
    """
    finite = int(np.finfo("float32").max.view("int32"))
    left = np.full(channels, -finite, "int64")
    right = -left
    ends = _bits(function(_floats(np.stack([left, right]))))
    if ends is None:
        return None
    first, last = ends
    while (right - left).max() > 1:
        parts = np.arange(_PARTS + 1)[:, None]
        grid = left + (right - left) * parts // _PARTS
        bits = _bits(function(_floats(grid)))
        if bits is None or not _is_step(bits):
            return None
        after = np.argmax(bits == last, axis=0).clip(1)
        left, right = _each(grid, after - 1), _each(grid, after)
    return _limits(first, last, _floats(left), _floats(right), np.inf)


def limits_of_sums(
    function: Callable[[np.ndarray], Sequence[Any]], most: int, channels: int
) -> tuple[Limits, list[np.ndarray]] | None:
    """Which whole numbers a step makes 1, all of them tried.

    Args:
        function: From sums, float32 of the shape `(n, channels)`, to numbers
            of which maxima are taken before the step, any number of times,
            and at last to -1 and 1; all in that shape.
        most: The largest sum; the least is its negative.
        channels: How many.

    Returns: the limits, and for each maximum in which channels a larger number
        has the sign -1; `None` if there is no step, or one that maxima do not
        keep.
    """
    sums = np.arange(-most, most + 1)
    count = max(1, _AT_ONCE // channels)
    found = [
        [
            ops.convert_to_numpy(values).reshape(-1, channels)
            for values in function(_columns(sums[i : i + count], channels))
        ]
        for i in range(0, len(sums), count)
    ]
    *pooled, levels = map(np.concatenate, zip(*found))
    bits = _bits(levels)
    if bits is None or not _is_step(bits) or not all(map(_is_monotone, pooled)):
        return None
    first, last = bits[0], bits[-1]
    after = np.argmax(bits == last, axis=0).clip(1)
    most = np.iinfo("int32").max
    limits = _limits(first, last, sums[after - 1], sums[after], most)
    falling = [
        _each(bits, x.argmax(0)) < _each(bits, x.argmin(0)) for x in pooled
    ]
    return Limits(*(x.astype("int32") for x in limits)), falling


def _limits(first, last, left, right, most):
    """From the bits at both ends, and the numbers on both sides of a step."""
    return Limits(
        np.where(first, -most, np.where(last, right, most)),
        np.where(last, most, np.where(first, left, -most)),
    )


def _floats(order):
    """The float32 numbers of whole ones that are in the same order."""
    return (
        np.where(order >= 0, order, 2**31 - order)
        .astype("uint32")
        .view("float32")
    )


def _columns(sums, channels):
    return np.repeat(sums[:, None], channels, axis=1).astype("float32")


def _bits(levels):
    """Which are 1, if all are 1 or -1."""
    levels = ops.convert_to_numpy(levels)
    return levels > 0 if (np.abs(levels) == 1).all() else None


def _is_step(bits):
    return (bits[1:] != bits[:-1]).sum(0).max() <= 1


def _is_monotone(values):
    change = values[1:] - values[:-1]
    return bool(((change >= 0).all(0) | (change <= 0).all(0)).all())


def _each(rows, indices):
    """For each column the row of an index."""
    return rows[indices, np.arange(rows.shape[1])]
