"""Codebooks: a few numbers that stand for all numbers of an array."""

import numpy as np

from fritz_compress.ops import codes as coded
from fritz_compress.ops import line_clusters
from fritz_compress.ops.packing import check_nbits

STARTS = ("optimal", "linear", "density", "random")
CHUNK = 2**16  # Numbers that are coded at a time.


def kmeans_codebook(
    values: np.ndarray,
    size: int,
    weights: np.ndarray | None = None,
    start: str = "optimal",
    seed: int = 0,
    keep_zeros: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """The codebook with the least squared error: optimal 1-D k-means.

    `codebook[codes]` is close to `values`. Up to 2048 distinct numbers (32
    per entry above 64 entries, 16384 at most) the result is the global
    optimum. More are grouped into that many cells, whose optimum is refined
    by Lloyd's algorithm on all numbers; up to 256 entries its error was never
    measured more than 0.02% above the least. Above 2048 entries there is no
    search, only Lloyd's algorithm from entries as dense as theory wants them.

    Args:
        values: Numbers of any shape.
        size: Entries of the codebook, 2 to 65536.
        weights: How much the squared error of each number counts, in the
            shape of `values`, not negative; equally by default, and if all
            are 0. (Squared gradients, or Adam's second moments.)
        start: Where Lloyd's algorithm starts: at the optimum; at the others
            only for comparison. "linear": evenly from the smallest to the
            largest. "density": evenly over the ranks. "random": at numbers
            drawn from `values` (Forgy).
        seed: Seed of the random start.
        keep_zeros: Whether an array with zeros gets an entry that is exactly
            0. Numbers that are nearest to it become zeros too.

    Returns: `codebook`, ascending float32 of shape `(size,)`; where the array
    has fewer distinct numbers, they are all kept exactly and the largest is
    repeated. `codes`, uint8 (uint16 above 256 entries) in the shape of
    `values`.

    Raises:
        ValueError: for a size out of range, an unknown start, an empty array
            or one that is not finite, or weights that do not fit it.

    References: Grønlund et al., "Fast Exact k-Means, k-Medians and Bregman
    Divergence Clustering in 1D", https://arxiv.org/abs/1701.07204. The other
    starts: Han, Mao and Dally, "Deep Compression",
    https://arxiv.org/abs/1510.00149, section 3.2.

    Example:

    >>> kmeans_codebook([1.0, 2.0, 5.0, 7.0], size=2)
    ([1.5, 6.0], [0, 0, 1, 1])
    """
    values = np.asarray(values, "float32")
    _check_codebook(values, size, start)
    if weights is not None:
        weights = checked_weights(weights, values.shape)
    centers = _distinct(values, size)
    if centers is None:
        flat = None if weights is None else weights.reshape(-1)
        centers = _centers(
            values.reshape(-1), size, flat, start, seed, keep_zeros
        )
    codebook = np.pad(centers, (0, size - len(centers)), mode="edge")
    return codebook, nearest_codes(values, centers)


def codebook_quantize(
    values: np.ndarray,
    nbits: int,
    groups: tuple[int, ...] | None = None,
    weights: np.ndarray | None = None,
    start: str = "optimal",
    seed: int = 0,
) -> coded.CodebookCodes:
    """Codes numbers by an optimal codebook of `2**nbits` entries per group.

    Args:
        values: Numbers of any shape.
        nbits: Bits of one code, 1 to 16.
        groups: Shape of the groups, as in `ops.codes`; one group by default.
        weights, start, seed: As in `kmeans_codebook`.

    Raises:
        ValueError: as `kmeans_codebook`, and for groups that do not divide
            the array.

    Example: each column has a codebook of its own.

    >>> codebook_quantize([[0, 9], [1, 8]], nbits=1, groups=(1, 2)).codebooks
    [[[0.0, 1.0], [8.0, 9.0]]]
    """
    check_nbits(nbits)
    values = np.asarray(values, "float32")
    groups = (1,) * values.ndim if groups is None else tuple(groups)
    coded.check_groups(groups, values.shape)
    rows = coded.to_rows(values, groups)
    row_weights = [None] * len(rows)
    if weights is not None:
        weights = checked_weights(weights, values.shape)
        row_weights = coded.to_rows(weights, groups)
    pairs = [
        kmeans_codebook(row, 2**nbits, row_weight, start, seed)
        for row, row_weight in zip(rows, row_weights)
    ]
    codebooks, codes = map(np.stack, zip(*pairs))
    return coded.CodebookCodes(
        codes=coded.from_rows(codes, groups, values.shape),
        codebooks=codebooks.reshape(*groups, 2**nbits),
        nbits=nbits,
    )


def nearest_codes(values: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The number of the nearest entry; of the lower one between two.

    Args:
        values: float32 of any shape.
        codebook: Ascending float32, 1 to 65536 entries.

    Returns: uint8, or uint16 for more than 256 entries.
    """
    borders = line_clusters.midpoints(codebook)
    flat = values.reshape(-1)
    codes = np.empty(flat.shape, "uint8" if len(codebook) <= 256 else "uint16")
    for begin in range(0, len(flat), CHUNK):
        chunk = slice(begin, begin + CHUNK)
        codes[chunk] = np.searchsorted(borders, flat[chunk])
    return codes.reshape(values.shape)


def checked_weights(weights: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of numbers, as float64.

    Raises:
        ValueError: unless they have the shape, are finite and not negative.
    """
    weights = np.asarray(weights, "float64")
    if weights.shape != shape:
        raise ValueError(
            "`weights` must have the shape of `values`. Received: "
            f"{weights.shape} and {shape}."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(
            "`weights` must be finite and not negative. Received: from "
            f"{weights.min()} to {weights.max()}."
        )
    return weights


def _distinct(values, size):
    """The distinct numbers if a codebook holds them all, else None."""
    # Most arrays show in a few numbers that they have too many.
    if len(np.unique(values.reshape(-1)[: 4 * size])) > size:
        return None
    distinct = np.unique(values)
    return distinct if len(distinct) <= size else None


def _centers(values, size, weights, start, seed, keep_zeros):
    if weights is not None and not weights.any():
        weights = None
    line = line_clusters.line(values, weights, keep_zeros)
    distinct = _distinct(line.values, size)
    if distinct is not None:  # Of those that have a weight.
        return distinct
    if start == "optimal":
        centers = line_clusters.optimal_centers(line, size)
    else:
        centers = _simple_start(line, size, start, seed)
    centers = line_clusters.refined_centers(line, centers)
    if line.zero < len(line.values):
        centers[np.abs(centers).argmin()] = 0
    return np.sort(centers).astype("float32")


def _simple_start(line, size, start, seed):
    if start == "linear":
        ends = line.values[[0, -1]].astype("float64")
        return np.linspace(*ends, size)
    if start == "density":
        running = line.weight(np.arange(len(line.values) + 1))
        shares = (np.arange(size) + 0.5) / size * running[-1]
        places = np.searchsorted(running, shares) - 1
        return line.values[places].astype("float64")
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.unique(line.values), size, replace=False)
    return np.sort(drawn).astype("float64")


def _check_codebook(values, size, start):
    if size not in range(2, 65537):
        raise ValueError(
            "`size` must be a whole number from 2 to 65536, so that a code "
            f"fits into two bytes. Received: {size!r}."
        )
    if start not in STARTS:
        raise ValueError(
            f"`start` must be one of {', '.join(STARTS)}. Received: {start!r}."
        )
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            "Only a finite, non-empty array has a codebook. Received: shape "
            f"{values.shape}."
        )
