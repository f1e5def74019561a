"""Kernels as products of two factors, in closed form."""

import math

import numpy as np

from fritz_compress.ops import low_rank
from fritz_compress.ops.decomposition import (
    Decomposition,
    flat,
    float32,
    matrix_rank,
    positions,
    tails,
    up_to,
)
from fritz_compress.ops.reduced_rank import reduced_rank


class Channel(Decomposition):
    """Few filters, and a matrix that makes all outputs of theirs.

    For a dense layer it is the singular value decomposition.

    Reference: Zhang et al., https://arxiv.org/abs/1505.06798, section 3.1.
    """

    equation = "pir,ro->pio"

    def candidates(self, shape):
        return up_to(min(math.prod(shape[:-1]), shape[-1]))

    def shapes(self, shape, rank):
        (r,) = rank
        return (positions(shape), shape[-2], r), (r, shape[-1])

    def errors(self, kernel, candidates, seed=0):
        values = low_rank.singular_values(_matrix(kernel))
        return tails(values**2)[candidates[:, 0]]

    def bayesian_rank(self, kernel):
        return (matrix_rank(_matrix(kernel)),)

    def factors(self, kernel, rank, seed=0):
        left, right = low_rank.truncated_svd(_matrix(kernel), *rank, seed)
        return [left.reshape(self.shapes(kernel.shape, rank)[0]), right]

    def corrected(self, regression, factors, shape):
        """The best factors of their rank."""
        first, last = factors
        left, right = reduced_rank(regression, len(last))
        return [left.reshape(first.shape), right]


class Spatial(Decomposition):
    """A column of the kernel's height, then a row of its width.

    Reference: Jaderberg, Vedaldi and Zisserman, "Speeding up convolutional
    neural networks with low rank expansions",
    https://arxiv.org/abs/1405.3866, scheme 2; in closed form by Tai et al.,
    https://arxiv.org/abs/1511.06067, section 3.1.
    """

    equation = "hir,wro->hwio"

    def candidates(self, shape):
        height, width, inputs, outputs = shape
        return up_to(min(height * inputs, width * outputs))

    def shapes(self, shape, rank):
        (r,), (height, width, inputs, outputs) = rank, shape
        return (height, inputs, r), (width, r, outputs)

    def errors(self, kernel, candidates, seed=0):
        values = low_rank.singular_values(self._matrix(kernel))
        return tails(values**2)[candidates[:, 0]]

    def bayesian_rank(self, kernel):
        return (matrix_rank(self._matrix(kernel)),)

    def factors(self, kernel, rank, seed=0):
        (r,), (height, width, inputs, outputs) = rank, kernel.shape
        left, right = low_rank.truncated_svd(self._matrix(kernel), r, seed)
        rows = right.reshape(r, width, outputs).swapaxes(0, 1)
        return float32(left.reshape(height, inputs, r), rows)

    def _matrix(self, kernel):
        height, _, inputs, _ = kernel.shape
        return np.transpose(kernel, (0, 2, 1, 3)).reshape(height * inputs, -1)


class Separable(Decomposition):
    """A few filters for each input on its own, then a matrix.

    What a depthwise and a pointwise convolution compute: the best of them,
    from the singular values of each input's `(positions, outputs)` matrix.

    Reference: Guo et al., "Network decoupling: from regular to depthwise
    separable convolutions", https://arxiv.org/abs/1808.05517, section 3.2.
    """

    equation = "pim,imo->pio"

    def candidates(self, shape):
        return up_to(min(positions(shape), shape[-1]))

    def shapes(self, shape, rank):
        (m,), (*_, inputs, outputs) = rank, shape
        return (positions(shape), inputs, m), (inputs, m, outputs)

    def errors(self, kernel, candidates, seed=0):
        values = np.linalg.svd(self._matrices(kernel), compute_uv=False)
        return tails(np.square(values).sum(0))[candidates[:, 0]]

    def bayesian_rank(self, kernel):
        """The largest of all inputs, since they share one."""
        return (max(map(matrix_rank, self._matrices(kernel))),)

    def factors(self, kernel, rank, seed=0):
        left, values, right = np.linalg.svd(
            self._matrices(kernel), full_matrices=False
        )
        (m,) = rank
        roots = np.sqrt(values[:, :m])
        depthwise = left[:, :, :m] * roots[:, None]
        pointwise = right[:, :m] * roots[:, :, None]
        return float32(depthwise.swapaxes(0, 1), pointwise)

    def _matrices(self, kernel):
        return flat(kernel).swapaxes(0, 1).astype("float64")


def _matrix(kernel):
    return kernel.reshape(-1, kernel.shape[-1])
