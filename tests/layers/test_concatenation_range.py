"""Concatenation with one range, its rescaling computed by hand."""

import keras
import numpy as np
import pytest

from fritz_compress.layers import ConcatenationRange


def test_all_inputs_move_one_range():
    layer = ConcatenationRange(axis=-1)
    arrays = [np.float32([[-1.0, 0.0]]), np.float32([[4.1]])]
    outputs, (low, high, _) = layer(arrays, training=True)
    assert outputs.shape == (1, 3)
    np.testing.assert_allclose([low, high], [-1, 4.1], rtol=1e-6)


def test_what_has_a_range_is_rescaled_by_256ths():
    layer = ConcatenationRange(ranged=[1])
    layer.build([(None, 1), (None, 1)])
    layer.set_range(0.0, 255.0)
    # 1.7 steps of 1 are 435.2 / 256, which is rounded to 435 / 256.
    integers = np.float32([[0], [50], [100], [145]])
    own = np.float32([0.0, 255 * 1.7, 1.7])
    outputs, _ = layer([integers, 1.7 * integers], input_ranges=[own])
    expected = np.floor(integers * 435 / 256 + 0.5)
    np.testing.assert_allclose(outputs[:, :1], integers, atol=1e-4)
    np.testing.assert_allclose(outputs[:, 1:], expected, atol=1e-4)
    assert expected[3] != np.floor(145 * 1.7 + 0.5)  # The exact factor.


def test_shapes_and_configuration():
    layer = ConcatenationRange(axis=1, ranged=(0,), name="both")
    shapes = [(None, 2, 5), (None, 3, 5)]
    assert layer.compute_output_shape(shapes) == ((None, 5, 5), (3,))
    again = ConcatenationRange.from_config(layer.get_config())
    assert (again.axis, again.ranged, again.name) == (1, [0], "both")
    with pytest.raises(TypeError, match="`ranged` must be a whole number"):
        ConcatenationRange(ranged=["first"])


def test_gradients_reach_every_input():
    inputs = [keras.Input((2,)), keras.Input((2,))]
    dense = [keras.layers.Dense(2)(x) for x in inputs]
    outputs, _ = ConcatenationRange()(dense)
    model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
    before = [np.array(w) for w in model.get_weights()[:4:2]]
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(8, 2)).astype("float32") for _ in inputs]
    model.fit(arrays, np.ones((8, 1)), verbose=0)
    for old, new in zip(before, model.get_weights()[:4:2]):
        assert np.abs(old - new).max() > 0
