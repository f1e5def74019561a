"""Corners of the rules: unknown sizes, shared operations, constants."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, ops
from removal_oracle import difference, predict
from silencing_oracle import removed_channels, silenced_outputs

from fritz_compress import surgery


def conv(filters=8, **arguments):
    return layers.Conv1D(filters, 1, **arguments)


def steps(*shape):
    count = int(np.prod(shape))
    return np.linspace(0.5, 1.5, count, dtype="float32").reshape(shape)


def unknown_length_sliced(i):
    x = conv(activation="relu")(i)
    return ops.mean(x[:, 2:-2], axis=-1), layers.Dense(2)(x)


def one_position(i):
    return layers.Dense(2)(conv()(i)[:, 3])


def split_positions(i):
    first, second, _ = ops.split(conv()(i), [3, 5], axis=1)
    return layers.Dense(2)(ops.concatenate([first, second], axis=1))


def query_along_time(i):
    query = layers.Permute((2, 1))(conv(8)(i))
    value = layers.Dense(6)(i)
    x = layers.Attention()([query, value])
    return layers.GlobalAveragePooling1D()(layers.Dense(3)(x))


def operation_in_two_models(i):
    n = keras.Input((6, 8))
    scaled = n * steps(8)
    first = keras.Model(n, scaled)
    second = keras.Model(n, conv(5)(scaled))
    x = layers.Concatenate()([first(conv()(i)), second(conv()(i))])
    return layers.Dense(3)(x)


def padded_with_ones(i):
    x = ops.pad(conv()(i), [[0, 0], [1, 1], [0, 0]], constant_values=1.0)
    return layers.Conv1D(2, 3)(x)


def maximum_with_a_start(i):
    x = conv(activation="relu")(i)
    return layers.Dense(3)(ops.max(x, axis=1, initial=0.3))


def directions_that_differ(i):
    backward = layers.GRU(
        8, return_sequences=True, go_backwards=True, activation="sigmoid"
    )
    x = layers.Bidirectional(
        layers.GRU(8, return_sequences=True),
        backward_layer=backward,
        merge_mode="sum",
    )(i)
    return layers.Dense(3)(x)


def rows_of_unknown_length(i):
    x = layers.Reshape((8, -1))(conv(4)(i))
    x = layers.Permute((2, 1))(x)
    return layers.Dense(3)(layers.Dense(6)(x))


def stacked_frames(i):
    return layers.Dense(3)(layers.Reshape((-1, 24))(conv()(i)))


def pairs_in_a_batch(i):
    return layers.Dense(3)(ops.reshape(conv()(i), (-1, 2, 8)))


def shared_normalization(i):
    shared = layers.BatchNormalization()
    a, b = shared(conv()(i)), shared(conv(activation="sigmoid")(i))
    return layers.Dense(3)(layers.Add()([a, b]))


def queries_and_values_apart(i):
    x = layers.GroupQueryAttention(4, 4, 2)(
        query=layers.Dense(8)(i), value=layers.Dense(8)(i)
    )
    return layers.Dense(3)(x)


def rescaled_with_and_without_channels(i):
    shared = layers.Rescaling(steps(3).tolist())
    return layers.Dense(3)(ops.concatenate([shared(conv(3)(i)), shared(i)]))


def slopes_with_and_without_channels(i):
    shared = layers.PReLU()
    return layers.Dense(3)(ops.concatenate([shared(conv(3)(i)), shared(i)]))


def one_scale_in_a_list(i):
    return layers.Dense(3)(layers.Rescaling([2.0])(conv()(i)))


def constant_in_a_list(i):
    return layers.Dense(3)(layers.Multiply()([conv()(i), steps(1, 6, 8)]))


def diagonal(i):
    return layers.Dense(2)(ops.einsum("bii->bi", conv(6)(i)))


def masked_heads(i):
    mask = np.ones((1, 4, 6, 6), bool)
    x = layers.Dense(8)(i)
    x = layers.MultiHeadAttention(4, 3)(x, x, attention_mask=mask)
    return layers.Dense(2)(x)


def reversed_embedding(i):
    table = layers.ReversibleEmbedding(9, 8)
    x = layers.Dense(8, activation="relu")(table(i))
    return table(x, reverse=True)


SIX = (6, 3)
CORNERS = {
    unknown_length_sliced: (None, 3),
    one_position: (None, 3),
    split_positions: SIX,
    query_along_time: (6, 6),
    operation_in_two_models: SIX,
    padded_with_ones: SIX,
    maximum_with_a_start: SIX,
    directions_that_differ: SIX,
    rows_of_unknown_length: (None, 1),
    stacked_frames: (None, 1),
    pairs_in_a_batch: SIX,
    shared_normalization: SIX,
    queries_and_values_apart: SIX,
    rescaled_with_and_without_channels: SIX,
    slopes_with_and_without_channels: SIX,
    one_scale_in_a_list: SIX,
    constant_in_a_list: SIX,
    diagonal: SIX,
    masked_heads: SIX,
}


def corner(build):
    inputs = keras.Input(CORNERS[build])
    model = distinct_weights(keras.Model(inputs, build(inputs)))
    shape = (2, *(size or 12 for size in CORNERS[build]))
    return model, np.random.default_rng(0).normal(size=shape).astype("float32")


def draw(group):
    """A third of the channels of a group that may shrink."""
    count = group.channels // 3 if group.frozen is None else 0
    return np.random.default_rng(1).permutation(group.channels)[:count]


@pytest.mark.parametrize("build", CORNERS, ids=lambda b: b.__name__)
def test_removed_channels_are_not_heard(build):
    model, inputs = corner(build)
    groups = list(surgery.channel_groups(model))
    removed = removed_channels(groups, dict(enumerate(map(draw, groups))))
    smaller = surgery.remove_filters(model, removed)
    wanted = silenced_outputs(model, removed, [inputs])
    wanted = np.concatenate([np.ravel(output) for output in wanted])
    assert difference(wanted, predict(smaller, inputs)) < 1e-4


@pytest.mark.parametrize("build", CORNERS, ids=lambda b: b.__name__)
def test_zeroed_channels_go_without_a_trace(build):
    model, inputs = corner(build)
    for group in surgery.channel_groups(model):
        gone = np.zeros(group.channels, bool)
        gone[draw(group)] = True
        for share in group.shares if group.keeps_zero else ():
            value = keras.ops.convert_to_numpy(share.weight).copy()
            silent = (share.channels >= 0) & gone[share.channels]
            np.moveaxis(value, share.axis, 0)[silent] = 0
            share.weight.assign(value)
    smaller = surgery.remove_pruned_filters(model)
    wanted = predict(model, inputs)
    assert difference(wanted, predict(smaller, inputs)) < 1e-5


def test_words_and_scores_of_words_share_their_table():
    inputs = keras.Input((6,), dtype="int32")
    model = keras.Model(inputs, reversed_embedding(inputs))
    distinct_weights(model)
    (group,) = [g for g in surgery.channel_groups(model) if not g.frozen]
    assert group.channels == 8
    smaller = surgery.remove_filters(model, {group.makers[0]: [1, 6]})
    assert smaller.output_shape == (None, 6, 9)
