"""Patches times the kernel are what a layer computes."""

import keras
import numpy as np
import pytest
from keras import layers

from fritz_compress.surgery.patches import sample_patches


def check(layer, inputs):
    """All patches give all outputs, in another order."""
    outputs = keras.ops.convert_to_numpy(layer(inputs.astype("float32")))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    *_, channels, filters = kernel.shape
    patches = sample_patches(layer, inputs, 10**6, seed=0)
    found = np.tensordot(patches, kernel.reshape(-1, channels, filters), 2)
    assert len(found) == outputs.size // filters
    np.testing.assert_allclose(
        np.sort(found, axis=0),
        np.sort(outputs.reshape(-1, filters), axis=0),
        atol=1e-5,
    )


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides, dilation", [(1, 1), (2, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("size", [(7, 8), (9, 6)])
def test_two_axes(padding, strides, dilation, size):
    layer = layers.Conv2D(
        3, (3, 2), strides, padding, dilation_rate=dilation, use_bias=False
    )
    check(layer, normal(2, *size, 4))


@pytest.mark.parametrize("padding", ["same", "valid", "causal"])
@pytest.mark.parametrize("strides, dilation", [(1, 1), (2, 1), (1, 2)])
def test_one_axis(padding, strides, dilation):
    layer = layers.Conv1D(
        3, 4, strides, padding, dilation_rate=dilation, use_bias=False
    )
    check(layer, normal(2, 9, 5))


@pytest.mark.parametrize("strides", [1, 2])
def test_three_axes(strides):
    layer = layers.Conv3D(3, (3, 2, 1), strides, "same", use_bias=False)
    check(layer, normal(2, 4, 5, 3, 2))


def test_channels_may_come_first():
    layer = layers.Conv2D(3, 2, data_format="channels_first", use_bias=False)
    layer.build((None, 4, 6, 5))
    inputs = normal(2, 4, 6, 5)
    last = layers.Conv2D(3, 2, use_bias=False)
    last.build((None, 6, 5, 4))
    np.testing.assert_array_equal(
        sample_patches(layer, inputs, 9, seed=1),
        sample_patches(last, np.moveaxis(inputs, 1, -1), 9, seed=1),
    )


def test_patches_of_a_dense_layer_are_its_inputs():
    layer = layers.Dense(2)
    inputs = normal(3, 4, 5)
    layer(inputs)
    patches = sample_patches(layer, inputs, 7, seed=0)
    assert patches.shape == (7, 1, 5)
    rows = {tuple(row) for row in inputs.reshape(-1, 5)}
    assert {tuple(patch[0]) for patch in patches} < rows


def test_a_seed_draws_the_same_positions_of_other_numbers():
    layer = layers.Conv2D(3, 2)
    layer.build((None, 6, 5, 4))
    inputs = normal(2, 6, 5, 4)
    drawn = sample_patches(layer, inputs, 9, seed=3)
    assert drawn.shape == (9, 4, 4)
    np.testing.assert_array_equal(
        sample_patches(layer, 2 * inputs, 9, seed=3), 2 * drawn
    )
    other = sample_patches(layer, inputs, 9, seed=4)
    assert not np.array_equal(other, drawn)
