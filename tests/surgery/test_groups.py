"""Which channels must stay, which keep zeros, and what is said about it."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from removal_oracle import assert_exact, difference, predict, samples

from fritz_compress import surgery


def chain(*parts, size=(8, 8, 3), name="chain"):
    return distinct_weights(
        keras.Sequential([keras.Input(size), *parts], name=name)
    )


class Doubling(layers.Conv2D):
    def call(self, inputs):
        return 2 * super().call(inputs)


def own_activation(x):
    return x - keras.ops.mean(x, axis=-1, keepdims=True)


CONV = "'conv' (Conv2D) "
STAYS = {
    "softmax": (
        lambda: [layers.Softmax(name="between")],
        "'between' (Softmax) mixes channels",
    ),
    "activation": (
        lambda: [layers.Activation("softmax", name="between")],
        "'between' (Activation) applies 'softmax', which may mix channels",
    ),
    "own_activation": (
        lambda: [layers.Activation(own_activation, name="between")],
        "'between' (Activation) applies 'own_activation', which may mix",
    ),
    "layer_normalization": (
        lambda: [layers.LayerNormalization(name="between")],
        "'between' (LayerNormalization) takes its statistics over several",
    ),
    "group_normalization": (
        lambda: [layers.GroupNormalization(3, name="between")],
        "'between' (GroupNormalization) takes its statistics over several",
    ),
    "resizing": (
        lambda: [
            layers.Resizing(6, 7, pad_to_aspect_ratio=True, name="between")
        ],
        "'between' (Resizing) pads with a value of its own",
    ),
    "lambda": (
        lambda: [layers.Lambda(lambda x: x[..., ::-1], name="between")],
        "'between' (Lambda) has no rule",
    ),
    "subclass": (
        lambda: [Doubling(4, 1, name="between")],
        "'between' (Doubling) has no rule",
    ),
    "convolution_over_channels": (
        lambda: [
            layers.Permute((1, 3, 2)),
            layers.Conv2D(4, 1, name="between"),
        ],
        "'between' (Conv2D) gets channels along another axis",
    ),
    "renormalization": (
        lambda: [layers.BatchNormalization(renorm=True, name="between")],
        "'between' (BatchNormalization) has weights without a rule",
    ),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_stays_and_why(case):
    make, reason = STAYS[case]
    model = chain(
        layers.Conv2D(6, 3, name="conv"),
        *make(),
        layers.Conv2D(5, 3, name="free"),
        layers.Conv2D(4, 3, name="head"),
    )
    groups = surgery.channel_groups(model)
    (group,) = groups.of("conv")
    assert reason in group.frozen
    assert not group.keeps_zero
    covered = "mixes", "statistics", "another axis"
    if not any(words in reason for words in covered):
        assert "between" in groups.whole
    with pytest.raises(ValueError) as error:
        surgery.remove_filters(model, {"conv": [1]})
    assert "Channel 1 of layer 'conv' cannot be removed" in str(error.value)
    assert reason in str(error.value)
    # What is free shrinks all the same, and the rest is copied as it is.
    assert_exact(model, {"free": [1]}, {"head": (2, [1])})


def test_built_in_softmax_stays():
    model = chain(
        layers.Conv2D(6, 3, activation="softmax", name="conv"),
        layers.Conv2D(4, 3, activation=own_activation, name="own"),
        layers.Dense(2),
    )
    groups = surgery.channel_groups(model)
    assert groups.of("conv")[0].frozen == (
        "'conv' (Conv2D) has the activation 'softmax', which may mix them"
    )
    assert "own_activation" in groups.of("own")[0].frozen


def test_output_input_and_single_channel_stay():
    inputs = keras.Input((8, 8, 3))
    added = layers.Conv2D(3, 3, padding="same", name="added")(inputs)
    x = layers.Add()([inputs, added])
    x = layers.Conv2D(1, 3, name="single")(x)
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="head")(x))
    groups = surgery.channel_groups(model)
    assert {next(iter(g.producers)): g.frozen for g in groups} == {
        "added": "an input of the model",
        "single": "the only channel of a tensor",
        "head": "an output of the model",
    }


def test_an_output_is_the_reason_whatever_else_keeps_it():
    inputs = keras.Input((6, 6, 3))
    gate = Doubling(3, 1, name="gate")(inputs)
    tied = layers.Conv2D(3, 1, name="tied")(inputs)
    other = layers.Conv2D(3, 1, name="other")(inputs)
    x = layers.Conv2D(4, 3, activation="softmax", name="head")(
        layers.Add()([tied, gate])
    )
    model = keras.Model(inputs, [x, layers.Add()([other, gate])])
    groups = surgery.channel_groups(model)
    assert groups.of("head")[0].frozen == "an output of the model"
    # What is tied to a layer without a rule, and is no output itself.
    assert groups.of("tied")[0].frozen == "'gate' (Doubling) has no rule"
    with pytest.raises(ValueError) as error:
        surgery.prune_filters(model, {"tied": 0.5})
    assert str(error.value).startswith(
        "Layer 'tied' must keep its channels: 'gate' (Doubling) has no rule. "
    )


def test_shared_reader_of_positions_keeps_the_channels_it_reads_elsewhere():
    inputs = keras.Input((8, 6, 6))
    shared = layers.Conv2D(5, 1, name="shared")
    x = layers.Conv2D(6, 1, name="conv")(inputs)
    good = shared(x)
    bad = shared(layers.Permute((1, 3, 2))(x))
    x = layers.Concatenate()([good, bad])
    model = keras.Model(inputs, layers.Conv2D(4, 3)(x))
    groups = surgery.channel_groups(model)
    assert "another axis" in groups.of("conv")[0].frozen
    assert groups.of("shared")[0].frozen is None


def relu_chain(*between):
    return chain(
        layers.Conv2D(6, 3, name="conv"),
        *between,
        layers.Conv2D(4, 3, name="head"),
    )


KEEPS_ZERO = {
    "relu": lambda: [layers.ReLU()],
    "tanh": lambda: [layers.Activation("tanh")],
    "gelu": lambda: [layers.Activation("gelu")],
    "prelu": lambda: [layers.PReLU()],
    "batch": lambda: [layers.BatchNormalization()],
    "batch_without_scale": lambda: [layers.BatchNormalization(scale=False)],
    "batch_without_center": lambda: [layers.BatchNormalization(center=False)],
    "batch_after_sigmoid": lambda: [
        layers.Activation("sigmoid"),
        layers.BatchNormalization(),
    ],
    "pooling": lambda: [
        layers.ZeroPadding2D(1),
        layers.MaxPooling2D(2, padding="same"),
        layers.UpSampling2D(2),
    ],
    "depthwise": lambda: [
        layers.Activation("sigmoid"),
        layers.DepthwiseConv2D(3),
    ],
    "rescaling": lambda: [layers.Rescaling(2.0)],
    "reshape": lambda: [layers.Permute((2, 1, 3)), layers.Reshape((36, 6))]
    + [layers.Reshape((6, 6, -1))],
}
REVIVES = {
    "sigmoid": (lambda: [layers.Activation("sigmoid", name="x")], "Activation"),
    "softplus": (
        lambda: [layers.Activation("softplus", name="x"), layers.ReLU()],
        "Activation",
    ),
    "rescaling": (
        lambda: [layers.Rescaling(2.0, offset=1, name="x")],
        "Rescaling",
    ),
    "batch_after_sigmoid": (
        lambda: [
            layers.Activation("sigmoid", name="x"),
            layers.BatchNormalization(scale=False),
        ],
        "Activation",
    ),
    "depthwise": (
        lambda: [layers.DepthwiseConv2D(3, activation="sigmoid", name="x")],
        "DepthwiseConv2D",
    ),
    "pooled": (
        lambda: [
            layers.Activation("exponential", name="x"),
            layers.Reshape((36, 6)),
            layers.Reshape((6, 6, 6)),
        ],
        "Activation",
    ),
}


def zero(model, layer, channels):
    """Zeroes channels as `FilterPruning` does."""
    (group,) = surgery.channel_groups(model).of(layer)
    for share in group.shares:
        values = keras.ops.convert_to_numpy(share.weight).copy()
        gone = np.isin(share.channels, channels)
        np.moveaxis(values, share.axis, 0)[gone] = 0
        share.weight.assign(values)
    return group


@pytest.mark.parametrize("case", KEEPS_ZERO)
def test_zeroed_channels_go_without_a_trace(case):
    model = relu_chain(*KEEPS_ZERO[case]())
    group = zero(model, "conv", [1, 4])
    assert group.keeps_zero and group.note == ""
    np.testing.assert_array_equal(np.flatnonzero(group.zeroed), [1, 4])
    inputs = samples(model)
    wanted = predict(model, inputs)

    smaller = surgery.remove_pruned_filters(model)

    assert smaller.get_layer("conv").filters == 4
    assert difference(wanted, predict(smaller, inputs)) < 1e-4


@pytest.mark.parametrize("case", REVIVES)
def test_channels_that_come_back_to_life_stay(case):
    make, kind = REVIVES[case]
    model = relu_chain(*make())
    group = zero(model, "conv", [1, 4])
    assert not group.keeps_zero
    assert group.frozen is None
    assert group.note == f"not zero after 'x' ({kind})"
    smaller = surgery.remove_pruned_filters(model)
    assert smaller.get_layer("conv").filters == 6
    # Rightly: the zeroed channels do have a say.
    inputs = samples(model)
    wanted = predict(model, inputs)
    removed = surgery.remove_filters(model, {"conv": [1, 4]})
    assert difference(wanted, predict(removed, inputs)) > 0.01


def test_zero_through_merges():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="summed")(inputs)
    y = layers.Conv2D(6, 3, activation="sigmoid", name="gate")(inputs)
    z = layers.Conv2D(6, 3, activation="sigmoid", name="bad")(inputs)
    w = layers.Conv2D(6, 3, name="good")(inputs)
    one = layers.Conv2D(1, 3, name="one")(inputs)
    v = layers.Conv2D(6, 3, name="shifted")(inputs)
    x = layers.Concatenate()(
        [layers.Multiply()([x, y]), layers.Add()([z, w]), v + one]
    )
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="head")(x))
    groups = surgery.channel_groups(model)
    assert groups.of("summed")[0].keeps_zero
    assert groups.of("bad")[0].revived == "'bad' (Conv2D)"
    assert "Add" in groups.of("shifted")[0].revived


def test_each_condition_of_zero_counts():
    """A kernel of zeros is not enough: the offset revives the channel."""
    model = relu_chain(layers.BatchNormalization(name="norm"))
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[..., 2] = 0
    bias[2] = 0
    model.get_layer("conv").set_weights([kernel, bias])
    (group,) = surgery.channel_groups(model).of("conv")
    assert not group.zeroed.any()
    zero(model, "conv", [2])
    for weight in model.get_layer("norm").weights[:3]:
        values = keras.ops.convert_to_numpy(weight).copy()
        assert values[2] == 0
        weight.assign(values + np.eye(6)[2])
        assert not group.zeroed.any()
        weight.assign(values)
    np.testing.assert_array_equal(np.flatnonzero(group.zeroed), [2])


def test_all_zero_group_keeps_one_channel():
    model = relu_chain(layers.ReLU())
    zero(model, "conv", range(6))
    wanted = predict(model, samples(model))
    smaller = surgery.remove_pruned_filters(model)
    assert smaller.get_layer("conv").filters == 1
    np.testing.assert_allclose(predict(smaller, samples(model)), wanted)


@pytest.mark.parametrize(
    "round_to, left", [(1, 3), (2, 4), (3, 3), (4, 4), (5, 5), (7, 6)]
)
def test_round_to_keeps_some_zeros(round_to, left):
    model = relu_chain(layers.ReLU())
    zero(model, "conv", [0, 2, 5])
    inputs = samples(model)
    smaller = surgery.remove_pruned_filters(model, round_to=round_to)
    assert smaller.get_layer("conv").filters == left
    assert difference(predict(model, inputs), predict(smaller, inputs)) < 1e-4


def test_nothing_zero_gives_an_equal_model():
    model = relu_chain(layers.ReLU())
    smaller = surgery.remove_pruned_filters(model)
    assert smaller is not model
    for ours, theirs in zip(model.get_weights(), smaller.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


def test_print():
    inputs = keras.Input((8, 8, 3))
    left = layers.Conv2D(8, 3, name="left")(inputs)
    right = layers.Conv2D(8, 3, name="right")(inputs)
    x = layers.Add()([left, right])
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(5, 3, activation="sigmoid", name="gate")(x)
    x = layers.Conv2D(3, 3, name="head")(x)
    x = layers.Softmax(name="softmax")(x)
    model = keras.Model(inputs, x, name="branches")
    groups = surgery.channel_groups(model)
    assert str(groups).splitlines() == [
        "Channel groups of 'branches': 3, of which 2 can shrink",
        "channels  layers",
        "       8  left, right (with norm)",
        "       5  gate  [not zero after 'gate' (Conv2D)]",
        "       3  head  [frozen: an output of the model]",
    ]
    assert len(groups) == 3
    assert groups.of("right")[0].readers == ("gate",)
    np.testing.assert_array_equal(
        groups.of("right")[0].producers["right"], range(8)
    )
