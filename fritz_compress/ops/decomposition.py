"""Kernels written as products of smaller arrays.

A `Decomposition` is an equation of `numpy.einsum`, whose letters are the
axes of kernels: `h` and `w` positions of a kernel with two axes of them, `p`
all positions as one axis, `i` inputs, `o` outputs; all others are ranks. A
kernel of a dense layer has one position.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fritz_compress.ops import low_rank
from fritz_compress.ops.alternating import alternate
from fritz_compress.ops.reduced_rank import Regression
from fritz_compress.ops.variational_bayes import bayesian_rank

GROWTH = 1.2  # From one rank that is tried to the next.

Rank = tuple[int, ...]
Shape = tuple[int, ...]


class Decomposition:
    """One way to write a kernel as a product of factors.

    Attributes:
        equation: From the factors to the kernel, in the order in which layers
            apply them. The last factor has the outputs.
    """

    equation: str

    def checked(self, shape: Shape, rank: int | Sequence[int]) -> Rank:
        """The rank as a tuple, if kernels of this shape can have it.

        Raises:
            ValueError: if not.
        """
        (largest,) = self.candidates(shape)[-1]
        low_rank.check_one_rank(rank, largest)
        return (rank,)

    def candidates(self, shape: Shape) -> np.ndarray:
        """Ranks to choose from, one per row, the largest last.

        Args:
            shape: Shape of the kernel, `(positions..., inputs, outputs)`.
        """
        raise NotImplementedError

    def shapes(self, shape: Shape, rank: Sequence) -> tuple[tuple, ...]:
        """Shapes of the factors.

        Args:
            shape: Shape of the kernel.
            rank: Numbers, or arrays of them for several ranks at once.
        """
        raise NotImplementedError

    def errors(
        self, kernel: np.ndarray, candidates: np.ndarray, seed: int = 0
    ) -> np.ndarray:
        """Squared error of each candidate over the kernel's squared norm."""
        raise NotImplementedError

    def bayesian_rank(self, kernel: np.ndarray) -> Rank:
        """The rank that variational Bayes finds; 0 if all is noise."""
        raise NotImplementedError

    def factors(
        self, kernel: np.ndarray, rank: Rank, seed: int = 0
    ) -> list[np.ndarray]:
        """Float32 factors of a kernel.

        Args:
            kernel: Shape `(positions..., inputs, outputs)`.
            rank: One that `checked` returned.
            seed: Seed of what is random.
        """
        raise NotImplementedError

    def zeros(self, shape: Shape, rank: Sequence[int]) -> list[np.ndarray]:
        """Factors of a kernel of zeros; arguments as of `shapes`."""
        return [np.zeros(s, "float32") for s in self.shapes(shape, rank)]

    def corrected(
        self,
        regression: Regression,
        factors: Sequence[np.ndarray],
        shape: Shape,
    ) -> list[np.ndarray]:
        """Factors with outputs that are nearer to those wanted.

        Args:
            regression: The error, for kernels of shape `(-1, outputs)`.
            factors: Those of the kernel, to begin with.
            shape: Shape of the kernel.
        """
        merged = len(self.equation.split("->")[1]) < 4
        sides = (-1, *shape[-2:]) if merged else shape
        return alternate(self.equation, regression, factors, sides)

    def reconstruct(
        self, factors: Sequence[np.ndarray], shape: Shape
    ) -> np.ndarray:
        """The kernel that factors stand for; `shape` but for its outputs."""
        kernel = np.einsum(self.equation, *factors, optimize=True)
        return kernel.reshape(*shape[:-1], kernel.shape[-1])

    def macs(self, shape: Shape, rank: Sequence, counts: Sequence[int]) -> Any:
        """Multiply-accumulates of one sample.

        Args:
            shape, rank: As in `shapes`.
            counts: How often each factor is applied.
        """
        factors = zip(self.shapes(shape, rank), counts)
        return sum(math.prod(factor) * count for factor, count in factors)

    def parameters(self, shape: Shape, rank: Sequence) -> Any:
        """Numbers in all factors; arguments as of `shapes`."""
        return sum(map(math.prod, self.shapes(shape, rank)))


def up_to(largest: int) -> np.ndarray:
    """All ranks to the largest as candidates."""
    return np.arange(1, largest + 1)[:, None]


def positions(shape: Shape) -> int:
    """How many positions kernels of a shape have."""
    return math.prod(shape[:-2])


def flat(kernel: np.ndarray) -> np.ndarray:
    """The kernel with its positions as one axis."""
    return kernel.reshape(-1, *kernel.shape[-2:])


def tails(squares: np.ndarray) -> np.ndarray:
    """By rank: the share of the squares that is beyond it, from rank 0 on."""
    beyond = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
    return beyond / (beyond[0] or 1.0)


def growing_ranks(largest: int) -> np.ndarray:
    """Some candidates, where the error of each takes long to find."""
    count = 1 + math.ceil(math.log(largest, GROWTH))
    ranks = np.minimum(GROWTH ** np.arange(count), largest)
    return np.unique(ranks.astype(int))[:, None]


def matrix_rank(matrix: np.ndarray) -> int:
    """Rank of a matrix without its noise, as variational Bayes sees it."""
    values = low_rank.singular_values(matrix)
    return bayesian_rank(values, matrix.shape)[0]


def float32(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays in float32, their numbers in order."""
    return [np.ascontiguousarray(array, "float32") for array in arrays]
