"""Small networks and short fits for the tests of callbacks."""

import keras
import numpy as np
from helpers import distinct_weights
from keras import layers

# Compiling costs more than a few steps; JAX cannot do without.
JIT = keras.backend.backend() == "jax"


def residual_net(optimizer="adam", seed=0):
    """A trunk of 8 filters, made by stem and second; first makes 12."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="stem")(inputs)
    x = layers.BatchNormalization(name="stem_norm")(x)
    x = layers.ReLU()(x)
    y = layers.Conv2D(12, 3, padding="same", name="first")(x)
    y = layers.BatchNormalization(name="first_norm")(y)
    y = layers.ReLU()(y)
    y = layers.Conv2D(8, 3, padding="same", name="second")(y)
    x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x), name="net")
    distinct_weights(model, seed)
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=JIT)
    return model


def fit(model, *callbacks, epochs=1, **kwargs):
    """Eight steps an epoch, the same ones in every fit."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(16, 8, 8, 3)), rng.normal(size=(16, 2))
    return model.fit(
        inputs,
        targets,
        batch_size=2,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **kwargs,
    )


def values(model, name):
    """The weights of a layer by their names, as arrays."""
    return {
        weight.name: keras.ops.convert_to_numpy(weight)
        for weight in model.get_layer(name).weights
    }


def zero_filters(model, name):
    """Numbers of the filters of a layer with a kernel of zeros."""
    kernel = values(model, name)["kernel"]
    return np.flatnonzero(
        ~kernel.any(axis=tuple(range(kernel.ndim - 1)))
    ).tolist()


class Stop(keras.callbacks.Callback):
    """Ends training as a kill would: without `on_train_end`."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.place = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            raise KeyboardInterrupt
