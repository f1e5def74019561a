"""Tokens of whole numbers and their frequencies, coded for `ops.entropy`."""

import numpy as np

from fritz_compress.ops import bitstream

WHOLE = 2**24  # What all frequencies add up to.
# Eighths of an octave: 2**16 * 2**(i / 8), rounded.
OCTAVE = (65536, 71468, 77936, 84990, 92682, 101070, 110218, 120194)
HIGHEST_LEVEL = 31  # Octaves: no number of numbers is higher.


def split_numbers(
    values: np.ndarray, split: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The token of each number, the bits it leaves out, and how many."""
    mantissa = min(split, 2)
    # Exact, as float64 holds whole numbers of 31 bits.
    top = np.frexp(values.astype("float64"))[1] - 1
    small = values < 2**split
    widths = np.where(small, 0, top - mantissa)
    leading = (values >> widths) & (2**mantissa - 1)
    buckets = 2**split + ((top - split) << mantissa) + leading
    rests = np.where(small, 0, values & ((1 << widths) - 1))
    return np.where(small, values, buckets), rests, widths


def smallest_numbers(
    tokens: np.ndarray, split: int
) -> tuple[np.ndarray, np.ndarray]:
    """The smallest number of each token, and the bits it leaves out."""
    mantissa = min(split, 2)
    small = tokens < 2**split
    bucket = np.where(small, 0, tokens - 2**split)
    widths = np.where(small, 0, (bucket >> mantissa) + split - mantissa)
    leading = 2**mantissa + (bucket & (2**mantissa - 1))
    return np.where(small, tokens, leading << widths), widths


def weights(levels: np.ndarray, precision: int) -> np.ndarray:
    """What frequencies are proportional to: whole numbers, as float64."""
    whole, part = np.divmod(levels, 2**precision)
    octave = np.array(OCTAVE)[part << (3 - precision)]
    return octave.astype("float64") * 2.0**whole


def frequencies(levels: np.ndarray, precision: int) -> list[int]:
    """Whole numbers from 1 that add up to `WHOLE`, one for each level."""
    # Python's whole numbers: the products exceed 64 bits.
    whole = [int(weight) for weight in weights(levels, precision)]
    total, free = sum(whole), WHOLE - len(whole)
    found = [1 + weight * free // total for weight in whole]
    found[whole.index(max(whole))] += WHOLE - sum(found)
    return found


def _runs(present):
    """Lengths of runs: tokens that do not occur, those that do, ..."""
    breaks = np.flatnonzero(np.diff(present) > 1)
    starts = present[np.concatenate([[0], breaks + 1])]
    ends = present[np.concatenate([breaks, [len(present) - 1]])] + 1
    edges = np.stack([starts, ends], axis=1).reshape(-1)
    return np.diff(edges, prepend=-1)  # The first one plus 1.


def _steps(levels):
    """Differences of levels as whole numbers that are not negative."""
    steps = np.diff(levels, prepend=0)
    return np.where(steps < 0, -2 * steps - 1, 2 * steps)


def _rice_parameter(steps):
    return min(range(4), key=lambda k: int((steps >> k).sum()) + len(steps) * k)


def table_bits(present: np.ndarray, levels: np.ndarray) -> int:
    """Bits of what `write_present` and `write_levels` write."""
    runs, steps = _runs(present), _steps(levels)
    k = _rice_parameter(steps)
    gamma = sum(2 * int(n).bit_length() - 1 for n in [*runs, len(runs)])
    return gamma + 2 + int((steps >> k).sum()) + len(steps) * (k + 1)


def write_present(table: bitstream.Writer, present: np.ndarray) -> None:
    """Which tokens occur, ascending, as lengths of runs."""
    runs = _runs(present)
    for number in [len(runs), *runs]:
        table.gamma(int(number))


def read_present(reader: bitstream.Reader, split: int) -> np.ndarray:
    """The tokens that occur.

    Raises:
        ValueError: for a token of numbers of more than 31 bits.
    """
    limit = 2**split + ((31 - split) << min(split, 2))
    number = reader.gamma()
    if number % 2 or number > 2 * limit:
        raise ValueError(f"{number} runs of tokens")
    present, end = [], -1
    for index in range(number):
        start, end = end, end + reader.gamma()
        if end > limit:
            raise ValueError(f"a token of {end}, of {limit} at most")
        if index % 2:
            present.extend(range(start, end))
    return np.array(present, "int64")


def write_levels(table: bitstream.Writer, levels: np.ndarray) -> None:
    """The level of each token, as differences."""
    steps = _steps(levels)
    k = _rice_parameter(steps)
    table.bits(k, 2)
    for step in steps.tolist():
        table.rice(step, k)


def read_levels(
    reader: bitstream.Reader, count: int, precision: int
) -> np.ndarray:
    """The level of each of so many tokens.

    Raises:
        ValueError: for a level out of range.
    """
    k = reader.bits(2)
    steps = np.array([reader.rice(k) for _ in range(count)])
    levels = np.cumsum(np.where(steps % 2, -(steps + 1) // 2, steps // 2))
    if not 0 <= levels.min() <= levels.max() <= HIGHEST_LEVEL << precision:
        raise ValueError("a frequency out of range")
    return levels
