"""Kernels of low displacement rank, as a decomposition."""

import numpy as np

from fritz_compress.ops import low_rank
from fritz_compress.ops.decomposition import (
    Decomposition,
    float32,
    growing_ranks,
    matrix_rank,
)
from fritz_compress.ops.displacement import (
    displaced,
    generators,
    left_generators,
    multiplications,
    toeplitz_like,
)


class ToeplitzLike(Decomposition):
    """Right and left generators of the transposed kernel of a dense layer.

    Both have as many numbers as the larger of inputs and outputs, to which
    the kernel is padded with zeros. Ranks by energy or budget are chosen
    among some, each a fifth above the one before.
    """

    def checked(self, shape, rank):
        low_rank.check_one_rank(rank, max(shape))
        return (rank,)

    def candidates(self, shape):
        return growing_ranks(max(shape))

    def shapes(self, shape, rank):
        return ((*rank, max(shape)),) * 2

    def errors(self, kernel, candidates, seed=0):
        total = np.square(kernel, dtype="float64").sum() or 1.0
        found = []
        for rank in candidates:
            factors = self.factors(kernel, rank, seed)
            difference = self.reconstruct(factors, kernel.shape) - kernel
            found.append(np.square(difference).sum() / total)
        return np.array(found)

    def bayesian_rank(self, kernel):
        """That of the displacement, which is what has a low rank."""
        return (matrix_rank(displaced(_padded(kernel))),)

    def factors(self, kernel, rank, seed=0):
        left, right = generators(_padded(kernel), *rank, seed)
        return [right, left]

    def corrected(self, regression, factors, shape):
        right, _ = factors
        inputs, _ = shape
        curvature = regression.curvature(np.eye(inputs))
        root = np.zeros((max(shape), inputs))
        root[:inputs] = np.linalg.cholesky(curvature)
        left = left_generators(_padded(regression.best), right, root=root)
        return float32(right, left)

    def reconstruct(self, factors, shape):
        right, left = factors
        inputs, outputs = shape
        return toeplitz_like(left, right)[:outputs, :inputs].T

    def macs(self, shape, rank, counts):
        return counts[-1] * multiplications(max(shape), *rank)


def _padded(kernel):
    """The transposed kernel as a square."""
    inputs, outputs = kernel.shape
    size = max(kernel.shape)
    return np.pad(kernel.T, [(0, size - outputs), (0, size - inputs)])
