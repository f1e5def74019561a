"""Ranges that follow what comes in, computed by hand."""

import keras
import numpy as np
import pytest

from fritz_compress.layers import ActivationRange


def ends(layer):
    return keras.ops.convert_to_numpy(layer.range)


def test_the_first_batch_gives_the_range_and_later_ones_move_it():
    layer = ActivationRange(momentum=0.75)
    layer(np.float32([[-1.0, 3.0]]), training=True)
    np.testing.assert_allclose(ends(layer), [-1, 3])
    layer(np.float32([[0.5, 7.0]]), training=True)
    np.testing.assert_allclose(ends(layer), [-0.75, 4])
    layer(np.float32([[90.0]]))
    np.testing.assert_allclose(ends(layer), [-0.75, 4])


def test_frozen_and_known_ends_stay():
    layer = ActivationRange(low=0.0, high=2.55, frozen=True)
    outputs, (low, high, step) = layer(np.float32([-1.0, 0.014, 9.0]))
    np.testing.assert_allclose(outputs, [0, 0.01, 2.55], atol=1e-6)
    np.testing.assert_allclose([low, high, step], [0, 2.55, 0.01], rtol=1e-6)
    layer = ActivationRange(low=0.0)
    layer(np.float32([-5.0, 2.0]), training=True)
    np.testing.assert_allclose(ends(layer), [0, 2])
    layer.frozen = True
    layer(np.float32([9.0]), training=True)
    np.testing.assert_allclose(ends(layer), [0, 2])


def test_a_batch_of_zeros_makes_no_empty_range():
    layer = ActivationRange()
    outputs, _ = layer(np.zeros(3, "float32"), training=True)
    assert np.isfinite(outputs).all() and not np.any(outputs)
    assert ends(layer)[0] < ends(layer)[1]


def test_a_range_can_be_set():
    layer = ActivationRange(low=0.0)
    layer.build((None, 3))
    layer.set_range(-4.0, 5.0)
    np.testing.assert_allclose(ends(layer), [0, 5])


def test_it_is_saved_with_its_range(tmp_path):
    inputs = keras.Input((2,))
    outputs, _ = ActivationRange("linear_symmetric", 0.5, frozen=True)(inputs)
    model = keras.Model(inputs, outputs)
    model.layers[1].set_range(-3.0, 2.0)
    model.save(tmp_path / "model.keras")
    layer = keras.saving.load_model(tmp_path / "model.keras").layers[1]
    assert (layer.momentum, layer.frozen) == (0.5, True)
    np.testing.assert_allclose(ends(layer), [-3, 3])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"momentum": 1.5}, ValueError, "`momentum` must be a fraction"),
        ({"low": 0.5}, ValueError, "must include zero.*low=0.5"),
        ({"high": -1.0}, ValueError, "must include zero.*high=-1.0"),
        ({"low": 0.0, "high": 0.0}, ValueError, "`low` must be below `high`"),
        ({"quantizer": "cubic"}, ValueError, "must be one of"),
    ],
)
def test_arguments_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        ActivationRange(**arguments)
