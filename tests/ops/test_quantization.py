"""Linear quantization against worked examples and brute force."""

import itertools

import numpy as np
import pytest

from fritz_compress.ops import quantization

NBITS = range(1, 17)
GROUPS = {
    "tensor": (1, 1, 1),
    "channel": (1, 1, 6),
    "block": (1, 2, 6),
    "each": (3, 4, 6),
}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_worked_example():
    coded = quantization.linear_quantize(np.array([-1, 0.2, 0.4, 2]), 2)
    assert coded.codes.tolist() == [0, 1, 1, 3]
    assert (coded.scale, coded.offset, coded.nbits) == (1, -1, 2)
    assert coded.decode().tolist() == [-1, 0, 0, 2]


def test_worked_symmetric_example():
    values = np.array([-3, 0.4, 1.6, 2], "float32")
    coded = quantization.linear_quantize(values, 3, symmetric=True)
    # Seven levels from -3 to 3; three stands for zero.
    assert coded.codes.tolist() == [0, 3, 5, 5]
    assert coded.scale == pytest.approx(1, abs=1e-6)
    assert coded.zero_points.tolist() == [3]


def test_one_symmetric_bit_is_a_sign():
    values = np.array([-2, -1, 1, 2], "float32")
    coded = quantization.linear_quantize(
        values, 1, symmetric=True, ranges="least_squares"
    )
    assert coded.codes.tolist() == [0, 0, 1, 1]
    # The best magnitude is the mean of all (XNOR-Net, equation 6).
    np.testing.assert_allclose(np.abs(coded.decode()), 1.5, rtol=0.04)


@pytest.mark.parametrize("nbits", NBITS)
@pytest.mark.parametrize("groups", GROUPS)
def test_error_is_at_most_half_a_step(nbits, groups):
    values = normal(0, 3, 4, 6)
    coded = quantization.linear_quantize(values, nbits, GROUPS[groups])
    assert coded.codes.shape == values.shape
    assert coded.codes.max() < 2**nbits
    assert coded.scale.shape == coded.offset.shape == GROUPS[groups]
    error = np.abs(coded.decode() - values).max()
    assert error <= np.max(coded.scale) * 0.5001


