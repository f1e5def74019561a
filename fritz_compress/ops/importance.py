"""How much each filter of a kernel matters, from its weights alone."""

import numpy as np


def l1_norms(kernel: np.ndarray, axis: int = -1) -> np.ndarray:
    """Sum of absolute weights of each filter.

    Args:
        kernel: Weights of one layer, any shape.
        axis: Axis that counts the filters: the last one for convolutions and
            dense layers, the last but one for transposed convolutions.

    Returns: one float64 norm per filter, shape `(kernel.shape[axis],)`.

    Reference: Li et al., "Pruning Filters for Efficient ConvNets",
    https://arxiv.org/abs/1608.08710, section 3.1.

    Example: two filters over two inputs, `|1| + |-3|` and `|2| + |0|`.

    >>> l1_norms(np.array([[1.0, 2.0], [-3.0, 0.0]]))
    array([4., 2.])
    """
    return sums(np.abs(kernel), axis)


def squared_norms(kernel: np.ndarray, axis: int = -1) -> np.ndarray:
    """Sum of squared weights of each filter; arguments as in `l1_norms`.

    >>> squared_norms(np.array([[1.0, 2.0], [-3.0, 0.0]]))
    array([10.,  4.])
    """
    return sums(np.square(kernel, dtype="float64"), axis)


def l2_norms(kernel: np.ndarray, axis: int = -1) -> np.ndarray:
    """Euclidean length of each filter; arguments as in `l1_norms`.

    >>> l2_norms(np.array([[3.0, 2.0], [-4.0, 0.0]]))
    array([5., 2.])
    """
    return np.sqrt(squared_norms(kernel, axis))


def summed_distances(kernel: np.ndarray, axis: int = -1) -> np.ndarray:
    """Sum of the Euclidean distances of each filter to all others.

    The filter with the lowest sum is nearest to the geometric median of all:
    the others can best stand in for it, however large it is.

    Args:
        kernel, axis: As in `l1_norms`.

    Returns: one float64 sum per filter, shape `(kernel.shape[axis],)`.

    Reference: He et al., "Filter Pruning via Geometric Median for Deep
    Convolutional Neural Networks Acceleration",
    https://arxiv.org/abs/1811.00250, section 3.3, equation 6.

    Example: filters at 0, 1 and 5 on a line.

    >>> summed_distances(np.array([[0.0, 1.0, 5.0]]))
    array([6., 5., 9.])
    """
    filters = np.moveaxis(np.asarray(kernel, "float64"), axis, 0)
    filters = filters.reshape(len(filters), -1)
    # |a - b|^2 = |a|^2 + |b|^2 - 2ab; what they share would only round.
    filters = filters - filters.mean(axis=0)
    products = filters @ filters.T
    squares = np.diag(products)
    squared = squares[:, None] + squares[None, :] - 2 * products
    np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, 0)).sum(axis=1)


def layer_adaptive(squares: np.ndarray) -> np.ndarray:
    """Each square over the sum of all squares at least as large.

    The order stays, and the largest gets 1 at most, so that numbers of layers
    of different width and scale can be compared.

    Args:
        squares: Squared magnitudes, none negative, shape `(n,)`.

    Returns: float64 scores in `[0, 1]`, shape `(n,)`; zeros stay zero.

    Reference: Lee et al., "Layer-adaptive Sparsity for the Magnitude-based
    Pruning", https://arxiv.org/abs/2010.07611, equation 1.

    >>> layer_adaptive(np.array([1.0, 4.0, 3.0]))
    array([0.125     , 1.        , 0.42857143])
    """
    squares = np.asarray(squares, "float64")
    ascending = np.sort(squares)
    # Summed from the largest down, at the first of those that are equal.
    sums = np.cumsum(ascending[::-1])[::-1]
    at_least = sums[np.searchsorted(ascending, squares)]
    return np.divide(
        squares, at_least, out=np.zeros_like(squares), where=at_least > 0
    )


def sums(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Sum over each filter; arguments as in `l1_norms`.

    >>> sums(np.array([[1.0, 2.0], [-3.0, 0.0]]))
    array([-2.,  2.])
    """
    values = np.asarray(values)
    axes = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    # float64: a sum over millions of float16 weights would overflow.
    return values.sum(axis=axes, dtype="float64")
