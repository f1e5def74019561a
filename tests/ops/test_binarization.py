"""Levels and gradients against the formulas of the papers, in NumPy."""

import keras
import numpy as np
import pytest
from gradients import value_and_gradients
from keras import random

from fritz_compress.ops import binarization

ABOVE, BELOW = np.nextafter(np.float32(1), [2, 0]).astype("float32")
TIES = [0, -0.0, 1, -1, ABOVE, -ABOVE, BELOW, -BELOW, 0.5, -0.5, 0.05, -0.05]
LIMIT = np.float32(0.05)


def values():
    drawn = np.random.default_rng(0).normal(0, 0.8, 200 - len(TIES))
    return np.float32([*TIES, *drawn]).reshape(5, 4, 10)


def upstream(like):
    return np.random.default_rng(1).normal(size=like.shape).astype("float32")


def sign(x):
    return np.array([1.0 if number >= 0 else -1.0 for number in x.flat])


def within(clip_value):
    return lambda x: np.array([abs(number) <= clip_value for number in x.flat])


def polynomial(x):
    """Bi-Real net, equation 5, on each side of zero."""
    left = np.where((x >= -1) & (x < 0), 2 + 2 * x, 0)
    return np.where((x >= 0) & (x < 1), 2 - 2 * x, left)


def swish(beta):
    """The derivative of BNN+'s 2 s(bx) (1 + bx (1 - s(bx))) - 1."""

    def slope(x):
        s = 1 / (1 + np.exp(-beta * x))
        first = beta * s * (1 - s)
        return 2 * first * (2 + beta * x * (1 - 2 * s))

    return slope


def ternary(threshold):
    return lambda x: np.where(np.abs(x) < threshold, 0, np.sign(x))


def nearest(levels):
    """Of two that are as near, the one with the even number."""

    def found(x):
        distances = np.abs(x.reshape(-1, 1) - levels)
        number = distances.argmin(-1)
        tie = np.isclose(distances.min(-1), 0.5 / (len(levels) - 1), atol=1e-9)
        inside = (x.ravel() > 0) & (x.ravel() < 1)
        return levels[number + (tie & inside & (number % 2 == 1))]

    return found


def between(x):
    return (x >= 0) & (x <= 1)


FUNCTIONS = {
    "sign": (binarization.sign, sign, np.zeros_like),
    "ste_sign": (binarization.ste_sign, sign, within(1)),
    "ste_sign_half": (
        lambda x: binarization.ste_sign(x, 0.5),
        sign,
        within(0.5),
    ),
    "ste_sign_everywhere": (
        lambda x: binarization.ste_sign(x, None),
        sign,
        np.ones_like,
    ),
    "approx_sign": (binarization.approx_sign, sign, polynomial),
    "swish_sign": (binarization.swish_sign, sign, swish(5)),
    "swish_sign_2": (lambda x: binarization.swish_sign(x, 2.0), sign, swish(2)),
    "ste_tern": (binarization.ste_tern, ternary(LIMIT), within(1)),
    "ste_tern_half": (
        lambda x: binarization.ste_tern(x, 0.5, None),
        ternary(0.5),
        np.ones_like,
    ),
    **{
        f"dorefa_activations_{nbits}": (
            lambda x, nbits=nbits: binarization.dorefa_activations(x, nbits),
            nearest(np.linspace(0, 1, 2**nbits)),
            between,
        )
        for nbits in (1, 2, 3, 4, 8)
    },
}


def check(function, x, level, slope, compiled=False):
    above = upstream(x)
    value, gradient = value_and_gradients(
        function, x, upstream=above, compiled=compiled
    )
    exact = x.astype("float64")
    expected = np.reshape(level(exact), x.shape)
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6)
    expected = above * np.reshape(slope(exact), x.shape)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_levels_and_gradients_are_those_of_the_formulas(name, compiled):
    check(FUNCTIONS[name][0], values(), *FUNCTIONS[name][1:], compiled)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_zeros_are_numbers_like_others(name):
    check(FUNCTIONS[name][0], np.zeros((2, 3), "float32"), *FUNCTIONS[name][1:])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_type_of_numbers_stays(name, dtype):
    x = keras.ops.cast(values(), dtype)
    assert keras.backend.standardize_dtype(FUNCTIONS[name][0](x).dtype) == dtype


def test_large_numbers_have_finite_gradients():
    for name, (function, *_) in FUNCTIONS.items():
        _, gradient = value_and_gradients(function, np.float32([-1e30, 1e30]))
        expected = "everywhere" in name or name == "ste_tern_half"
        np.testing.assert_array_equal(gradient, expected, err_msg=name)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("nbits", [2, 3, 4, 8])
def test_dorefa_weights_are_those_of_the_formula(nbits, compiled):
    x = values()
    limited = np.tanh(x.astype("float64"))
    largest = np.abs(limited).max()

    def level(x):
        halves = limited / (2 * largest) + 0.5
        return 2 * nearest(np.linspace(0, 1, 2**nbits))(halves) - 1

    def slope(x):
        return (1 - limited**2) / largest

    def function(x):
        return binarization.dorefa_weights(x, nbits)

    check(function, x, level, slope, compiled)
    result = keras.ops.convert_to_numpy(function(x))
    assert np.abs(result).max() == 1 and (result != 0).all()


