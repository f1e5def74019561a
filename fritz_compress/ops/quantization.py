"""Linear quantization: evenly spaced numbers in place of all numbers.

Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", https://arxiv.org/abs/1712.05877, section
2.1, for whole zero points; Krishnamoorthi, "Quantizing deep convolutional
networks for efficient inference", https://arxiv.org/abs/1806.08342, sections
2 and 3, for symmetric grids and granularity.
"""

import numpy as np

from fritz_compress.ops.codes import (
    LinearCodes,
    check_groups,
    code_dtype,
    from_rows,
    symmetric_zero_point,
    to_rows,
)
from fritz_compress.ops.packing import check_nbits

RANGES = ("minmax", "percentile", "least_squares")
# Of the full range; what is tried for the least squared error.
SHARES = np.geomspace(0.04, 1, 48)[:-1]
LARGEST = float(np.finfo("float32").max)


def linear_quantize(
    values: np.ndarray,
    nbits: int,
    groups: tuple[int, ...] | None = None,
    symmetric: bool = False,
    zero: bool | None = None,
    ranges: str = "minmax",
    percentile: float = 99.9,
) -> LinearCodes:
    """Rounds numbers to evenly spaced levels, a grid for each group.

    Scale and offset are rounded up to multiples of a millionth of the largest
    number, so that every level is a float32 without rounding: `decode()` is
    exact, and `recognition.recognize` finds the codes again in the numbers.

    Args:
        values: Finite numbers of any shape.
        nbits: Bits of one code, 1 to 16.
        groups: What has a grid of its own, see `ops.codes`; one grid for all
            by default.
        symmetric: Whether the grid has as many levels above zero as below:
            `2**nbits - 1` of them, or the two at plus and minus the same
            number with one bit.
        zero: Whether zero is a level (not with a symmetric grid of one bit).
            By default in a group that holds a zero: what was pruned stays
            pruned.
        ranges: From where to where the levels reach: "minmax", the smallest
            to the largest number; "percentile", which leaves out the
            outermost; "least_squares", the best of some narrower ones. What
            is outside is clipped.
        percentile: For "percentile": how many of 100 numbers are not cut off
            at the top, and at the bottom likewise. Defaults to 99.9.

    Raises:
        ValueError: for an argument that is not as described, or values that
            are empty or not finite.

    Example: with 2 bits the levels are -1, 0, 1 and 2.

    >>> linear_quantize(np.array([-1.0, 0.2, 0.4, 2.0]), nbits=2)
    LinearCodes(codes=[0, 1, 1, 3], scale=[1.0], offset=[-1.0], nbits=2)
    """
    check_nbits(nbits)
    values = np.asarray(values, "float32")
    groups = (1,) * values.ndim if groups is None else tuple(groups)
    check_values(values)
    check_groups(groups, values.shape)
    check_ranges(ranges, percentile)
    rows = to_rows(values, groups)
    with_zero = np.full(len(rows), zero) if zero is not None else _has(rows, 0)
    low, high = _limits(rows, symmetric, ranges, percentile)
    if ranges == "least_squares":
        grid = _best_grid(rows, low, high, nbits, symmetric, with_zero)
    else:
        grid = _grid(low, high, nbits, symmetric, with_zero)
    codes = _round(rows, *grid, _top(nbits, symmetric))
    return LinearCodes(
        from_rows(codes.astype(code_dtype(nbits)), groups, values.shape),
        grid[0].astype("float32").reshape(groups),
        grid[1].astype("float32").reshape(groups),
        int(nbits),
    )


def sqnr(values: np.ndarray, restored: np.ndarray) -> float:
    """Signal to quantization noise in decibels; infinite without noise.

    `10 log10(sum(values^2) / sum((values - restored)^2))`. A bit more is
    worth 6 decibels with a linear grid.

    Args:
        values: The numbers before quantization.
        restored: The numbers after, in the same shape.
    """
    values = np.asarray(values, "float64")
    noise = np.square(values - restored).sum()
    if not noise:
        return float("inf")
    signal = np.square(values).sum()
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")


def check_values(values: np.ndarray) -> None:
    """Raises a ValueError for an empty array or one that is not finite."""
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            "Only a finite, non-empty array can be quantized. Received: shape "
            f"{values.shape}, {int((~np.isfinite(values)).sum())} values not "
            "finite."
        )


