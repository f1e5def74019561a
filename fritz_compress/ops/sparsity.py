"""Which numbers of arrays are the least: arrays in, masks out."""

import math
from collections.abc import Sequence

import numpy as np


def kept_count(size: int, sparsity: float, at_least: int = 1) -> int:
    """How many of `size` numbers stay at a sparsity, rounded to the nearest.

    >>> kept_count(10, 0.75)  # 2.5, halves go to the even number
    2
    """
    return min(max(round(size * (1 - sparsity)), at_least), size)


def lowest(scores: np.ndarray, count: int) -> np.ndarray:
    """Exactly `count` of the lowest scores; of equal ones the first.

    Takes time in proportion to the number of scores, without sorting them.

    Args:
        scores: Numbers of any shape, not NaN.
        count: How many to choose, up to all of them.

    Returns: booleans in the shape of `scores`.

    Example:

    >>> lowest(np.array([2.0, 1.0, 1.0, 1.0]), 2)
    array([False,  True,  True, False])
    """
    flat = np.ravel(scores)
    if count <= 0:
        return np.zeros(np.shape(scores), bool)
    limit = np.partition(flat, count - 1)[count - 1]
    chosen = flat < limit
    ties = np.flatnonzero(flat == limit)
    chosen[ties[: count - np.count_nonzero(chosen)]] = True
    return chosen.reshape(np.shape(scores))


def lowest_of_all(
    arrays: Sequence[np.ndarray], sparsity: float
) -> list[np.ndarray]:
    """The lowest scores of several arrays, which are ranked together.

    The largest score of every array stays, so that none is lost whole: a
    layer without a weight passes nothing on. Otherwise an array of small
    scores loses more of them than one of large scores.

    Args:
        arrays: Scores, not NaN, each array of any shape but not empty.
        sparsity: Fraction to choose, of all scores together.

    Returns: booleans in the shape of each array. The number that is *not*
        chosen is `kept_count` of all, at least one for each array.

    Example:

    >>> lowest_of_all([np.array([1.0, 2.0]), np.array([8.0, 9.0])], 0.5)
    [array([ True, False]), array([ True, False])]
    """
    sizes = [array.size for array in arrays]
    scores = np.concatenate([np.ravel(array) for array in arrays])
    starts = np.cumsum([0, *sizes[:-1]])
    # The last of the largest, as of equal ones the first are chosen.
    scores[
        starts + sizes - 1 - [np.argmax(a.ravel()[::-1]) for a in arrays]
    ] = np.inf
    kept = kept_count(scores.size, sparsity, at_least=len(arrays))
    chosen = lowest(scores, scores.size - kept)
    return [
        part.reshape(array.shape)
        for part, array in zip(np.split(chosen, starts[1:]), arrays)
    ]


def lowest_m_of_n(
    magnitudes: np.ndarray, zeros: int, size: int, axes: Sequence[int]
) -> np.ndarray:
    """The lowest `zeros` of every `size` consecutive magnitudes.

    This is the pattern that sparse matrix units read, such as 2 of 4. The
    last group of a row may be shorter: it is treated as if zeros filled it
    up, so that it keeps at most `size - zeros` as well.

    Args:
        magnitudes: Not negative, of any shape.
        zeros: How many of each group are chosen, below `size`.
        size: Numbers in a group.
        axes: Axes along which a layer sums; several are read as one, the
            last running fastest.

    Returns: booleans in the shape of `magnitudes`. Of equal ones the first
        are chosen.

    Reference: Mishra et al., "Accelerating Sparse Deep Neural Networks",
    https://arxiv.org/abs/2104.08378, section 3.

    Example: the fifth number of a column is a group with three zeros.

    >>> column = np.array([[4.0], [1.0], [3.0], [2.0], [5.0]])
    >>> lowest_m_of_n(column, 2, 4, axes=(0,)).ravel()
    array([False,  True, False,  True, False])
    """
    last = tuple(range(-len(axes), 0))
    moved = np.moveaxis(magnitudes, axes, last)
    length = math.prod(moved.shape[axis] for axis in last)
    rows = moved.reshape(-1, length)
    filled = np.pad(
        rows, ((0, 0), (0, -length % size)), constant_values=-np.inf
    )
    groups = filled.reshape(-1, size)
    chosen = np.zeros(groups.shape, bool)
    order = np.argsort(groups, axis=1, kind="stable")[:, :zeros]
    np.put_along_axis(chosen, order, True, axis=1)
    chosen = chosen.reshape(filled.shape)[:, :length].reshape(moved.shape)
    return np.moveaxis(chosen, last, axes)


def pool_blocks(
    magnitudes: np.ndarray, block_size: tuple[int, int], pooling_type: str
) -> np.ndarray:
    """One number for every block of the last two axes.

    Blocks begin at the first row and column. Those at the end may be smaller
    and are pooled over what they have. A kernel of a convolution is one
    matrix of inputs by outputs for every position: no block spans two.

    Args:
        magnitudes: Two or more axes.
        block_size: Rows and columns of a block.
        pooling_type: `"AVG"` for the mean or `"MAX"` for the largest.

    Returns: an array with as many axes.

    Example:

    >>> pool_blocks(np.array([[1.0, 3.0, 5.0]]), (1, 2), "AVG")
    array([[2., 5.]])
    """
    pooled = magnitudes
    for axis, size in zip((-2, -1), block_size):
        edges = np.arange(0, pooled.shape[axis], size)
        if pooling_type == "MAX":
            pooled = np.maximum.reduceat(pooled, edges, axis=axis)
        else:
            pooled = np.add.reduceat(pooled, edges, axis=axis)
    if pooling_type == "MAX":
        return pooled
    rows, columns = (
        np.minimum(size, length - np.arange(0, length, size))
        for size, length in zip(block_size, magnitudes.shape[-2:])
    )
    return pooled / np.outer(rows, columns)


def expand_blocks(
    blocks: np.ndarray, block_size: tuple[int, int], shape: Sequence[int]
) -> np.ndarray:
    """Every block's value at each place of the block; undoes `pool_blocks`.

    >>> expand_blocks(np.array([[True, False]]), (1, 2), (1, 3))
    array([[ True,  True, False]])
    """
    rows, columns = block_size
    wide = blocks.repeat(rows, axis=-2).repeat(columns, axis=-1)
    return wide[..., : shape[-2], : shape[-1]]
