"""Models whose kernels have a low rank, for the tests of factorization."""

import keras
import numpy as np
from helpers import distinct_weights
from keras import layers

from fritz_compress.surgery.factorization.methods import METHODS


def give_rank(layer, method, rank, seed=0):
    """Gives a layer a kernel that a method can write exactly.

    Scaled by its fan-in, with other numbers in every factor.
    """
    decomposition = METHODS[method].decomposition
    shape = tuple(layer.kernel.shape)
    rng = np.random.default_rng(seed)
    factors = [
        rng.normal(size=sides)
        for sides in decomposition.shapes(
            shape, decomposition.checked(shape, rank)
        )
    ]
    kernel = decomposition.reconstruct(factors, shape)
    scale = kernel.std() * np.sqrt(np.prod(shape[:-1]))
    layer.kernel.assign(kernel / scale)


def classifier(name="classifier"):
    """Convolutions that differ in all that a chain of layers must keep."""
    image = keras.Input((11, 12, 3), name="image")
    x = layers.Conv2D(
        12, 3, strides=2, padding="same", activation="relu", name="strided"
    )(image)
    x = layers.Conv2D(10, (1, 3), use_bias=False, name="wide")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(14, 3, padding="same", dilation_rate=2, name="dilated")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(20, activation="relu", name="hidden")(x)
    x = layers.Dense(13, activation="softmax", name="logits")(x)
    return distinct_weights(keras.Model(image, x, name=name))


def images(count=6, size=(11, 12), seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *size, 3)).astype("float32")


def predict(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def snapshot(model):
    """All that a function must not change of a model."""
    return (
        model.get_config(),
        [np.array(w) for w in model.get_weights()],
        [w.trainable for w in model.weights],
    )


def assert_unchanged(model, before):
    config, values, trainable = before
    assert model.get_config() == config
    assert [w.trainable for w in model.weights] == trainable
    for old, new in zip(values, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
