"""Grouped convolutions: all groups stay equal, whichever channels go."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from removal_oracle import assert_exact, difference, predict, samples

from fritz_compress import surgery
from fritz_compress.models import ShuffleNetV1
from fritz_compress.surgery.balance import balance
from fritz_compress.surgery.labels import Labels


def balanced(labels, groups, united=(), frozen=()):
    """Classes after balancing, as lists of labels."""
    store = Labels()
    store.new(max(labels) + 1)
    for pair in united:
        store.unite(*np.array(pair)[:, None])
    store.freeze(np.array(frozen, int), "frozen before")
    balance(store, np.array(labels), groups, "groups differ")
    roots = store.roots(np.array(labels))
    classes = [sorted(set(np.array(labels)[roots == r])) for r in set(roots)]
    return sorted([int(x) for x in one] for one in classes), store


def test_equal_places_go_together():
    classes, _ = balanced([0, 1, 2, 3, 4, 5], 2)
    assert classes == [[0, 3], [1, 4], [2, 5]]


def test_labels_in_all_groups_are_balanced_already():
    classes, _ = balanced([0, 1, 2, 2, 0, 1], 2)
    assert classes == [[0], [1], [2]]


def test_after_a_shuffle():
    """Four columns of three, read in groups of four: one column straddles."""
    shuffled = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    classes, _ = balanced(shuffled, 3)
    assert classes == [[0, 1, 2, 3]]
    classes, _ = balanced(np.repeat(np.arange(6), 3).tolist(), 3)
    assert classes == [[0, 2, 4], [1, 3, 5]]
    # Twenty columns in groups of twenty: six each, two columns left over.
    classes, _ = balanced(np.repeat(np.arange(20), 3).tolist(), 3)
    assert len(classes) == 7 and [6, 13] in classes and [0, 7, 14] in classes


def test_kinds_of_spread_make_classes_together():
    # (2, 0) twice and (0, 1) four times: two classes of one and two.
    labels = [0, 0, 1, 1, 2, 3, 4, 5]
    classes, _ = balanced(labels, 2)
    assert classes == [[0, 2, 3], [1, 4, 5]]


def test_frozen_channels_need_no_balance():
    classes, store = balanced([0, 1, 2, 3, 4, 5], 2, frozen=[0, 4])
    assert classes == [[0], [1, 3], [2, 5], [4]]
    assert store.reason(2) is None


def test_what_cannot_be_balanced_stays():
    classes, store = balanced([0, 1, 2, 3], 2, frozen=[0])
    assert [c for c in classes if len(c) > 1] == [[1, 2]]
    assert store.reason(3) == "groups differ"


class TwoUnits(ShuffleNetV1):
    """Stage 2 of ShuffleNet, one unit of stride 2 and one of stride 1."""

    repeats = (2,)


class Unlayered(TwoUnits):
    """The same, its channels shuffled by layers of Keras."""

    @classmethod
    def shuffled(cls, x, groups, name):
        height, width, channels = x.shape[1:]
        rows = (height, width, groups, channels // groups)
        x = layers.Reshape(rows)(x)
        x = layers.Permute((1, 2, 4, 3))(x)
        return layers.Reshape((height, width, channels), name=name)(x)


def two_units(builder, groups):
    model = builder.build(
        (16, 16), groups=groups, classes=3, classifier_activation=None
    )
    return distinct_weights(model)


shuffle_nets = pytest.mark.parametrize("groups", [2, 3, 4, 8])
shuffles = pytest.mark.parametrize("builder", [TwoUnits, Unlayered])


@shuffles
@shuffle_nets
def test_shuffle_net_does_not_collapse(builder, groups):
    model = two_units(builder, groups)
    inside, between = "stage_2_2_in_convolution", "stage_2_2_out_convolution"
    filters = model.get_layer(inside).filters
    found = surgery.channel_groups(model)
    own = [g for g in found if g.makers == (inside,)]
    assert sum(g.channels for g in own) >= filters // groups // groups
    assert all(g.frozen is None for g in own)
    trunk = [g for g in found if between in g.makers]
    assert sum(g.channels for g in trunk) >= 20


@shuffle_nets
def test_a_shuffle_by_layers_of_keras_has_the_same_groups(groups):
    one, other = (
        surgery.channel_groups(two_units(builder, groups))
        for builder in (TwoUnits, Unlayered)
    )
    assert [(g.makers, g.channels, g.frozen) for g in one] == [
        (g.makers, g.channels, g.frozen) for g in other
    ]


@shuffles
@shuffle_nets
def test_shuffle_net_zeroed_by_hand(builder, groups):
    """Zeroed channels, normalization included, go without a trace."""
    model = two_units(builder, groups)
    rng = np.random.default_rng(0)
    for group in surgery.channel_groups(model):
        if group.frozen:
            continue
        gone = rng.random(group.channels) < 0.4
        gone[rng.integers(group.channels)] = False
        for share in group.shares:
            value = keras.ops.convert_to_numpy(share.weight).copy()
            silent = (share.channels >= 0) & gone[share.channels]
            np.moveaxis(value, share.axis, 0)[silent] = 0
            share.weight.assign(value)
    wanted = predict(model, samples(model))
    smaller = surgery.remove_pruned_filters(model)
    assert smaller.count_params() < 0.75 * model.count_params()
    assert difference(wanted, predict(smaller, samples(model))) < 1e-5


def test_groups_may_lose_other_places():
    """What each group reads is cut on its own."""
    inputs = keras.Input((4, 4, 3))
    left = layers.Conv2D(4, 1, name="left")(inputs)
    right = layers.Conv2D(4, 1, name="right")(inputs)
    # Channel 0 of the input stays in the first group only.
    x = layers.Concatenate()([inputs[..., :1], left, right[..., 1:]])
    x = layers.Conv2D(6, 3, groups=2, name="grouped")(x)
    model = distinct_weights(
        keras.Model(inputs, layers.Conv2D(2, 1, name="head")(x))
    )
    groups = surgery.channel_groups(model)
    (group,) = [g for g in groups if set(g.makers) == {"left", "right"}]
    tied = group.producers["left"].tolist(), group.producers["right"].tolist()
    chosen = next(i for i in tied[0] if i >= 0 and i in tied[1])
    places = tied[0].index(chosen), tied[1].index(chosen)
    kernel = keras.ops.convert_to_numpy(
        model.get_layer("grouped").kernel
    ).copy()
    kernel[:, :, 1 + places[0], :3] = 0
    kernel[:, :, places[1], 3:] = 0
    smaller = surgery.remove_filters(model, {"left": [places[0]]})
    model.get_layer("grouped").kernel.assign(kernel)
    inputs = samples(model)
    wanted = predict(model, inputs)
    assert difference(wanted, predict(smaller, inputs)) < 1e-5


@pytest.mark.parametrize("multiplier", [1, 2])
def test_one_channel_per_group_is_a_depthwise_convolution(multiplier):
    model = distinct_weights(
        keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(6, 1, name="before"),
                layers.Conv2D(6 * multiplier, 3, groups=6, name="each"),
                layers.ReLU(),
                layers.Conv2D(4, 1, name="head"),
            ]
        )
    )
    heard = [i * multiplier + j for i in (1, 4) for j in range(multiplier)]
    smaller = assert_exact(model, {"before": [1, 4]}, {"head": (2, heard)})
    assert smaller.get_layer("each").groups == 4
    assert smaller.get_layer("each").filters == 4 * multiplier