@pytest.mark.parametrize("nbits", NBITS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("ranges", quantization.RANGES)
def test_levels_are_exact_in_float32(nbits, symmetric, ranges):
    values = normal(1, 40, 7) * np.float32(10.0) ** np.arange(-20, 20, 6)
    coded = quantization.linear_quantize(
        values, nbits, (1, 7), symmetric, ranges=ranges
    )
    exact = coded.codes.astype("float64") * coded.scale + coded.offset
    assert (coded.decode() == exact).all()


def test_every_group_uses_its_own_range():
    values = np.array([[0, 1, 2, 3], [0, 10, 20, 30]])
    coded = quantization.linear_quantize(values, 2, groups=(2, 1))
    assert coded.codes.tolist() == [[0, 1, 2, 3]] * 2
    assert coded.scale.tolist() == [[1], [10]]
    assert coded.offset.tolist() == [[0], [0]]


@pytest.mark.parametrize("value", [0, -3.5, 1e-30, 3e38])
@pytest.mark.parametrize("zero", [True, False, None])
def test_constant_arrays_are_exact(value, zero):
    values = np.full((2, 3), value, "float32")
    coded = quantization.linear_quantize(values, 4, zero=zero)
    assert (coded.decode() == values).all()


def test_the_full_range_of_float32_does_not_overflow():
    values = np.array([-3e38, 0, 3e38], "float32")
    coded = quantization.linear_quantize(values, 8)
    assert coded.codes[1] == coded.zero_points.item()
    np.testing.assert_allclose(coded.decode(), values, atol=coded.scale.item())


@pytest.mark.parametrize("nbits", NBITS)
@pytest.mark.parametrize("ranges", quantization.RANGES)
def test_zeros_stay_zero_if_there_are_any(nbits, ranges):
    values = normal(2, 200, 5) + np.float32(0.5)
    values[::3] = 0
    coded = quantization.linear_quantize(
        values, nbits, (1, 5), zero=None, ranges=ranges
    )
    assert (coded.decode()[values == 0] == 0).all()
    assert coded.zero_points.shape == (1, 5)


def test_zero_may_be_asked_for():
    values = np.array([1.0, 1.5, 2.0], "float32")
    free = quantization.linear_quantize(values, 2)
    assert free.zero_points is None and free.decode().min() == 1
    held = quantization.linear_quantize(values, 2, zero=True)
    assert held.zero_points.tolist() == [0]


@pytest.mark.parametrize("nbits", NBITS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_least_squares_never_adds_error(nbits, symmetric):
    values = normal(3, 300, 4)
    values[0, 0] = 20  # An outlier, which stretches the full range.

    def error(ranges):
        coded = quantization.linear_quantize(
            values, nbits, (1, 4), symmetric, ranges=ranges
        )
        return np.square(coded.decode() - values).sum(0)

    assert (error("least_squares") <= error("minmax") * (1 + 1e-6)).all()
    if nbits <= 4:
        assert (error("least_squares") < 0.9 * error("minmax")).any()


@pytest.mark.parametrize("nbits", [1, 2, 3])
def test_least_squares_is_near_the_best_of_all_grids(nbits):
    values = normal(4, 50)
    top = 2**nbits - 1
    ends = np.linspace(values.min(), values.max(), 150)
    least = min(
        np.square(
            low + np.clip(np.rint((values - low) / s), 0, top) * s - values
        ).sum()
        for low, high in itertools.combinations(ends, 2)
        for s in [(high - low) / top]
    )
    coded = quantization.linear_quantize(values, nbits, ranges="least_squares")
    found = np.square(coded.decode() - values).sum()
    assert found <= 1.2 * least


def test_percentiles_cut_the_outliers_off():
    values = np.arange(1, 1001, dtype="float32")
    values[0], values[-1] = -1e6, 1e6
    coded = quantization.linear_quantize(
        values, 8, ranges="percentile", percentile=99
    )
    low, high = np.percentile(values, [1, 99])
    assert coded.offset.item() == pytest.approx(low, rel=1e-4)
    assert coded.decode().max() == pytest.approx(high, rel=1e-3)


@pytest.mark.parametrize("nbits", [2, 4, 8])
def test_exact_levels_cost_no_accuracy(nbits):
    values = normal(6, 200, 9, 81)
    low = values.min(axis=2, keepdims=True).astype("float64")
    step = (values.max(axis=2, keepdims=True) - low) / (2**nbits - 1)
    plain = np.rint((values - low) / step) * step + low
    coded = quantization.linear_quantize(values, nbits, (200, 9, 1))
    expected = quantization.sqnr(values, plain)
    assert quantization.sqnr(values, coded.decode()) > expected - 0.01


def test_a_bit_is_worth_six_decibels():
    values = np.random.default_rng(5).uniform(-1, 1, 10_000).astype("float32")
    noise = [
        quantization.sqnr(
            values, quantization.linear_quantize(values, nbits).decode()
        )
        for nbits in range(1, 13)
    ]
    np.testing.assert_allclose(np.diff(noise[3:]), 6.02, atol=0.5)
    assert quantization.sqnr(values, values) == float("inf")
    assert quantization.sqnr(np.zeros(3), np.ones(3)) == float("-inf")


@pytest.mark.parametrize("nbits", [0, 17, 2.5, None])
def test_wrong_nbits_are_refused(nbits):
    with pytest.raises(
        ValueError, match="`nbits` must be .* 1 to 16. Received"
    ):
        quantization.linear_quantize(np.ones(1), nbits)


@pytest.mark.parametrize("values", [[], [np.nan], [1, np.inf]])
def test_values_that_cannot_be_quantized_are_refused(values):
    with pytest.raises(ValueError, match="finite, non-empty"):
        quantization.linear_quantize(np.array(values), 8)


def test_wrong_groups_and_ranges_are_refused():
    with pytest.raises(ValueError, match=r"groups=\(1, 3\).*shape \(2, 4\)"):
        quantization.linear_quantize(np.ones((2, 4)), 8, (1, 3))
    with pytest.raises(ValueError, match="`ranges` must be one of .*'widest'"):
        quantization.linear_quantize(np.ones(2), 8, ranges="widest")
    with pytest.raises(ValueError, match="`percentile` must be above 50"):
        quantization.linear_quantize(
            np.ones(2), 8, ranges="percentile", percentile=0.999
        )
