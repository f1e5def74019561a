"""Models to store, and files as a stranger would make them."""

import hashlib
import json

import keras
import numpy as np
from keras import layers

from fritz_compress.storage import container, encodings
from fritz_compress.storage.architecture import to_text


def pruned(shape, density=0.1, levels=15, seed=0):
    """A weight of few distinct numbers, most of them zero."""
    rng = np.random.default_rng(seed)
    book = np.append(0, np.sort(rng.normal(size=levels)))
    codes = rng.integers(1, levels + 1, shape) * (rng.random(shape) < density)
    return book.astype("float32")[codes]


def small_model():
    """A pruned and clustered classifier of 1,250 weights."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1), name="image"),
            layers.Conv2D(4, 3, name="convolution"),
            layers.Flatten(name="flat"),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(10, name="classes"),
        ],
        name="small",
    )
    for layer in model.layers:
        if layer.weights:
            layer.kernel.assign(pruned(layer.kernel.shape, 0.3))
            layer.bias.assign(np.linspace(-1, 1, layer.bias.shape[0]))
    return model


def arrays(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def same_weights(left, right):
    """Whether two models have the very same bits in their weights."""
    pairs = list(zip(arrays(left), arrays(right), strict=True))
    return all(a.dtype == b.dtype for a, b in pairs) and all(
        a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs
    )


def made_up(config, weights):
    """The bytes of a file with any architecture, its checksum right."""
    text = config if isinstance(config, str) else json.dumps(config)
    entries = [(a.shape, str(a.dtype), encodings.encode(a)) for a in weights]
    return container.write(text, entries)


def config_of(model):
    return json.loads(to_text(model))


def signed(data):
    """The bytes of a file with the right checksum put in, after changes."""
    start, body = data[:4], data[12:]
    return start + hashlib.blake2b(start + body, digest_size=8).digest() + body
