"""A model and what is made of it have no array in common.

JAX may delete the array of a variable that it computes with.
"""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress import layers as ours
from fritz_compress.binarization import binarize, convert_to_binary


def float_model():
    inputs = keras.Input((6,))
    x = layers.Dense(5, name="first")(inputs)
    for name in ("middle", "later"):
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
        x = layers.Dense(5, name=name)(x)
    x = layers.BatchNormalization(name="last_norm")(x)
    return keras.Model(inputs, layers.Dense(2, name="last")(x))


def latent_model(**arguments):
    layer = ours.BinaryDense(4, **arguments)
    return keras.Sequential([keras.Input((6,)), layer])


CASES = {
    "binarize": (float_model, lambda model: binarize(model)[0]),
    "signs": (latent_model, convert_to_binary),
    "scale": (lambda: latent_model(use_scale=True), convert_to_binary),
    "levels": (
        lambda: latent_model(kernel_quantizer="magnitude_aware_sign"),
        convert_to_binary,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_both_predict_after_each_other(case):
    make, change = CASES[case]
    model = distinct_weights(make())
    new = change(model)
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    for one in (new, model, new, model):
        assert np.isfinite(one.predict(x, verbose=0)).all()
