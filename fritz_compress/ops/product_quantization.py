"""Product quantization: short vectors of numbers share a codebook."""

import numpy as np

from fritz_compress.ops import codes as coded
from fritz_compress.ops.codebooks import checked_weights
from fritz_compress.ops.packing import check_nbits

MINI_BATCHES_FROM = 2**18  # Vectors; fewer are clustered all at once.
CHUNK = 2**14  # Vectors whose distances are held at a time.


def product_quantize(
    values: np.ndarray,
    nbits: int,
    dimension: int,
    axis: int = -2,
    groups: tuple[int, ...] | None = None,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> coded.ProductCodes:
    """Codes sub-vectors by the nearest of `2**nbits` vectors (k-means).

    A number takes `nbits / dimension` bits, so less than one is possible. The
    codebooks count too: one has `2**nbits * dimension` floats. The result is
    a local optimum of k-means, not the best there is.

    Args:
        values: Numbers of any shape.
        nbits: Bits of one code, 1 to 16.
        dimension: Consecutive numbers along `axis` that make a sub-vector; a
            divisor of the axis' length.
        axis: The axis cut into sub-vectors: that of the input channels by
            default, -1 for filters.
        groups: Shape of the groups that have a codebook of their own, in
            blocks of the codes, whose shape is that of `values` with `axis`
            shortened by `dimension`. One group by default; the full length at
            `axis` and 1 elsewhere is one per sub-space.
        weights: How much the squared error of each number counts, in the
            shape of `values`; those of a sub-vector are averaged.
        seed: Seed of the k-means.

    Returns: the codes. A group with a sub-vector of zeros has an entry of
    exact zeros. (Single zeros beside other numbers do not survive.)

    Raises:
        ValueError: for `nbits` or `dimension` out of range, groups or weights
            that do not fit, an empty array or one that is not finite.

    References: Jégou, Douze and Schmid, "Product quantization for nearest
    neighbor search", 2011; Gong et al., "Compressing deep convolutional
    networks using vector quantization", https://arxiv.org/abs/1412.6115.

    Example:

    >>> product_quantize([[0.0, 1.0, 5.0, 6.0]], 1, dimension=2, axis=1).codes
    [[0, 1]]
    """
    check_nbits(nbits)
    values = np.asarray(values, "float32")
    axis = _checked_axis(values, axis, dimension)
    vectors = sub_vectors(values, axis, dimension)
    shape = vectors.shape[:-1]
    groups = (1,) * values.ndim if groups is None else tuple(groups)
    coded.check_groups(groups, shape)
    rows = coded.to_rows(vectors, (*groups, 1))
    rows = rows.reshape(len(rows), -1, dimension)
    row_weights = [None] * len(rows)
    if weights is not None:
        weights = checked_weights(weights, values.shape)
        weights = sub_vectors(weights, axis, dimension).mean(-1)
        row_weights = coded.to_rows(weights, groups)
    codebooks = np.stack(
        [_codebook(*pair, 2**nbits, seed) for pair in zip(rows, row_weights)]
    )
    codes = np.stack(list(map(nearest_vectors, rows, codebooks)))
    return coded.ProductCodes(
        codes=coded.from_rows(codes, groups, shape).astype(
            coded.code_dtype(nbits)
        ),
        codebooks=codebooks.reshape(*groups, 2**nbits, dimension),
        axis=axis,
        nbits=nbits,
    )


def sub_vectors(values: np.ndarray, axis: int, dimension: int) -> np.ndarray:
    """Cuts an axis into sub-vectors, which become the last axis.

    >>> sub_vectors(np.array([[1, 2], [3, 4], [5, 6], [7, 8]]), 0, 2)
    [[[1, 3], [2, 4]], [[5, 7], [6, 8]]]
    """
    shape = values.shape
    split = (*shape[:axis], -1, dimension, *shape[axis + 1 :])
    return np.moveaxis(values.reshape(split), axis + 1, -1)


def nearest_vectors(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The number of the nearest entry for each vector, int64.

    Args:
        vectors: Shape `(n, dimension)`.
        codebook: Shape `(size, dimension)`.
    """
    halves = np.square(codebook).sum(1) / 2
    codes = np.empty(len(vectors), "int64")
    for begin in range(0, len(vectors), CHUNK):
        chunk = slice(begin, begin + CHUNK)
        codes[chunk] = (halves - vectors[chunk] @ codebook.T).argmin(1)
    return codes


def _codebook(vectors, weights, size, seed):
    """Entries of one group; the last is repeated where there are too few."""
    if weights is not None and weights.any():
        vectors, weights = vectors[weights > 0], weights[weights > 0]
    else:
        weights = None
    entries = np.unique(vectors, axis=0)
    if len(entries) > size:
        entries = _clustered(vectors, weights, size, seed)
    return np.pad(entries, [(0, size - len(entries)), (0, 0)], mode="edge")


def _clustered(vectors, weights, size, seed):
    zero = ~vectors.any(1)
    if zero.any():
        rest = None if weights is None else weights[~zero]
        others = _kmeans(vectors[~zero], rest, size - 1, seed)
        return np.concatenate([np.zeros_like(others[:1]), others])
    return _kmeans(vectors, weights, size, seed)


def _kmeans(vectors, weights, size, seed):
    from sklearn import cluster

    if len(vectors) < MINI_BATCHES_FROM:
        kmeans = cluster.KMeans(size, n_init=1, random_state=seed)
    else:
        kmeans = cluster.MiniBatchKMeans(
            size, n_init=1, batch_size=2**14, random_state=seed
        )
    return kmeans.fit(vectors, sample_weight=weights).cluster_centers_


def _checked_axis(values, axis, dimension):
    if not -values.ndim <= axis < values.ndim:
        raise ValueError(
            f"`axis` must be one of the {values.ndim} axes of the array. "
            f"Received: axis={axis}, an array of shape {values.shape}."
        )
    axis %= values.ndim
    length = values.shape[axis]
    if dimension not in range(1, length + 1) or length % dimension:
        raise ValueError(
            "`dimension` must divide the axis that it cuts. Received: "
            f"dimension={dimension!r}, {length} numbers along axis {axis} of "
            f"shape {values.shape}."
        )
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            "Only a finite, non-empty array can be quantized. Received: shape "
            f"{values.shape}."
        )
    return axis
