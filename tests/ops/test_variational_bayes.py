"""The analytic solution beside numerical minimisation of the free energy."""

import numpy as np
import pytest
import scipy.optimize

from fritz_compress.ops.variational_bayes import bayesian_rank


def noisy(rows, columns, rank, deviation, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns))
    return signal + deviation * rng.normal(size=(rows, columns))


def found(matrix):
    values = np.linalg.svd(matrix, compute_uv=False)
    return bayesian_rank(values, matrix.shape)


@pytest.mark.parametrize(
    "rows, columns, rank, deviation",
    [
        (60, 100, 5, 0.3),
        (100, 60, 5, 0.3),
        (200, 200, 10, 0.1),
        (64, 144, 3, 1.0),
        (30, 500, 0, 2.0),
        (288, 32, 4, 0.05),
    ],
)
def test_the_rank_under_noise_is_found(rows, columns, rank, deviation):
    for seed in range(3):
        matrix = noisy(rows, columns, rank, deviation, seed)
        count, variance = found(matrix)
        assert count == rank
        assert variance == pytest.approx(deviation**2, rel=0.05)
    # Neither depends on the unit of the numbers.
    count, scaled = found(1e-4 * matrix)
    assert count == rank
    assert scaled == pytest.approx(1e-8 * variance, rel=1e-4)


def test_a_matrix_without_noise_keeps_its_rank():
    assert found(noisy(20, 30, 4, 0.0))[0] == 4
    assert found(noisy(20, 30, 1, 0.0))[0] == 1
    assert found(np.zeros((4, 6))) == (0, 0.0)


def free_energy(parameters, values, short, long):
    """Of a posterior that is independent for every component, with slopes.

    Means of both sides, logarithms of their variances and of those of their
    priors, for each singular value; the logarithm of the noise in front.
    """
    log_noise, (a, b, *logs) = parameters[0], parameters[1:].reshape(6, -1)
    noise, (va, vb, ca, cb) = np.exp(log_noise), np.exp(logs)
    one, other = a**2 + long * va, b**2 + short * vb
    misfit = one * other - 2 * a * b * values
    squares = misfit.sum() + np.square(values).sum()
    energy = long * np.log(ca / va) + short * np.log(cb / vb)
    energy = (energy + one / ca + other / cb).sum()
    energy += short * long * log_noise + squares / noise
    slopes = [
        2 * a / ca + 2 * (a * other - b * values) / noise,
        2 * b / cb + 2 * (b * one - a * values) / noise,
        long * (va / ca + va * other / noise - 1),
        short * (vb / cb + vb * one / noise - 1),
        long - one / ca,
        short - other / cb,
    ]
    slope = short * long - squares / noise
    return energy, np.append(slope, np.concatenate(slopes))


def slowly_found(matrix):
    """Rank and noise at the lowest free energy of several descents."""
    short, long = sorted(matrix.shape)
    values = np.linalg.svd(matrix, compute_uv=False)
    best = None
    for rank in range(len(values) + 1):
        start = np.full((6, len(values)), np.log(0.1))
        start[:2] = np.where(np.arange(len(values)) < rank, values**0.5, 0.01)
        start[4] = np.log(start[0] ** 2 / long + 0.1)
        start[5] = np.log(start[1] ** 2 / short + 0.1)
        rest = np.square(values[rank:]).sum() / matrix.size
        noise = np.log(max(rest, 1e-3 * np.square(values).sum() / matrix.size))
        descent = scipy.optimize.minimize(
            free_energy,
            np.append(noise, start),
            (values, short, long),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-30, 30)] * (1 + start.size),
            options={"maxiter": 400, "ftol": 1e-12},
        )
        if best is None or descent.fun < best.fun:
            best = descent
    a, b = best.x[1:].reshape(6, -1)[:2]
    return int((abs(a * b) > 1e-3 * values).sum()), np.exp(best.x[0])


@pytest.mark.parametrize(
    "rows, columns, rank, deviation",
    [(4, 7, 1, 0.3), (6, 4, 2, 0.2), (4, 8, 0, 1.0)],
)
def test_the_free_energy_has_no_lower_minimum(rows, columns, rank, deviation):
    matrix = noisy(rows, columns, rank, deviation, seed=1)
    count, noise = slowly_found(matrix)
    assert found(matrix)[0] == count
    assert found(matrix)[1] == pytest.approx(noise, rel=1e-3)


def test_all_singular_values_are_wanted():
    with pytest.raises(ValueError, match=r"\(4, 6\) has 4 singular.* 3"):
        bayesian_rank(np.ones(3), (4, 6))
