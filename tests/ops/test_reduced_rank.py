"""Regressions in closed form beside numpy's least squares."""

import numpy as np
import pytest

from fritz_compress.ops import reduced_rank as reduced
from fritz_compress.ops.alternating import alternate
from fritz_compress.ops.kernel_factors import Channel, Separable, Spatial
from fritz_compress.ops.tensor_factors import CP, Tucker
from fritz_compress.ops.toeplitz_factors import ToeplitzLike

INPUTS, OUTPUTS, SAMPLES = 12, 7, 90


def problem(inputs=INPUTS, outputs=OUTPUTS, samples=SAMPLES, seed=0):
    """Inputs that hang together, noisy outputs, and a kernel close by."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(inputs, inputs))
    x = rng.normal(size=(samples, inputs)) @ mixing + 1
    kernel = rng.normal(size=(inputs, outputs))
    y = x @ kernel + 0.5 * rng.normal(size=(samples, outputs)) + 3
    return x, y, kernel + 0.1 * rng.normal(size=kernel.shape)


def regression(x, y, kernel, ridge=1e-3):
    responses = reduced.Responses(x.shape[1], y.shape[1])
    for start in range(0, len(x), 32):
        responses.add(x[start : start + 32], y[start : start + 32])
    return responses.regression(kernel, ridge)


def augmented(x, y, kernel, ridge=1e-3):
    """The same as plain least squares, with samples for the ridge."""
    x, y = x - x.mean(0), y - y.mean(0)
    weight = np.sqrt(ridge * np.square(x).sum() / x.shape[1])
    return (
        np.vstack([x, weight * np.eye(len(kernel))]),
        np.vstack([y, weight * kernel]),
    )


@pytest.fixture(params=["products", "rows"], autouse=True)
def how_samples_are_kept(request, monkeypatch):
    if request.param == "rows":
        monkeypatch.setattr(reduced, "WIDE", 1)


@pytest.mark.parametrize("samples", [5, 90])
def test_the_best_kernel_and_bias(samples):
    x, y, kernel = problem(samples=samples)
    found = regression(x, y, kernel)
    expected, *_ = np.linalg.lstsq(*augmented(x, y, kernel))
    np.testing.assert_allclose(found.best, expected, atol=1e-4)
    bias = y.mean(0) - x.mean(0) @ expected
    np.testing.assert_allclose(found.bias(expected), bias, atol=1e-4)


def test_errors_are_those_of_the_outputs():
    x, y, kernel = problem()
    found = regression(x, y, kernel)
    for other in (kernel, 0 * kernel, found.best):
        outputs = x @ other + found.bias(other)
        expected = np.square(outputs - y).sum() / np.square(y - y.mean(0)).sum()
        assert found.error(other) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_no_kernel_of_the_rank_is_better(rank):
    x, y, kernel = problem()
    left, right = reduced.reduced_rank(regression(x, y, kernel), rank)
    assert left.shape == (INPUTS, rank) and right.shape == (rank, OUTPUTS)
    inputs, targets = augmented(x, y, kernel)
    best, *_ = np.linalg.lstsq(inputs, targets)
    # What is left of the fitted outputs beyond the rank, and the residual.
    values = np.linalg.svd(inputs @ best, compute_uv=False)
    least = np.square(values[rank:]).sum()
    least += np.square(targets - inputs @ best).sum()
    found = np.square(targets - inputs @ left @ right).sum()
    assert found == pytest.approx(least, rel=1e-4)


def test_the_factors_share_their_size():
    left, right = reduced.reduced_rank(regression(*problem()), 3)
    products = [left.T @ left, right @ right.T]
    for product in products:
        np.testing.assert_allclose(
            product, np.diag(np.diag(product)), atol=1e-4 * product.max()
        )
    np.testing.assert_allclose(*products, atol=1e-4 * products[0].max())


def test_without_samples_that_vary_it_is_singular_value_decomposition():
    _, _, kernel = problem()
    x, y = np.ones((9, INPUTS)), np.ones((9, OUTPUTS))
    found = regression(x, y, kernel)
    left, right = reduced.reduced_rank(found, 3)
    u, s, v = np.linalg.svd(kernel)
    expected = (u[:, :3] * s[:3]) @ v[:3]
    np.testing.assert_allclose(left @ right, expected, atol=1e-5)
    assert found.error(left @ right) < 1e-9
    np.testing.assert_allclose(
        found.bias(expected), 1 - expected.sum(0), atol=1e-5
    )


def test_the_last_factor_is_that_of_least_squares():
    x, y, kernel = problem()
    basis = np.random.default_rng(1).normal(size=(INPUTS, 4))
    found = reduced.last_factor(regression(x, y, kernel), basis)
    inputs, targets = augmented(x, y, kernel)
    expected, *_ = np.linalg.lstsq(inputs @ basis, targets)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # One that is redundant does no harm.
    twice = np.hstack([basis, basis])
    again = reduced.last_factor(regression(x, y, kernel), twice)
    np.testing.assert_allclose(twice @ again, basis @ expected, atol=1e-3)


def test_a_rank_out_of_range_is_an_error():
    with pytest.raises(ValueError, match="from 1 to 7 here. Received: rank=8"):
        reduced.reduced_rank(regression(*problem()), 8)


DECOMPOSITIONS = {
    "channel": (Channel(), (2,)),
    "spatial": (Spatial(), (3,)),
    "separable": (Separable(), (1,)),
    "tucker": (Tucker(), (2, 2)),
    "cp": (CP(), (4,)),
}


def convolution(seed=0):
    """Samples of what a 3 x 2 kernel of 4 inputs and 6 outputs meets."""
    x, y, kernel = problem(24, 6, 300, seed)
    return x, y, kernel.astype("float32").reshape(3, 2, 4, 6)


@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_correction_lowers_the_error_on_samples(name):
    decomposition, rank = DECOMPOSITIONS[name]
    x, y, kernel = convolution()
    found = regression(x, y, kernel.reshape(24, 6))
    plain = decomposition.factors(kernel, rank)
    corrected = decomposition.corrected(found, plain, kernel.shape)
    assert [f.shape for f in corrected] == [f.shape for f in plain]
    assert all(factor.dtype == "float32" for factor in corrected)
    errors = [
        found.error(decomposition.reconstruct(f, kernel.shape).reshape(24, 6))
        for f in (plain, corrected)
    ]
    assert errors[1] < 0.9 * errors[0]
    # It is a minimum for the last factor, whose best bias is free.
    flat = decomposition.reconstruct(corrected, kernel.shape).reshape(24, 6)
    curved = found.curvature(flat - found.best)
    for seed in range(5):
        *first, last = corrected
        step = 1e-3 * np.random.default_rng(seed).normal(size=last.shape)
        moved = decomposition.reconstruct([*first, step], kernel.shape)
        slope = np.sum(curved * moved.reshape(24, 6))
        size = np.sum(found.curvature(flat) * moved.reshape(24, 6))
        assert abs(slope) < 0.01 * abs(size) + 1e-3 * np.abs(curved).max()


@pytest.mark.parametrize("name", ["spatial", "cp", "tucker", "separable"])
def test_more_sweeps_never_raise_the_error(name, monkeypatch):
    decomposition, rank = DECOMPOSITIONS[name]
    x, y, kernel = convolution(seed=3)
    found = regression(x, y, kernel.reshape(24, 6))
    factors = decomposition.factors(kernel, rank)
    sides = kernel.shape
    if name in ("tucker", "separable"):
        sides = (6, 4, 6)

    def objective(factors):
        flat = decomposition.reconstruct(factors, kernel.shape)
        difference = flat.reshape(24, 6) - found.best
        return np.sum(difference * found.curvature(difference))

    errors = [objective(factors)]
    for sweeps in (0, 1, 3, 10):
        monkeypatch.setattr("fritz_compress.ops.alternating.SWEEPS", sweeps)
        again = alternate(decomposition.equation, found, factors, sides)
        errors.append(objective(again))
        norms = [np.linalg.norm(factor) for factor in again]
        np.testing.assert_allclose(norms, norms[0], rtol=1e-4)
    assert (np.diff(errors) < 1e-4 * errors[0]).all()
    assert errors[2] < 0.99 * errors[1] < errors[0]


def test_a_kernel_that_can_be_had_is_had():
    """Factors of full rank reach the regression's own optimum."""
    x, y, kernel = convolution()
    found = regression(x, y, kernel.reshape(24, 6))
    for decomposition, rank in (
        (Channel(), (6,)),
        (Spatial(), (12,)),
        (Separable(), (6,)),
        (Tucker(), (4, 6)),
    ):
        factors = decomposition.factors(kernel, rank)
        corrected = decomposition.corrected(found, factors, kernel.shape)
        flat = decomposition.reconstruct(corrected, kernel.shape)
        np.testing.assert_allclose(flat.reshape(24, 6), found.best, atol=2e-3)


@pytest.mark.parametrize("shape", [(12, 7), (7, 12)], ids=str)
def test_toeplitz_like_kernels_are_corrected(shape):
    x, y, kernel = problem(*shape)
    found = regression(x, y, kernel)
    plain = ToeplitzLike().factors(kernel, (2,))
    corrected = ToeplitzLike().corrected(found, plain, shape)
    before, after = (
        found.error(ToeplitzLike().reconstruct(f, shape))
        for f in (plain, corrected)
    )
    assert after < 0.9 * before


def test_a_factor_of_zeros_is_no_obstacle():
    x, y, kernel = problem()
    found = regression(x, y, kernel)
    zeros = [np.zeros((1, INPUTS, 2)), np.zeros((2, OUTPUTS))]
    again = alternate("pir,ro->pio", found, zeros, (1, INPUTS, OUTPUTS))
    assert all(np.isfinite(factor).all() for factor in again)
