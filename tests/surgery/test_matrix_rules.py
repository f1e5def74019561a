"""Layers and operations that multiply matrices, along any axis."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, ops
from removal_oracle import assert_exact

from fritz_compress import surgery


def model_of(shape, build):
    inputs = keras.Input(shape)
    return distinct_weights(keras.Model(inputs, build(inputs)))


def mixer(x):
    """MLP-Mixer: one perceptron over positions, one over channels."""
    x = layers.Dense(8, name="stem")(x)
    tokens = layers.Permute((2, 1))(x)
    tokens = layers.Dense(10, activation="gelu", name="tokens")(tokens)
    tokens = layers.Dense(6, name="tokens_back")(tokens)
    x = layers.Add()([x, layers.Permute((2, 1))(tokens)])
    hidden = layers.Dense(9, activation="gelu", name="hidden")(x)
    x = layers.Add()([x, layers.Dense(8, name="back")(hidden)])
    x = layers.GlobalAveragePooling1D()(x)
    return layers.Dense(3, name="head")(x)


def test_groups_of_a_mixer():
    groups = surgery.channel_groups(model_of((6, 5), mixer))
    assert str(groups).splitlines()[2:] == [
        "       8  stem, back  [not zero after 'tokens_back' (Dense)]",
        "      10  tokens",
        "       6  tokens_back  [frozen: an input of the model]",
        "       9  hidden",
        "       3  head  [frozen: an output of the model]",
    ]


@pytest.mark.parametrize(
    "removed, deaf",
    [
        ({"tokens": [0, 9]}, {"tokens_back": (0, [0, 9])}),
        ({"hidden": [1, 2]}, {"back": (0, [1, 2])}),
        ({"stem": [3, 7]}, {"hidden": (0, [3, 7]), "head": (0, [3, 7])}),
    ],
)
def test_mixer(removed, deaf):
    assert_exact(model_of((6, 5), mixer), removed, deaf)


def projections(x):
    """Two new axes at once, read together and apart."""
    x = layers.EinsumDense(
        "abc,cde->abde", output_shape=(None, 4, 3), bias_axes="de", name="split"
    )(x)
    x = layers.EinsumDense(
        "abde,dec->abc",
        output_shape=(None, 7),
        bias_axes="c",
        activation="relu",
        name="join",
    )(x)
    x = layers.EinsumDense(
        "...x,xy->...y", output_shape=9, bias_axes="y", name="dense"
    )(x)
    return layers.Dense(2, name="head")(x)


@pytest.mark.parametrize(
    "removed, deaf, size",
    [
        ({"split:d": [1, 3]}, {"join": (0, [1, 3])}, (None, 2, 3)),
        ({"split:e": [2]}, {"join": (1, [2])}, (None, 4, 2)),
        ({"join": [0, 5]}, {"dense": (0, [0, 5])}, (None, 5)),
        ({"dense": [4]}, {"head": (0, [4])}, (8,)),
    ],
)
def test_einsum_dense(removed, deaf, size):
    model = model_of((5, 6), projections)
    smaller = assert_exact(model, removed, deaf, effect=0.01)
    name = next(iter(removed)).partition(":")[0]
    assert smaller.get_layer(name).partial_output_shape == size


def test_einsum_dense_with_a_kernel_per_channel():
    def build(x):
        x = layers.Conv1D(6, 1, name="conv")(x)
        x = layers.EinsumDense(
            "abc,cd->abcd", output_shape=(4, 6, 3), name="each"
        )(x)
        x = layers.Flatten()(x)
        return layers.Dense(2, name="head")(x)

    model = model_of((4, 3), build)
    heard = [
        p * 18 + c * 3 + d for p in range(4) for c in (1, 4) for d in range(3)
    ]
    smaller = assert_exact(model, {"conv": [1, 4]}, {"head": (0, heard)})
    assert smaller.get_layer("each").partial_output_shape == (4, 4, 3)


CONSTANT = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")


def test_matrix_product_with_a_constant_reads_channels():
    def build(x):
        x = layers.Dense(6, name="conv")(x)
        return layers.Dense(3)(ops.tanh(ops.matmul(x, CONSTANT)))

    model = model_of((4, 3), build)
    # Silencing unit 2 for its only reader is silencing the unit itself.
    deaf = {"conv": (1, [2]), "conv#1": (0, [2])}
    assert_exact(model, {"conv": [2]}, deaf)


def test_matrix_product_with_a_constant_passes_channels():
    def build(x):
        x = layers.Dense(7, name="dense")(x)
        return layers.Dense(3, name="head")(ops.matmul(CONSTANT.T, x))

    assert_exact(
        model_of((6, 3), build), {"dense": [2, 5]}, {"head": (0, [2, 5])}
    )


@pytest.mark.parametrize("product", ["matmul", "einsum", "dot"])
def test_products_of_two_tensors(product):
    """Queries and keys meet in a sum over channels, which are tied."""

    def build(x):
        query = layers.Dense(6, name="query")(x)
        key = layers.Dense(6, name="key")(x)
        if product == "matmul":
            scores = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        elif product == "einsum":
            scores = ops.einsum("btc,bsc->bts", query, key)
        else:
            scores = layers.Dot(axes=2)([query, key])
        value = layers.Dense(7, name="value")(x)
        return layers.Dense(2, name="head")(ops.matmul(scores, value))

    model = model_of((4, 3), build)
    group, *_ = surgery.channel_groups(model)
    assert set(group.makers) == {"query", "key"}
    silent = {"query": (1, [2, 4]), "query#1": (0, [2, 4])}
    assert_exact(model, {"key": [2, 4]}, silent)
    assert_exact(model, {"value": [0]}, {"head": (0, [0])})


def test_two_axes_flattened_keep_the_shorter_one():
    def build(x):
        x = layers.Dense(8, name="channels")(x)
        x = layers.Dense(5, name="tokens")(layers.Permute((2, 1))(x))
        return layers.Dense(2, name="head")(layers.Flatten()(x))

    model = model_of((6, 3), build)
    groups = surgery.channel_groups(model)
    assert "joins two axes" in groups.of("tokens")[0].frozen
    heard = [c * 5 + t for c in (1, 6) for t in range(5)]
    # A bias of the second layer reaches every channel: silence its reader.
    assert_exact(model, {"channels": [1, 6]}, {"head": (0, heard)})
