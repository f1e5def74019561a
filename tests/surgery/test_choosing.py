"""Which channels go where something must be left of every tensor."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, ops
from removal_oracle import difference, predict, samples
from silencing_oracle import silenced_outputs

from fritz_compress import surgery


def split_in_halves(small):
    """Eight filters, halved; those listed have small weights."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    left, right = ops.split(x, 2, axis=-1)
    left = layers.Conv2D(2, 1, name="left")(left)
    right = layers.Conv2D(3, 1, name="right")(right)
    outputs = layers.Concatenate()([left, right])
    model = distinct_weights(keras.Model(inputs, outputs))
    kernel, bias = model.get_layer("conv").get_weights()
    factors = np.full(8, 10.0)
    factors[small] = np.linspace(0.1, 0.2, len(small))
    model.get_layer("conv").set_weights([kernel * factors, bias * factors])
    return model


@pytest.mark.parametrize(
    "small, places",
    [
        ([0, 1, 2, 3], [0, 1, 2, 4]),  # The best of the left half stays, ...
        ([4, 5, 6, 7], [0, 1, 2, 4]),
        ([1, 4, 5, 2], [0, 1, 2, 3]),  # ... unless another one does anyway.
    ],
)
def test_one_channel_of_each_half_stays(small, places):
    """`places`: which go, in the order of their norms."""
    model = split_in_halves(small)
    kernel = keras.ops.convert_to_numpy(model.get_layer("conv").kernel)
    gone = np.argsort(np.abs(kernel).sum((0, 1, 2)))[places]
    smaller = surgery.prune_filters(model, 0.5, round_to=1, min_filters=1)
    assert smaller.get_layer("conv").filters == 4
    x = samples(model)
    (wanted,) = silenced_outputs(model, {"conv": gone}, [x])
    assert difference(wanted.ravel(), predict(smaller, x)) < 1e-5


def test_zeroed_halves_keep_a_channel_of_zeros():
    model = split_in_halves([])
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[..., 4:] = bias[4:] = 0
    model.get_layer("conv").set_weights([kernel, bias])
    smaller = surgery.remove_pruned_filters(model)
    kept = smaller.get_layer("conv").get_weights()[0]
    np.testing.assert_array_equal(kept, kernel[..., :5])
    x = samples(model)
    assert difference(predict(model, x), predict(smaller, x)) < 1e-6