def check_ranges(ranges: str, percentile: float) -> None:
    """Raises a ValueError unless both are as in `linear_quantize`."""
    if ranges not in RANGES:
        raise ValueError(
            f"`ranges` must be one of {list(RANGES)}. Received: {ranges!r}."
        )
    if not 50 < percentile <= 100:
        raise ValueError(
            "`percentile` must be above 50 and at most 100, such as 99.9. "
            f"Received: {percentile!r}."
        )


def _has(rows, number):
    return (rows == number).any(axis=1)


def _top(nbits, symmetric):
    """The largest code."""
    return 2**nbits - (2 if symmetric and nbits > 1 else 1)


def _limits(rows, symmetric, ranges, percentile):
    """From where to where each row reaches, float64."""
    rows = np.abs(rows) if symmetric else rows
    if ranges == "percentile":
        high = np.percentile(rows, percentile, axis=1)
        low = np.percentile(rows, 100 - percentile, axis=1)
    else:
        high, low = rows.max(axis=1), rows.min(axis=1)
    high, low = high.astype("float64"), low.astype("float64")
    return (-high, high) if symmetric else (low, high)


def _grid(low, high, nbits, symmetric, with_zero):
    """Scale and offset of each row, float64, exact in float32."""
    top = _top(nbits, symmetric)
    step = (high - low) / top
    if not symmetric:
        reach = np.maximum(high, 0) - np.minimum(low, 0)
        step = np.where(with_zero, reach / top, step)
    magnitude = np.maximum(np.abs(low), np.abs(high))
    quantum = np.ldexp(1.0, np.maximum(np.frexp(magnitude)[1] - 22, -149))
    scale = np.ceil(step / quantum) * quantum
    scale = np.minimum(np.where(scale == 0, 1, scale), LARGEST)
    if symmetric and nbits > 1:
        return scale, -scale * symmetric_zero_point(nbits)
    free = np.rint(low / quantum) * quantum
    whole = -scale * np.clip(np.rint(-low / scale), 0, top)
    offset = np.where(with_zero & (not symmetric), whole, free)
    if symmetric:
        return scale, offset
    # All numbers of a row alike: one level is theirs, another is zero.
    alike = (low == high) & (low != 0)
    scale = np.where(alike, np.abs(low), scale)
    return scale, np.where(alike, np.minimum(low, 0), offset)


def _round(rows, scale, offset, top):
    """The codes of each row, as float64."""
    codes = rows - offset[:, None]
    codes /= scale[:, None]
    return np.clip(np.rint(codes, out=codes), 0, top, out=codes)


def _best_grid(rows, low, high, nbits, symmetric, with_zero):
    """The grid with the least squared error among shrunken ranges.

    A range shrinks on both sides at once; one that is not symmetric then
    also at the top, and at last, with the best top, at the bottom.
    """
    top = _top(nbits, symmetric)
    sides = [(True, True), (False, True), (True, False)]
    best = [low, high, np.full(len(rows), np.inf)]

    def attempt(low, high):
        scale, offset = _grid(low, high, nbits, symmetric, with_zero)
        errors = _round(rows, scale, offset, top)
        errors *= scale[:, None]
        errors += offset[:, None]
        errors -= rows
        error = np.einsum("ij,ij->i", errors, errors)
        better = error < best[2]
        for kept, tried in zip(best, (low, high, error)):
            kept[better] = tried[better]

    best = [low.copy(), high.copy(), best[2]]
    attempt(low, high)
    middle = np.zeros_like(low) if symmetric else _middle(low, high, with_zero)
    for narrow_low, narrow_high in sides[: 1 if symmetric else 3]:
        low, high = best[0].copy(), best[1].copy()
        for share in SHARES:
            attempt(
                middle + share * (low - middle) if narrow_low else low,
                middle + share * (high - middle) if narrow_high else high,
            )
    return _grid(best[0], best[1], nbits, symmetric, with_zero)


def _middle(low, high, with_zero):
    """What a range shrinks towards: zero where it is a level."""
    return np.where(with_zero, np.clip(0, low, high), low / 2 + high / 2)
