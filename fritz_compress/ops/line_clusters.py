"""Clusters of numbers on a line: the k-means of one dimension, solved.

The clusters of an optimum are runs of the sorted numbers, so a dynamic
programme finds them. It works on cells, short runs that it does not split:
where there are too many numbers for a cell each, their borders are as dense
as those of a fine quantizer would be. A cell has the exact sums of its
numbers, so the error of every union of cells is exact too. Lloyd's algorithm,
on all numbers, then moves the borders inside the cells.
"""

import dataclasses

import numpy as np

CELLS_PER_CLUSTER = 32
FEWEST_CELLS, MOST_CELLS = 2**11, 2**14
LARGEST_PROGRAMME = 2048  # Clusters; the time rises with their number.
REFINEMENTS = 500
CAPPINGS = 5
PINNED = 1e6  # Weight of a pinned zero, in weights of all other numbers.


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """Sorted numbers with running sums, so that any run has its mean at once.

    Attributes:
        values: Ascending float32 of shape `(n,)`.
        weights: `weights[i]` is the weight of the first `i` numbers; `None`
            if it is `i`.
        totals: The same for the weighted numbers, less `shift` each.
        shift: A number in their middle, against cancellation.
        zero: Place of the zero that must stay an entry; `n` without one.
    """

    values: np.ndarray
    weights: np.ndarray | None
    totals: np.ndarray
    shift: float
    zero: int

    def weight(self, borders: np.ndarray) -> np.ndarray:
        """Running weight at borders, a pinned zero like any number."""
        if self.weights is None:
            return borders.astype("float64")
        return self.weights[borders]

    def sums(self, borders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Running weights and totals at borders, a pinned zero heavy."""
        all_weight = self.weight(np.array(len(self.values)))
        heavy = PINNED * all_weight * (borders > self.zero)
        return self.weight(borders) + heavy, self.totals[borders]

    def means(self, borders: np.ndarray) -> np.ndarray:
        """Mean of each run between borders; NaN for an empty one."""
        weights, totals = map(np.diff, self.sums(borders))
        means = np.full(len(weights), np.nan)
        np.divide(totals, weights, out=means, where=np.diff(borders) > 0)
        return means + self.shift


def line(
    values: np.ndarray, weights: np.ndarray | None, keep_zeros: bool
) -> Line:
    """Sorts numbers and adds them up.

    Args:
        values: float32 of shape `(n,)`.
        weights: Weight of each, not negative, not all 0; equal by default.
        keep_zeros: Whether zeros become one number that is pinned.
    """
    if weights is not None:
        values, weights = values[weights > 0], weights[weights > 0]
    pinned = keep_zeros and np.count_nonzero(values) < values.size
    if pinned:
        kept = values != 0
        values = np.append(values[kept], np.float32(0))
        if weights is not None:
            weights = np.append(weights[kept], weights.mean())
    if weights is None:
        values = np.sort(values)
    else:
        order = np.argsort(values)
        values, weights = values[order], weights[order]
    shift = 0.0 if pinned else float(values.mean(dtype="float64"))
    centered = np.subtract(values, shift, dtype="float64")
    if weights is not None:
        centered *= weights
        weights = _running_sums(weights)
    zero = int(np.searchsorted(values, 0)) if pinned else len(values)
    return Line(values, weights, _running_sums(centered), shift, zero)


def optimal_centers(line: Line, size: int) -> np.ndarray:
    """Centers whose squared error is the least, before `refined_centers`.

    Above `LARGEST_PROGRAMME` clusters they are only as dense as those of a
    fine quantizer: Panter and Dite, "Quantization distortion in pulse-count
    modulation with nonuniform spacing of levels", 1951.
    """
    if size > LARGEST_PROGRAMME:
        return line.means(_fine_borders(line, size))
    count = np.clip(CELLS_PER_CLUSTER * size, FEWEST_CELLS, MOST_CELLS)
    cells = _cells(line, int(count))
    runs = best_partition(*line.sums(cells), size)
    return line.means(cells[runs])


def refined_centers(line: Line, centers: np.ndarray) -> np.ndarray:
    """Lloyd's algorithm: means of the nearest numbers, until they rest.

    A center without numbers stays where it is.
    """
    borders = None
    for _ in range(REFINEMENTS):
        # On a border between two, a number goes to the lower center.
        inner = np.searchsorted(line.values, midpoints(centers), side="right")
        moved = np.concatenate([[0], inner, [len(line.values)]])
        if borders is not None and (moved == borders).all():
            break
        borders = moved
        means = line.means(borders)
        centers = np.where(np.isnan(means), centers, means)
    return centers


def midpoints(centers: np.ndarray) -> np.ndarray:
    """The largest float32 that are no nearer to the next center."""
    exact = (centers[1:].astype("float64") + centers[:-1]) / 2
    rounded = exact.astype("float32")
    below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > exact, below, rounded)


def best_partition(
    weights: np.ndarray, totals: np.ndarray, size: int
) -> np.ndarray:
    """Cuts a row of cells into `size` runs with the least squared error.

    The error is a constant less the sum of total**2 / weight over the runs.
    The best last cut of the first n cells rises with n, so each is searched
    between those of rows that are already known: O(size * n * log(n)).

    Args:
        weights, totals: Running sums over `n` cells, of shape `(n + 1,)`;
            every cell has a weight.
        size: Runs, at most `n`.

    Returns: the borders, ascending, of shape `(size + 1,)`.

    Reference: Grønlund et al., "Fast Exact k-Means, k-Medians and Bregman
    Divergence Clustering in 1D", https://arxiv.org/abs/1701.07204, section 2.

    Example: 0, 1 | 4, 6.

    >>> best_partition(np.arange(5.0), np.array([0.0, 0, 1, 5, 11]), 2)
    [0, 2, 4]
    """
    cells = len(weights) - 1
    gains = np.zeros(cells + 1)
    gains[1:] = totals[1:] ** 2 / weights[1:]
    cuts = np.zeros((size, cells + 1), "int32")
    for layer in range(1, size):
        gains = _one_more_run(gains, weights, totals, cuts[layer])
    borders = [cells]
    for layer in reversed(range(size)):
        borders.append(cuts[layer, borders[-1]])
    return np.array(borders[::-1])


def _one_more_run(gains, weights, totals, cuts):
    """The gain with a run more for every number of cells; fills `cuts`."""
    cells = len(gains) - 1
    longer = np.zeros_like(gains)
    stride = 1 << cells.bit_length() - 1
    while stride:
        rows = np.arange(stride, cells + 1, 2 * stride)
        above = np.minimum(rows + stride, cells)
        highest = np.where(rows + stride <= cells, cuts[above], cells)
        lowest = cuts[rows - stride]
        counts = np.minimum(highest, rows - 1) - lowest + 1
        starts = np.cumsum(counts) - counts
        tried = np.arange(counts.sum()) + np.repeat(lowest - starts, counts)
        ends = np.repeat(rows, counts)
        gain = (totals[ends] - totals[tried]) ** 2
        gain /= weights[ends] - weights[tried]
        gain += gains[tried]
        longer[rows] = np.maximum.reduceat(gain, starts)
        best = np.flatnonzero(gain == np.repeat(longer[rows], counts))
        cuts[rows] = tried[best[np.searchsorted(best, starts)]]
        stride //= 2
    return longer


def _cells(line, count):
    """Borders of about `count` cells, or of one for each distinct number."""
    changes = np.flatnonzero(line.values[1:] != line.values[:-1]) + 1
    ends = [[0], [len(line.values)]]
    if len(changes) < count:
        return np.concatenate([ends[0], changes, ends[1]])
    # A quarter by rank, should the others miss a crowd.
    by_rank = count // 4
    picked = np.linspace(0, len(changes) - 1, by_rank).astype("int64")
    fine = _fine_borders(line, count - by_rank)
    return np.unique(np.concatenate([*ends, changes[picked], fine]))


def _fine_borders(line, count):
    """Borders of `count` runs, as dense as the cube root of the density."""
    n = len(line.values)
    # Ranks that double from both ends show how far the tails reach.
    tail = 2 ** np.arange(max(n.bit_length() - 1, 0))
    even = np.linspace(0, n - 1, 4 * count).astype("int64")
    ranks = np.unique(np.concatenate([even, tail - 1, n - tail]))
    points = line.values[ranks].astype("float64")
    masses = np.diff(line.weight(ranks))
    shares = np.cbrt(masses * np.diff(points) ** 2)
    for _ in range(CAPPINGS):
        # Of few numbers far apart none has more than a run for itself.
        shares = np.minimum(shares, np.diff(ranks) * shares.sum() / count)
    reached = _running_sums(shares)
    wanted = np.linspace(0, reached[-1], count + 1)[1:-1]
    inner = np.interp(wanted, reached, ranks).astype("int64") + 1
    return np.concatenate([[0], inner, [n]])


def _running_sums(values):
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums
