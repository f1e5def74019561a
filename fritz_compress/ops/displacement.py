"""Matrices of low displacement rank: sums of products of two circulants.

`Z(v, f)` is the matrix whose first column is `v` and each further one the one
before, moved down by one place, with what falls off times `f` on top: a
circulant matrix for `f` = 1, a skew-circulant one for -1. A Toeplitz matrix is
the sum of two products `Z(g, 1) @ Z(h, -1)`, its inverse too; with more of
them matrices become as free as one likes.
"""

import math
from typing import Any

import numpy as np

from fritz_compress.ops import low_rank

SWEEPS = 10  # Of alternating least squares, at most.
ENOUGH = 0.01  # Relative gain of a sweep below which the next is not worth it.
BLOCK = 2**22  # Complex numbers in memory at a time.


def toeplitz_like(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The matrix `sum(Z(left[i], 1) @ Z(right[i], -1) for i in range(rank))`.

    Args:
        left, right: Generators, shape `(rank, size)`.

    Returns: float64, shape `(size, size)`.

    >>> toeplitz_like([[2.0, 0.0]], [[1.0, 3.0]])
    array([[ 2., -6.],
           [ 6.,  2.]])
    """
    return sum(
        _circulant(g, 1) @ _circulant(h, -1) for g, h in zip(left, right)
    )


def multiplications(size: int, rank: Any) -> Any:
    """Multiplications by which a matrix meets a vector.

    The vector is transformed, and each of `rank` products back and forth; a
    Fourier transform of `n` real numbers counts as `n * log2(n)`.

    Args:
        size: Rows of the matrix.
        rank: Number of generators on each side, or an array of such.
    """
    transforms = 2 * size * math.log2(2 * size) + size * math.log2(size)
    products = 4 * (size + 1) + 4 * (size // 2 + 1)
    count = (1 + rank) * transforms + rank * products
    return np.ceil(count).astype("int64")


def displaced(matrix: np.ndarray) -> np.ndarray:
    """The matrix moved down minus the one moved to the left.

    That is `Z(e, 1) @ matrix - matrix @ Z(e, -1)` with `e` = (0, 1, 0, ...),
    whose rank is the displacement rank.
    """
    moved = np.roll(matrix, -1, axis=1)
    moved[:, -1] *= -1
    return np.roll(matrix, 1, axis=0) - moved


def generators(
    matrix: np.ndarray, rank: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Generators of a matrix close to a given one.

    Singular vectors of what `displaced` returns are generators: those of the
    matrix itself, if `rank` is its displacement rank. For other matrices they
    are a start that may be further off than zeros, from which least squares
    take over, for the left generators given the right ones and back.

    Args:
        matrix: Shape `(size, size)`.
        rank: Number of generators on each side, 1 to `size`.
        seed: Seed of the singular value decomposition of a large matrix.

    Returns: float32 `left` and `right` of shape `(rank, size)`, as
    `toeplitz_like` takes them, each pair of one norm.

    Reference: Sindhwani, Sainath and Kumar, "Structured transforms for
    small-footprint deep learning", https://arxiv.org/abs/1510.01722, section
    3, for the start.
    """
    matrix = np.asarray(matrix, "float64")
    left, right = low_rank.truncated_svd(displaced(matrix), rank, seed)
    left, right = left.T / 2, right[:, ::-1]
    turned = matrix.T[::-1, ::-1]  # Circulant factors turned are themselves.
    total, error = np.square(matrix).sum(), np.inf
    for _ in range(SWEEPS):
        better = left_generators(matrix, right)
        right = left_generators(turned, better, -1)
        before, left = error, better
        residual = toeplitz_like(left, right) - matrix
        error = np.square(residual).sum()
        if error > (1 - ENOUGH) * before or error < low_rank.EPSILON * total:
            break
    return _balanced(left, right)


def left_generators(
    matrix: np.ndarray,
    right: np.ndarray,
    sign: int = 1,
    root: np.ndarray | None = None,
) -> np.ndarray:
    """The left generators with the least squared error, given the right ones.

    In the frequencies of the rows, each is one small problem on its own.

    Args:
        matrix: Shape `(size, size)`.
        right: Generators, shape `(rank, size)`.
        sign: 1 for `Z(left, 1) @ Z(right, -1)`, -1 for the signs swapped.
        root: Shape `(size, columns)`: the error is that of the product of the
            matrix and this one, which stands for inputs.

    Returns: float64, shape `(rank, size)`.
    """
    size, rank = len(matrix), len(right)
    factors = [_circulant(generator, -sign) for generator in right]
    twist = _twist(size, sign)
    normal = np.zeros((size, rank, rank), "complex128")
    pull = np.zeros((size, rank, 1), "complex128")
    columns = size if root is None else root.shape[1]
    width = max(1, BLOCK // (size * rank))
    for start in range(0, columns, width):
        part = slice(start, start + width)
        target, *parts = (
            each[:, part] if root is None else each @ root[:, part]
            for each in (matrix, *factors)
        )
        inputs = np.stack(
            [np.fft.fft(twist * each, axis=0) for each in parts], axis=-1
        )
        adjoint = inputs.conj().swapaxes(1, 2)
        normal += adjoint @ inputs
        pull += adjoint @ np.fft.fft(twist * target, axis=0)[:, :, None]
    found = np.linalg.pinv(normal, rcond=1e-9, hermitian=True) @ pull
    left = np.fft.ifft(found[..., 0], axis=0) / twist
    return np.ascontiguousarray(left.real.T)


def _circulant(first, sign):
    """`Z(first, sign)`."""
    size = len(first)
    both = np.concatenate([sign * np.asarray(first), first])
    places = np.arange(size)
    return both[size + places[:, None] - places]


def _twist(size, sign):
    """What turns the wrap of a skew-circulant product into a plain one."""
    turn = 0 if sign > 0 else -1j * np.pi / size
    return np.exp(turn * np.arange(size))[:, None]


def _balanced(left, right):
    norms = [
        np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right)
    ]
    root = np.sqrt(np.prod(norms, axis=0))
    return tuple(
        np.ascontiguousarray(side * root / np.maximum(norm, 1e-30), "float32")
        for side, norm in zip((left, right), norms)
    )
