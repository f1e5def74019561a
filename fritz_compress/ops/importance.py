"""How much each filter of a kernel matters."""

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
    # float64: a sum over millions of float16 weights would overflow.
    magnitudes = np.abs(np.asarray(kernel).astype("float64"))
    return (
        np.moveaxis(magnitudes, axis, 0)
        .reshape(np.shape(kernel)[axis], -1)
        .sum(axis=1)
    )
