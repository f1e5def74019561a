"""Kernels of low rank that keep what a layer gives, on samples.

Reduced-rank regression: among all matrices of a rank, and all biases, the one
whose outputs are nearest to those wanted.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.linalg

from fritz_compress.ops.low_rank import check_rank, truncated_svd

WIDE = 8192  # Inputs above which products of all pairs take too much memory.
RIDGE = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Regression:
    """The squared error of outputs, as a function of the kernel.

    It is what the best kernel leaves, plus `trace(D.T @ curvature(D))` for a
    kernel that differs from it by `D`.

    Attributes:
        best: The kernel of full rank with the least error, shape `(inputs,
            outputs)`.
        curvature: Multiplies the samples' inner products, with what keeps
            them regular, and a matrix with `inputs` rows.
        error: Called with a kernel: squared error of its outputs with their
            best bias, over the squared deviation of the wanted ones.
        bias: Called with a kernel: its best bias.
    """

    best: np.ndarray
    curvature: Callable[[np.ndarray], np.ndarray]
    error: Callable[[np.ndarray], float]
    bias: Callable[[np.ndarray], np.ndarray]


class Responses:
    """Inputs of a layer and the outputs it should have for them, batchwise.

    Up to 8,192 inputs, sums of products are kept, whose memory does not grow
    with the samples; above, the samples themselves in float32.

    Args:
        inputs, outputs: How many numbers each sample has.
    """

    def __init__(self, inputs: int, outputs: int):
        self._sums = _Rows() if inputs > WIDE else _Products(inputs, outputs)

    def add(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        """Adds samples.

        Args:
            inputs: Shape `(samples, inputs)`.
            targets: What the layer should give, shape `(samples, outputs)`.
        """
        self._sums.add(inputs, targets)

    def regression(
        self, kernel: np.ndarray, ridge: float = RIDGE
    ) -> Regression:
        """The error on the samples, regular where they say nothing.

        Directions that the samples do not have count a little: there, what
        the given kernel does is wanted. With nothing but that, low rank is
        plain singular value decomposition.

        Args:
            kernel: Shape `(inputs, outputs)`.
            ridge: How much it counts, of the mean variance of the inputs.
        """
        return self._sums.regression(np.asarray(kernel, "float64"), ridge)


def reduced_rank(
    regression: Regression, rank: int
) -> tuple[np.ndarray, np.ndarray]:
    """The two thin matrices whose product has the least error.

    Args:
        regression: The error.
        rank: Columns of the first one.

    Returns: float32 `left`, of shape `(inputs, rank)`, and `right`, of shape
    `(rank, outputs)`, of one size as in `truncated_svd`.

    Raises:
        ValueError: for a rank out of range.

    References: Izenman, "Reduced-rank regression for the multivariate linear
    model", 1975; Zhang et al., https://arxiv.org/abs/1505.06798, sections 3.1
    and 3.2.2, for layers, with inputs that have the errors of earlier ones.
    """
    best = regression.best
    check_rank(rank, min(best.shape))
    responses = best.T @ regression.curvature(best)
    last = len(responses) - 1
    _, directions = scipy.linalg.eigh(
        responses, subset_by_index=(last - rank + 1, last)
    )
    left, right = truncated_svd(best @ directions, rank)
    return left, right @ directions.T.astype("float32")


def last_factor(regression: Regression, basis: np.ndarray) -> np.ndarray:
    """The matrix with which a given one makes the best kernel.

    Args:
        regression: The error.
        basis: Shape `(inputs, features)`: what all earlier factors compute.

    Returns: float32, shape `(features, outputs)`.
    """
    curved = regression.curvature(basis)
    found, *_ = np.linalg.lstsq(
        basis.T @ curved, curved.T @ regression.best, rcond=1e-10
    )
    return found.astype("float32")


class _Products:
    """Sums of products of all pairs of numbers of a sample."""

    def __init__(self, inputs, outputs):
        self.count = 0
        self.input_sum = np.zeros(inputs)
        self.target_sum = np.zeros(outputs)
        self.inputs = np.zeros((inputs, inputs))
        self.both = np.zeros((inputs, outputs))
        self.targets = 0.0

    def add(self, inputs, targets):
        inputs, targets = np.asarray(inputs, "float64"), np.asarray(
            targets, "float64"
        )
        self.count += len(inputs)
        self.input_sum += inputs.sum(0)
        self.target_sum += targets.sum(0)
        self.inputs += inputs.T @ inputs
        self.both += inputs.T @ targets
        self.targets += np.square(targets).sum()

    def regression(self, kernel, ridge):
        input_mean = self.input_sum / self.count
        target_mean = self.target_sum / self.count
        inputs = self.inputs - np.outer(self.input_sum, input_mean)
        both = self.both - np.outer(self.input_sum, target_mean)
        total = self.targets - self.target_sum @ target_mean
        weight = _weight(ridge, np.trace(inputs), len(inputs))

        def error(kernel):
            missing = np.sum((inputs @ kernel - 2 * both) * kernel)
            return max(total + missing, 0) / (total or 1)

        inputs_and_ridge = inputs + weight * np.eye(len(inputs))
        best = scipy.linalg.solve(
            inputs_and_ridge, both + weight * kernel, assume_a="pos"
        )
        return Regression(
            best,
            inputs_and_ridge.__matmul__,
            error,
            lambda kernel: target_mean - input_mean @ kernel,
        )


class _Rows:
    """The samples themselves, fewer than each has inputs."""

    def __init__(self):
        self.inputs = []
        self.targets = []

    def add(self, inputs, targets):
        self.inputs.append(np.asarray(inputs, "float32"))
        self.targets.append(np.asarray(targets, "float32"))

    def regression(self, kernel, ridge):
        inputs, targets = map(np.concatenate, (self.inputs, self.targets))
        input_mean, target_mean = inputs.mean(0), targets.mean(0)
        inputs, targets = inputs - input_mean, targets - target_mean
        total = np.square(targets, dtype="float64").sum()
        gram = (inputs @ inputs.T).astype("float64")
        weight = _weight(ridge, np.trace(gram), len(kernel))
        gram[np.diag_indices(len(gram))] += weight
        pull = scipy.linalg.solve(
            gram, targets - inputs @ kernel, assume_a="pos"
        )

        def error(kernel):
            return np.square(targets - inputs @ kernel).sum() / (total or 1)

        return Regression(
            kernel + inputs.T @ pull,
            lambda matrix: inputs.T @ (inputs @ matrix) + weight * matrix,
            error,
            lambda kernel: target_mean - input_mean @ kernel,
        )


def _weight(ridge, total, inputs):
    """Of what is not in the samples; inputs that never vary leave the rest."""
    return ridge * total / inputs or 1.0
