"""Channels removed that a normalization takes its statistics over.

The oracle takes the statistics over the kept channels, in numpy.
"""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from removal_oracle import samples

from fritz_compress import surgery

GONE = {"layer": [1, 6], "rms": [1, 6], "group": [1, 3, 5, 7]}


def network(kind):
    normalization = {
        "layer": layers.LayerNormalization(name="norm"),
        "rms": layers.RMSNormalization(name="norm"),
        "group": layers.GroupNormalization(2, name="norm"),
    }[kind]
    return distinct_weights(
        keras.Sequential(
            [
                keras.Input((6, 6, 3)),
                layers.Conv2D(8, 3, name="conv"),
                normalization,
                layers.Dense(3, name="head"),
            ]
        )
    )


def numpy_norm(kind, x, weights, epsilon):
    axes = {"layer": (3,), "rms": (3,), "group": (1, 2, 4)}[kind]
    if kind == "group":
        shape = x.shape
        x = x.reshape(*shape[:3], 2, -1)
    mean = 0 if kind == "rms" else x.mean(axes, keepdims=True)
    power = ((x - mean) ** 2).mean(axes, keepdims=True)
    x = (x - mean) / np.sqrt(power + epsilon)
    if kind == "group":
        x = x.reshape(shape)
    scale, *offset = weights
    return x * scale + (offset[0] if offset else 0)


def masked(model, kind, inputs):
    """The network without the channels, its head included, in numpy."""
    kept = np.setdiff1d(np.arange(8), GONE[kind])
    conv, norm, head = (model.get_layer(n) for n in ("conv", "norm", "head"))
    x = keras.ops.convert_to_numpy(conv(inputs))[..., kept]
    weights = [keras.ops.convert_to_numpy(w)[kept] for w in norm.weights]
    x = numpy_norm(kind, x, weights, norm.epsilon)
    kernel, bias = map(keras.ops.convert_to_numpy, head.weights)
    return x @ kernel[kept] + bias


@pytest.mark.parametrize("kind", GONE)
def test_statistics_over_what_is_kept(kind):
    model = network(kind)
    inputs = samples(model).astype("float32")
    smaller = surgery.remove_filters(
        model, {"conv": GONE[kind]}, prune_normalized=True
    )
    result = keras.ops.convert_to_numpy(smaller(inputs))
    np.testing.assert_allclose(
        result, masked(model, kind, inputs), rtol=1e-4, atol=1e-5
    )
    before = keras.ops.convert_to_numpy(model(inputs))
    assert np.abs(result - before).max() > 0.1


@pytest.mark.parametrize("kind", GONE)
def test_frozen_unless_asked_for(kind):
    model = network(kind)
    (frozen,) = surgery.channel_groups(model).of("conv")
    assert "takes its statistics over several channels" in frozen.frozen
    (free,) = surgery.channel_groups(model, prune_normalized=True).of("conv")
    assert free.frozen is None
    assert free.channels == (4 if kind == "group" else 8)
    with pytest.raises(ValueError, match="takes its statistics"):
        surgery.remove_filters(model, {"conv": [1]})


def test_prune_filters_passes_it_on():
    model = network("layer")
    smaller = surgery.prune_filters(model, 0.5, prune_normalized=True)
    assert smaller.get_layer("conv").filters == 4
    with pytest.raises(ValueError, match="takes its statistics"):
        surgery.prune_filters(model, 0.5)
