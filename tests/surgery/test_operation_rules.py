"""Operations of keras.ops in a functional model."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, ops
from removal_oracle import assert_exact

from fritz_compress import surgery

EACH = np.arange(1, 9, dtype="float32")  # A constant for every channel.


def model_of(between, head=None, shape=(6, 6, 3)):
    inputs = keras.Input(shape)
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    x = between(x)
    head = head or layers.Dense(3, name="head")
    return distinct_weights(keras.Model(inputs, head(x)))


# What is done to eight channels, and where channels 1 and 6 are afterwards.
IN_PLACE = {
    "scalars": lambda x: (2 * x + 1) / 3 - 0.5,
    "constants": lambda x: x * EACH,
    "added_constants": lambda x: ops.add(EACH, x),
    "divided_by_constants": lambda x: x / EACH,
    "power": lambda x: ops.power(ops.abs(x), EACH / 8),
    "unary": lambda x: ops.tanh(ops.square(ops.exp(ops.clip(x, -1, 1)))),
    "activation": lambda x: ops.leaky_relu(ops.silu(x)),
    "cast": lambda x: ops.cast(ops.cast(x, "float16"), "float32"),
    "both": lambda x: ops.maximum(x, -x) * ops.sigmoid(x),
    "where": lambda x: ops.where(x > 0, x, 0.1 * x),
    "mean_over_positions": lambda x: ops.mean(x, axis=(1, 2)),
    "maximum_kept": lambda x: ops.max(x, axis=2, keepdims=True),
    "spread": lambda x: ops.std(x, axis=1) + ops.var(x, axis=2),
    "product": lambda x: ops.prod(1 + 0.1 * x, axis=1),
    "accumulated": lambda x: ops.cumsum(x, axis=1) + ops.cumprod(x, axis=-2),
    "expand_squeeze": lambda x: ops.squeeze(ops.expand_dims(x, 1), 1),
    "pooling": lambda x: ops.average_pool(
        ops.max_pool(x, (2, 2), (2, 2)), (2, 2), (2, 2)
    ),
    "pad_positions": lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 2), (0, 0))),
    "transposed_twice": lambda x: ops.transpose(
        ops.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1)
    ),
    "swapped": lambda x: ops.swapaxes(ops.moveaxis(x, 3, 1), 1, 3),
    "reshaped": lambda x: ops.reshape(x, (-1, 16, 8)),
    "slice_positions": lambda x: x[:, 1:, ::2],
    "softmax_over_positions": lambda x: ops.softmax(x, axis=1),
    "repeated_positions": lambda x: ops.repeat(x, 2, axis=1),
}


@pytest.mark.parametrize("case", IN_PLACE)
def test_channels_in_place(case):
    assert_exact(
        model_of(IN_PLACE[case]), {"conv": [1, 6]}, {"head": (0, [1, 6])}
    )


# What is done, and where channels 1 and 6 of eight are read afterwards.
MOVED = {
    "first_half": (lambda x: x[..., :4], [1]),
    "last_half": (lambda x: x[..., 4:], [2]),
    "strided": (lambda x: x[..., ::3], [2]),
    "odd": (lambda x: x[..., 1::2], [0]),
    "reversed": (lambda x: x[..., ::-1], [6, 1]),
    "negative": (lambda x: x[..., -3:-1], [1]),
    "ellipsis_and_new_axis": (lambda x: x[:, None, ..., 2:], [4]),
    "split": (
        lambda x: ops.concatenate(ops.split(x, 2, axis=-1)[::-1], axis=-1),
        [2, 5],
    ),
    "split_at": (
        lambda x: ops.concatenate(ops.split(x, [1, 5], axis=-1)[::-1], -1),
        [1, 3],
    ),
    "flipped": (lambda x: ops.flip(x, axis=-1), [6, 1]),
    "concatenated": (lambda x: ops.concatenate([x, 2 * x], -1), [1, 6, 9, 14]),
    "tiled": (lambda x: ops.tile(x, [1, 2, 1, 2]), [1, 6, 9, 14]),
    "repeated": (lambda x: ops.repeat(x, 2, axis=-1), [2, 3, 12, 13]),
    "padded": (
        lambda x: ops.pad(x, ((0, 0), (0, 0), (0, 0), (2, 1))),
        [3, 8],
    ),
    "flattened": (
        lambda x: ops.reshape(x, (-1, 4 * 4 * 8)),
        [p * 8 + c for p in range(16) for c in (1, 6)],
    ),
    "stacked": (
        lambda x: ops.reshape(
            ops.stack([x, ops.tanh(x)], axis=-1), (-1, 4, 4, 16)
        ),
        [2, 3, 12, 13],
    ),
}


@pytest.mark.parametrize("case", MOVED)
def test_channels_moved(case):
    move, heard = MOVED[case]
    assert_exact(model_of(move), {"conv": [1, 6]}, {"head": (0, heard)})


def test_channel_shuffle():
    def shuffle(x):
        x = ops.reshape(x, (-1, 4, 4, 2, 4))
        return ops.reshape(ops.transpose(x, (0, 1, 2, 4, 3)), (-1, 4, 4, 8))

    assert_exact(model_of(shuffle), {"conv": [1]}, {"head": (0, [2, 3])})


def test_slices_that_cannot_be_written_as_slices():
    """What is left of a stepped slice has no constant step."""
    smaller = assert_exact(
        model_of(lambda x: x[..., ::2]), {"conv": [2, 3]}, {"head": (0, [1])}
    )
    assert [layer.name for layer in smaller.layers][-1] == "head"


def test_slice_by_start_and_size():
    inputs = keras.Input(batch_shape=(2, 6, 6, 3))
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    x = ops.slice(x, (0, 1, 0, 1), (2, 2, 4, 6))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    distinct_weights(model)
    assert_exact(model, {"conv": [1, 6, 7]}, {"head": (0, [0, 5])})


def test_one_channel_taken_out_stays():
    model = model_of(
        lambda x: ops.concatenate([x, x[..., 2][..., None]], axis=-1)
    )
    groups = surgery.channel_groups(model).of("conv")
    assert [g.channels for g in groups] == [7, 1]
    assert "takes it out" in groups[1].frozen
    assert_exact(model, {"conv": [0, 7]}, {"head": (0, [0, 7])})


def test_sum_over_channels_is_a_reader():
    model = model_of(
        lambda x: ops.sum(ops.relu(x), axis=-1, keepdims=True) * x[..., :2]
    )
    group = surgery.channel_groups(model).of("conv")[0]
    assert "sum" in " ".join(group.readers)


STAYS = {
    "mean": (lambda x: ops.mean(x, axis=-1, keepdims=True), "reduces all"),
    "maximum": (lambda x: ops.max(x, axis=-1, keepdims=True), "reduces all"),
    "softmax": (lambda x: ops.softmax(x), "mixes channels"),
    "accumulated": (
        lambda x: ops.cumsum(x, axis=-1),
        "gets channels along another axis",
    ),
    "accumulated_flat": (
        lambda x: ops.reshape(ops.cumsum(x), (-1, 4)),
        "adds up over all axes",
    ),
    "reflected": (
        lambda x: ops.pad(x, ((0, 0),) * 3 + ((2, 2),), mode="reflect"),
        "pads with copies of channels",
    ),
    "rolled": (lambda x: ops.roll(x, 1, axis=-1), "(Roll) has no rule"),
    "picked": (lambda x: ops.take(x, [0, 3], axis=-1), "picks channels"),
    "sorted": (lambda x: ops.sort(x, axis=-1), "(Sort) has no rule"),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_stays_and_why(case):
    function, reason = STAYS[case]
    group, *_ = surgery.channel_groups(model_of(function)).of("conv")
    assert reason in group.frozen


@pytest.mark.parametrize(
    "case, revived",
    [("scalars", True), ("constants", False), ("added_constants", True)],
)
def test_zero_through_arithmetic(case, revived):
    (group,) = surgery.channel_groups(model_of(IN_PLACE[case])).of("conv")
    assert (group.revived is not None) == revived


def test_division_by_a_zeroed_channel_is_not_zero():
    def divide(x):
        return 1.0 / layers.Conv2D(8, 1, name="below")(x)

    group = surgery.channel_groups(model_of(divide)).of("below")[0]
    assert group.revived is not None


def test_operations_in_a_nested_model():
    inner_input = keras.Input((4, 4, 8))
    inner = keras.Model(
        inner_input, inner_input[..., :4] * EACH[:4], name="inner"
    )
    model = model_of(inner)
    assert_exact(model, {"conv": [1, 6]}, {"head": (0, [1])})


def test_rescaling_per_channel():
    model = model_of(
        layers.Rescaling(list(range(1, 9)), offset=[0.5] * 8, name="scale")
    )
    smaller = assert_exact(model, {"conv": [1, 6]}, {"head": (0, [1, 6])})
    scale = smaller.get_layer("scale")
    np.testing.assert_array_equal(scale.scale, [1, 3, 4, 5, 6, 8])


def test_adapted_normalization_between_layers():
    normalization = layers.Normalization(name="adapted")
    rng = np.random.default_rng(0)
    data = rng.normal(2, 3, (50, 4, 4, 8)).astype("float32")
    normalization.adapt(data * EACH)
    inputs = keras.Input((6, 6, 3))
    x = normalization(layers.Conv2D(8, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    for name in ("conv", "head"):
        distinct_weights(model.get_layer(name))
    assert_exact(model, {"conv": [1, 6]}, {"head": (0, [1, 6])})


def test_unit_normalization_is_deaf_to_zeros():
    model = model_of(layers.UnitNormalization())
    silent = {"conv": (3, [1, 6]), "conv#1": (0, [1, 6])}
    assert_exact(model, {"conv": [1, 6]}, silent)
