"""Codebooks: a few numbers that stand for all numbers of an array."""

import numpy as np

LARGEST_TABLE = 2**22  # Entries of the exact search, 16 bytes each.
REFINEMENTS = 20


def kmeans_codebook(
    values: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The codebook with the least squared error: optimal 1-D k-means.

    `codebook[codes]` is close to `values`. Up to `2**22 / size` numbers the
    result is the global optimum, found by dynamic programming (kmeans1d);
    larger arrays are clustered on evenly picked ranks and then refined on all
    numbers by Lloyd's algorithm, which ends in a local optimum close to it.

    Args:
        values: Numbers of any shape.
        size: Entries of the codebook, 2 to 256.

    Returns: `codebook`, ascending float32 of shape `(size,)`; where the array
    has fewer distinct numbers, they are all kept exactly and the largest is
    repeated. `codes`, uint8 in the shape of `values`.

    Raises:
        ValueError: for a size out of range, an empty array or one that is not
            finite.

    Reference: Grønlund et al., "Fast Exact k-Means, k-Medians and Bregman
    Divergence Clustering in 1D", https://arxiv.org/abs/1701.07204.

    Example:

    >>> kmeans_codebook([0.0, 1.0, 4.0, 6.0], size=2)
    ([0.5, 5.0], [0, 0, 1, 1])
    """
    if size not in range(2, 257):
        raise ValueError(
            "`size` must be a whole number from 2 to 256, so that a code fits "
            f"into a byte. Received: {size!r}."
        )
    values = np.asarray(values, "float32")
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            "Only a finite, non-empty array has a codebook. Received: shape "
            f"{values.shape}."
        )
    distinct = np.unique(values)
    if len(distinct) <= size:
        codebook = np.pad(distinct, (0, size - len(distinct)), mode="edge")
        return codebook, _nearest(values, distinct)
    centers = _centers(np.sort(values, axis=None), size)
    return centers, _nearest(values, centers)


def _centers(ascending, size):
    import kmeans1d

    limit = LARGEST_TABLE // size
    picked = ascending
    if len(ascending) > limit:
        ranks = np.linspace(0, len(ascending) - 1, limit).round()
        picked = ascending[ranks.astype("int64")]
    centers = np.sort(kmeans1d.cluster(picked.tolist(), size).centroids)
    # Fewer distinct numbers picked than `size` leave entries without numbers.
    centers = np.where(np.isfinite(centers), centers, ascending[-1])
    if picked is not ascending:
        centers = _refined(ascending, centers)
    return np.sort(centers).astype("float32")


def _refined(ascending, centers):
    """Lloyd's algorithm on sorted numbers: each cluster is one run of them."""
    sums = np.concatenate([[0.0], np.cumsum(ascending, dtype="float64")])
    for _ in range(REFINEMENTS):
        borders = np.searchsorted(ascending, (centers[1:] + centers[:-1]) / 2)
        edges = np.concatenate([[0], borders, [len(ascending)]])
        counts = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(counts, 1)
        centers = np.where(counts > 0, means, centers)
    return centers


def _nearest(values, centers):
    borders = (centers[1:].astype("float64") + centers[:-1]) / 2
    return np.searchsorted(borders, values).astype("uint8")
