"""Importance of weights against closed-form gradients."""

import keras
import numpy as np
import pytest

from fritz_compress import quantization


def linear_model():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, name="dense")]
    )
    kernel = np.array([[0.5, -1], [2, 0.25], [-0.75, 1.5]], "float32")
    model.set_weights([kernel, np.array([0.1, -0.2], "float32")])
    return model


def test_squared_gradients_of_a_linear_model():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    model = linear_model()
    model.compile(loss="mse")
    kernel, bias = model.get_weights()
    expected = 0
    for begin in (0, 2, 4):
        a, b = x[begin : begin + 2], y[begin : begin + 2]
        error = a @ kernel + bias - b
        expected = expected + np.square(a.T @ error * 2 / error.size) / 3
    found = quantization.squared_gradients(model, x, y, batch_size=2)
    assert set(found) == {"dense/kernel", "dense/bias"}
    np.testing.assert_allclose(found["dense/kernel"], expected, rtol=1e-4)
    assert (model.get_weights()[0] == kernel).all()


def test_second_moments_are_those_of_adam():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    model = linear_model()
    kernel, bias = model.get_weights()
    model.compile(keras.optimizers.Adam(beta_2=0.9), "mse")
    model.fit(x, y, batch_size=4, verbose=0)
    error = x @ kernel + bias - y
    gradient = x.T @ error * 2 / error.size
    found = quantization.second_moments(model)
    np.testing.assert_allclose(
        found["dense/kernel"], 0.1 * np.square(gradient), rtol=1e-4
    )


def test_models_without_a_loss_or_state_are_refused():
    model = linear_model()
    with pytest.raises(ValueError, match="must be compiled with a loss"):
        quantization.squared_gradients(model, np.ones((1, 3)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="Received: no optimizer"):
        quantization.second_moments(model)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Received: SGD"):
        quantization.second_moments(model)
