"""Alternating least squares: one factor after the other, for the outputs."""

import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse.linalg

from fritz_compress.ops.reduced_rank import Regression, last_factor

SWEEPS = 2
STEPS = 15  # Of conjugate gradients, at most.


def alternate(
    equation: str,
    regression: Regression,
    factors: Sequence[np.ndarray],
    sides: tuple[int, ...],
) -> list[np.ndarray]:
    """Factors of a kernel with outputs that are nearer to those wanted.

    The last factor is the best for the others; each of these, where that
    would be a large problem, takes some steps of conjugate gradients. No step
    raises the error.

    Args:
        equation: From the factors to the kernel, as of `numpy.einsum`.
        regression: The error.
        factors: To begin with.
        sides: Shape of the kernel in the equation.

    Returns: float32 factors, all of one norm.
    """
    fit = _Fit(equation, regression, sides)
    factors = [factor.astype("float64") for factor in factors]
    factors[-1] = fit.best_last(factors)
    for _ in range(SWEEPS):
        for place in range(len(factors) - 1):
            factors[place] = fit.improved(factors, place)
        factors[-1] = fit.best_last(factors)
    return _leveled(factors)


class _Fit:
    def __init__(self, equation, regression, sides):
        self.equation = equation
        self.regression = regression
        self.sides = sides

    def kernel(self, factors):
        """The kernel as a matrix, outputs last."""
        kernel = np.einsum(self.equation, *factors, optimize=True)
        return kernel.reshape(-1, kernel.shape[-1])

    def best_last(self, factors):
        *first, last = factors
        features = math.prod(last.shape[:-1])
        each = np.eye(features).reshape(*last.shape[:-1], features)
        basis = self.kernel([*first, each])
        return last_factor(self.regression, basis).reshape(last.shape)

    def improved(self, factors, place):
        """One factor, nearer to the best for the others."""
        own, others = factors[place], list(factors)
        del others[place]
        terms, whole = self.equation.split("->")
        terms = terms.split(",")
        own_term = terms.pop(place)
        gathering = ",".join([*terms, whole]) + "->" + own_term

        def gathered(kernel):
            """What a kernel's error changes by with each number."""
            curved = self.regression.curvature(kernel).reshape(self.sides)
            found = np.einsum(gathering, *others, curved, optimize=True)
            return found.ravel()

        def curvature(flat):
            values = flat.reshape(own.shape)
            return gathered(
                self.kernel([*others[:place], values, *others[place:]])
            )

        found, _ = scipy.sparse.linalg.cg(
            scipy.sparse.linalg.LinearOperator((own.size,) * 2, curvature),
            gathered(self.regression.best),
            own.ravel(),
            maxiter=STEPS,
        )
        return found.reshape(own.shape)


def _leveled(factors):
    """The same product of factors of one norm, which learn at one rate."""
    norms = np.array([np.linalg.norm(factor) for factor in factors])
    common = np.exp(np.log(np.maximum(norms, 1e-30)).mean())
    scales = common / norms if norms.all() else np.ones(len(factors))
    return [
        (factor * scale).astype("float32")
        for factor, scale in zip(factors, scales)
    ]
