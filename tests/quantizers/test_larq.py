"""Ours against larq's, which `benchmarks/record_larq.py` recorded."""

import pathlib

import numpy as np
import pytest
from gradients import value_and_gradients

from fritz_compress.quantizers import (
    ApproxSign,
    DoReFa,
    MagnitudeAwareSign,
    SteSign,
    SteTern,
    SwishSign,
)

RECORD = np.load(pathlib.Path(__file__).with_name("larq.npz"))
ARRAYS = ["kernel", "matrix", "zeros"]
OURS = {
    "ste_sign": SteSign(),
    "ste_sign_half": SteSign(0.5),
    "ste_sign_everywhere": SteSign(None),
    "approx_sign": ApproxSign(),
    "swish_sign": SwishSign(),
    "swish_sign_2": SwishSign(2.0),
    "magnitude_aware_sign": MagnitudeAwareSign(),
    "magnitude_aware_sign_half": MagnitudeAwareSign(0.5),
    "ste_tern": SteTern(),
    "ste_tern_mean": SteTern("mean"),
    **{f"dorefa_activations_{n}": DoReFa(n) for n in (1, 2, 4, 8)},
    **{f"dorefa_weights_{n}": DoReFa(n, "weights") for n in (2, 4, 8)},
}


def larq(array, name):
    """Inputs, the gradient from above, the value and the gradient."""
    row = RECORD["quantizers"].tolist().index(name)
    return (
        RECORD[f"{array}/inputs"],
        RECORD[f"{array}/upstream"],
        RECORD[f"{array}/values"][row],
        RECORD[f"{array}/gradients"][row],
    )


def test_all_that_was_recorded_is_compared():
    assert set(OURS) == set(RECORD["quantizers"].tolist())
    assert "larq 0.14" in str(RECORD["made_with"])


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("name", OURS)
def test_values_and_gradients_are_those_of_larq(name, array):
    inputs, upstream, value, gradient = larq(array, name)
    if array == "zeros" and "weights" in name:
        assert not gradient.any()
        gradient = upstream  # larq's would stay zeros for ever; ours learn.
    found = value_and_gradients(OURS[name], inputs, upstream=upstream)
    np.testing.assert_allclose(found[0], value, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("array", ARRAYS)
def test_levels_times_scale_have_the_same_gradient(array):
    inputs, upstream, value, gradient = larq(array, "magnitude_aware_sign")

    def product(kernel):
        levels, scale = MagnitudeAwareSign().levels_and_scale(kernel)
        return levels * scale

    found = value_and_gradients(product, inputs, upstream=upstream)
    np.testing.assert_allclose(found[0], value, rtol=1e-6)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("array", ARRAYS)
def test_weights_of_one_bit_are_those_of_the_paper_not_of_larq(array):
    """DoReFa-Net, equations 7 and 8: one mean for the layer, and a gradient
    that passes. larq has -1 and 1, by the formula for more bits."""
    inputs, upstream, *_ = larq(array, "ste_sign")
    value, gradient = value_and_gradients(
        DoReFa(1, "weights"), inputs, upstream=upstream
    )
    mean = np.abs(inputs.astype("float64")).mean()
    expected = np.where(inputs >= 0, mean, -mean)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    expected = upstream if inputs.any() else np.zeros_like(upstream)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
