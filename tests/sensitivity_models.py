"""Small models for sensitivity sweeps, and their arithmetic in numpy."""

import time

import keras
import numpy as np
from helpers import distinct_weights
from keras import layers

FRACTIONS = (0.25, 0.5, 0.9)


def pointwise_model() -> keras.Model:
    """1x1 convolutions, which are matrix products, and a normalization."""
    model = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            layers.Conv2D(6, 1, name="first"),
            layers.BatchNormalization(name="normalization"),
            layers.ReLU(),
            layers.Conv2D(5, 1, name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, name="head"),
        ],
        name="pointwise",
    )
    distinct_weights(model)
    model.compile("adam", "mse", metrics=["mae"])
    return model


def data(samples: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of `pointwise_model`."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(samples, 2, 2, 3)).astype("float32")
    return x, rng.normal(size=(samples, 2)).astype("float32")


def errors(weights, x, y) -> dict[str, float]:
    """Mean squared and absolute error of `pointwise_model`, in numpy."""
    k1, b1, gamma, beta, mean, variance, k2, b2, k3, b3 = weights
    hidden = x @ k1[0, 0] + b1
    hidden = (hidden - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    hidden = np.maximum(hidden, 0) @ k2[0, 0] + b2
    outputs = hidden.mean(axis=(1, 2)) @ k3 + b3
    difference = outputs - y
    return {"mse": np.mean(difference**2), "mae": np.mean(abs(difference))}


class CountedErrors:
    """Evaluates `pointwise_model` on `data` and counts how often.

    Args:
        pause: Seconds that each evaluation takes at least.
        fail_after: Evaluations after which it raises an `InterruptedError`.
    """

    def __init__(self, pause: float = 0.0, fail_after: int = 10**9):
        self.calls = 0
        self.pause = pause
        self.fail_after = fail_after

    def __call__(self, model: keras.Model) -> dict[str, float]:
        if self.calls == self.fail_after:
            raise InterruptedError
        self.calls += 1
        time.sleep(self.pause)
        found = errors(model.get_weights(), *data())
        return {"loss": found["mse"], "mae": found["mae"]}
