"""Singular value decomposition of kernels that fill the memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

EPSILON = 1e-13  # Share of squares that float32 rounds away.
SMALL = 2**16  # Numbers of a matrix that LAPACK decomposes at once.
BLOCK = 2**22  # Numbers of a larger one that are float64 at a time.
# With fewer singular values than this part of all, random projections take
# less time than all products of columns.
RANDOMIZED = 1 / 32
POWER_ITERATIONS = 4


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """All singular values, the largest first.

    Args:
        matrix: Shape `(rows, columns)`.

    Returns: float64, `min(rows, columns)` numbers. Those below 1e-8 of the
    largest are noise.

    Raises:
        ValueError: for another shape, no numbers, or one that is not finite.

    >>> singular_values([[3.0, 0.0], [0.0, -4.0]])
    array([4., 3.])
    """
    tall = _tall(_checked(matrix))
    if tall.size <= SMALL:
        return np.linalg.svd(tall.astype("float64"), compute_uv=False)
    return _roots(np.linalg.eigvalsh(_gram(tall)))[::-1]


def truncated_svd(
    matrix: np.ndarray, rank: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Two thin matrices whose product is the nearest of this rank.

    Small matrices are decomposed by LAPACK. For larger ones the eigenvectors
    of the Gram matrix of their short side are taken, in float64, which float32
    input cannot tell from the exact result; and if the rank is at most 1/32
    of the short side, a randomized algorithm, whose error is within a percent
    or so of the least one.

    On top of the matrix and the result, memory is wanted for two float64
    matrices of the short side, squared: for the first dense layer of VGG-16
    (25,088 x 4,096) less than the matrix itself.

    Args:
        matrix: Shape `(rows, columns)`.
        rank: Columns of the first factor, 1 to `min(rows, columns)`.
        seed: Seed of the random projections.

    Returns: float32 arrays `left`, of shape `(rows, rank)`, and `right`, of
    shape `(rank, columns)`. Each has the square roots of the singular values,
    so that both are of one size and learn at one rate.

    Raises:
        ValueError: as `singular_values`, and for a rank out of range.

    References: Eckart and Young, 1936; Halko, Martinsson and Tropp, "Finding
    structure with randomness", https://arxiv.org/abs/0909.4061, algorithms
    4.4 and 5.1.

    Example:

    >>> truncated_svd([[3.0, 0.0], [0.0, 4.0]], rank=1)
    (array([[0.], [2.]]), array([[0., 2.]]))
    """
    matrix = _checked(matrix)
    check_rank(rank, min(matrix.shape))
    tall = _tall(matrix)
    if tall.size <= SMALL:
        left, values, right = _by_lapack(tall, rank)
    elif rank <= RANDOMIZED * tall.shape[1]:
        left, values, right = _by_random_projections(tall, rank, seed)
    else:
        left, values, right = _by_gram_matrix(tall, rank)
    roots = np.sqrt(values).astype("float32")
    # In place: the factors of a large matrix are large.
    left *= roots
    right *= roots[:, None]
    return (left, right) if tall is matrix else (right.T, left.T)


def check_rank(rank: int, largest: int) -> None:
    """Raises a ValueError if a rank is out of range."""
    if not 1 <= rank <= largest:
        raise ValueError(
            f"`rank` must be from 1 to {largest} here. Received: rank={rank}."
        )


def check_one_rank(rank: Any, largest: int) -> None:
    """Raises a ValueError for a pair, or a rank out of range."""
    if isinstance(rank, Sequence):
        raise ValueError(f"`rank` must be one number. Received: {rank}.")
    check_rank(rank, largest)


def _checked(matrix):
    matrix = np.asarray(matrix, "float32")
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(
            "`matrix` must have rows and columns. Received: shape "
            f"{matrix.shape}."
        )
    # Minimum and maximum need no memory of the matrix's size.
    if not np.isfinite([matrix.min(), matrix.max()]).all():
        raise ValueError(
            "`matrix` must be finite. Received: numbers that are not."
        )
    return matrix


def _tall(matrix):
    rows, columns = matrix.shape
    return matrix if rows >= columns else matrix.T


def _roots(squares):
    return np.sqrt(np.maximum(squares, 0))


def _by_lapack(tall, rank):
    left, values, right = np.linalg.svd(
        tall.astype("float64"), full_matrices=False
    )
    kept = left[:, :rank], values[:rank], right[:rank]
    return [array.astype("float32") for array in kept]


def _by_gram_matrix(tall, rank):
    last = tall.shape[1] - 1
    squares, vectors = scipy.linalg.eigh(
        _gram(tall),
        subset_by_index=(last - rank + 1, last),
        overwrite_a=True,
        check_finite=False,
    )
    values = _roots(squares[::-1])
    right = vectors[:, ::-1].T.astype("float32")
    del vectors
    left = tall @ right.T
    # Columns of a value that is zero are zero already.
    left /= np.where(values > 0, values, 1).astype("float32")
    return left, values, right


def _gram(tall):
    """Products of all pairs of columns, in float64, row block by row block."""
    columns = tall.shape[1]
    gram = np.zeros((columns, columns))
    rows = max(1, BLOCK // columns)
    for start in range(0, len(tall), rows):
        block = tall[start : start + rows].astype("float64")
        gram += block.T @ block
    return gram


def _by_random_projections(tall, rank, seed):
    from sklearn.utils.extmath import randomized_svd

    return randomized_svd(
        tall, rank, n_iter=POWER_ITERATIONS, random_state=seed
    )