def test_dorefa_weights_of_zeros_are_next_to_zero_and_learn():
    value, gradient = value_and_gradients(
        lambda x: binarization.dorefa_weights(x, 2), np.zeros(3, "float32")
    )
    np.testing.assert_allclose(value, 1 / 3, atol=1e-7)
    np.testing.assert_array_equal(gradient, 1)


@pytest.mark.parametrize("nbits", range(1, 9))
def test_even_levels_come_back_bit_by_bit(nbits):
    x = np.linspace(-1, 1, 1001, dtype="float32")
    levels, gradient = value_and_gradients(
        lambda x: binarization.even_levels(x, nbits), x
    )
    assert len(np.unique(levels)) == 2**nbits
    np.testing.assert_array_equal(gradient, 1)
    again = binarization.even_levels(levels, nbits)
    assert keras.ops.convert_to_numpy(again).tobytes() == levels.tobytes()


def test_a_ternary_threshold_is_seven_tenths_of_the_mean():
    x = values()
    threshold, gradient = value_and_gradients(
        binarization.ternary_threshold, x, upstream=np.float32(1)
    )
    mean = np.abs(x.astype("float64")).mean()
    np.testing.assert_allclose(threshold, 0.7 * mean, rtol=1e-6)
    assert not np.any(gradient)


@pytest.mark.parametrize(
    "axes, kept", [(None, (1, 1, 10)), ((0,), (1, 4, 10)), ((0, 2), (1, 4, 1))]
)
def test_a_magnitude_is_a_mean_without_gradient(axes, kept):
    x = values()
    means, gradient = value_and_gradients(
        lambda x: binarization.magnitude(x, axes), x
    )
    expected = np.abs(x.astype("float64")).mean(axes or (0, 1), keepdims=True)
    assert means.shape == kept
    np.testing.assert_allclose(means, expected, rtol=1e-6)
    assert not np.any(gradient)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_scale_put_on_unscaled_signs_leaves_their_gradient(compiled):
    x, above = values(), upstream(values())
    scale = np.float32([*np.linspace(0.01, 9, 9), 0])
    product, by_x, by_scale = value_and_gradients(
        lambda x, scale: scale * binarization.unscaled_sign(x, scale),
        x,
        scale,
        upstream=above,
        compiled=compiled,
    )
    signs = sign(x).reshape(x.shape)
    np.testing.assert_allclose(product, scale * signs, rtol=1e-6)
    # Where the scale is 0 so is the gradient.
    expected = above * within(1)(x).reshape(x.shape) * (scale > 0)
    np.testing.assert_allclose(by_x, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(by_scale, (above * signs).sum((0, 1)), rtol=1e-5)


DRAWS = 20_000


@pytest.mark.parametrize("clip_value", [1.0, 0.5])
def test_random_signs_have_the_probability_of_a_hard_sigmoid(clip_value):
    x = np.float32([-7, -1, -0.6, -0.1, 0, 0.25, 0.9, 1, 7])
    drawn = binarization.stochastic_sign(
        clip_value * np.tile(x, (DRAWS, 1)), 3, clip_value
    )
    drawn = keras.ops.convert_to_numpy(drawn)
    assert set(np.unique(drawn)) == {-1, 1}
    probability = np.clip((x + 1) / 2, 0, 1)
    deviation = np.sqrt(probability * (1 - probability) / DRAWS)
    assert (np.abs((drawn > 0).mean(0) - probability) <= 4 * deviation).all()
    # Neighbours are drawn on their own.
    assert abs(np.corrcoef(drawn[:, 4], drawn[:, 3])[0, 1]) < 0.03


@pytest.mark.parametrize("clip_value", [1.0, 0.5])
@pytest.mark.parametrize("compiled", [False, True])
def test_random_signs_have_the_gradient_of_others(clip_value, compiled):
    x, above = values(), upstream(values())
    drawn, gradient = value_and_gradients(
        lambda x: binarization.stochastic_sign(x, 0, clip_value),
        x,
        upstream=above,
        compiled=compiled,
    )
    assert (np.abs(drawn) == 1).all()
    inside = within(clip_value)(x).reshape(x.shape)
    np.testing.assert_allclose(gradient, above * inside, rtol=1e-6)


def test_random_signs_are_drawn_again_with_the_same_seed():
    def drawn(seed):
        return keras.ops.convert_to_numpy(
            binarization.stochastic_sign(np.zeros(1000, "float32"), seed)
        )

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert (drawn(1) != drawn(2)).mean() > 0.4
    first, second = random.SeedGenerator(5), random.SeedGenerator(5)
    calls = [drawn(first) for _ in range(3)]
    assert (calls[0] != calls[1]).mean() > 0.4
    assert (calls[1] != calls[2]).mean() > 0.4
    for call in calls:
        np.testing.assert_array_equal(drawn(second), call)
