"""What several test files need."""

import os
import pathlib

import keras
import numpy as np
import pytest


def distinct_weights(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight of a model distinct, non-default values, in place.

    Untrained normalization weights are ones and zeros and would hide a
    mix-up of channels. Kernels are scaled by their fan-in, so that signals
    neither die nor explode; moving variances are positive; integer weights
    (seeds, counters) stay.

    Returns: the model, for chaining.
    """
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "float" in keras.backend.standardize_dtype(weight.dtype):
            weight.assign(_values(rng, weight.name, tuple(weight.shape)))
    return model


def _values(rng, name, shape):
    if "variance" in name:
        return rng.uniform(0.5, 1.5, shape)
    if "gamma" in name or name == "scale":
        return rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
    if len(shape) < 2:
        return rng.uniform(0.1, 0.5, shape) * rng.choice([-1, 1], shape)
    return rng.normal(0, 1.4 / np.sqrt(np.prod(shape[:-1])), shape)


def slow_but(values, *fast):
    """Parameters of a test, all of which are slow but some."""
    return [
        value if value in fast else pytest.param(value, marks=pytest.mark.slow)
        for value in values
    ]


def external_data(name: str) -> pathlib.Path:
    """A file that is not part of the project, or a visible skip.

    It is looked for in the folder that the environment variable
    `FRITZ_COMPRESS_DATA` names, else in `shared/data` beside the project.
    """
    beside = pathlib.Path(__file__).parents[2] / "shared" / "data"
    path = pathlib.Path(os.environ.get("FRITZ_COMPRESS_DATA", beside)) / name
    if not path.exists():
        pytest.skip(f"needs {name}; set FRITZ_COMPRESS_DATA to its folder")
    return path
