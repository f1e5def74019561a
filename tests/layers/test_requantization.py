"""Sums rounded as by integer arithmetic written out in NumPy."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from fritz_compress.layers import ActivationRange
from fritz_compress.layers.requantization import (
    requantization,
    round_twice,
    rounds_twice,
)

SCALE = 0.03


def numpy_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


def by_integers(sums, factor, away):
    """`factor` as a fraction of 31 bits and a shift; both round."""
    fraction, exponent = math.frexp(factor)
    left, right = max(exponent, 0), max(-exponent, 0)
    product = (sums << left) * round(fraction * 2**31)
    high = (product + 2**30) >> 31
    if right == 0:
        return high
    if not away:
        return (high + 2 ** (right - 1)) >> right
    return np.sign(high) * ((np.abs(high) + 2 ** (right - 1)) >> right)


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.DepthwiseConv2D])
def test_sums_are_rounded_by_a_fraction_and_a_shift(kind):
    rng = np.random.default_rng(0)
    sums = rng.integers(-900, 900, (5000, 11))
    factors = np.geomspace(0.011, 0.917, 11)
    layer = kind(11, 3)
    # Of eleven channels a depthwise convolution has three left over.
    away = np.arange(11) >= (8 if kind is layers.DepthwiseConv2D else 11)
    expected = np.stack(
        [by_integers(*pair) for pair in zip(sums.T, factors, away)], axis=1
    )
    scales = np.float32(SCALE * factors)
    how = requantization(layer, keras.ops.convert_to_tensor(scales))
    rounded = round_twice(np.float32(sums * scales), how, SCALE)
    integers = np.rint(numpy_of(rounded) / SCALE)
    assert (integers == expected).mean() > 0.999
    once = np.floor(sums * factors + 0.5)
    assert (once != expected).mean() > 0.02


def test_channels_of_unknown_steps_are_left_alone():
    layer = layers.Conv2D(2, 1)
    how = requantization(layer, keras.ops.convert_to_tensor([0.0, 0.01]))
    values = np.float32([[0.017, 0.017], [-0.052, -0.052]])
    rounded = numpy_of(round_twice(values, how, SCALE))
    np.testing.assert_array_equal(rounded[:, 0], values[:, 0])
    np.testing.assert_allclose(rounded[:, 1], [0.03, -0.03], rtol=1e-6)


def test_which_layers_round_twice():
    convolutions = layers.Conv2D(1, 1), layers.DepthwiseConv1D(1)
    assert all(rounds_twice(layer, 4) for layer in convolutions)
    assert not any(rounds_twice(layer, 8) for layer in convolutions)
    assert not rounds_twice(layers.Dense(1), 4)


def test_a_range_that_moves_rounds_once():
    how = np.float32([[0.02], [0]])
    layer = ActivationRange(low=-1.28, high=1.27)
    # Steps are 0.01, those of the second sums rounded to 0.005 at first.
    values = np.float32([[0.0137]])
    np.testing.assert_allclose(layer(values, how)[0], 0.01, rtol=1e-5)
    how = np.float32([[0.004], [0]])
    np.testing.assert_allclose(layer(values, how)[0], 0.02, rtol=1e-5)
    training = layer(values, how, training=True)[0]
    np.testing.assert_allclose(training, 0.01, rtol=1e-5)
    layer.frozen = True
    training = layer(values, how, training=True)[0]
    np.testing.assert_allclose(training, 0.02, rtol=1e-5)
