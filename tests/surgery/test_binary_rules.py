"""Layers of few bits stay whole, and what is around them may go."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

import fritz_compress as fc
from fritz_compress import layers as ours
from fritz_compress.models import BinaryLeNet5, BinaryResNet
from fritz_compress.surgery import channel_groups, fold_normalization

REASON = "computes with few bits, where a zero is a sign"
FEW_BITS = {
    "convolution": lambda: ours.BinaryConv2D(6, 3, name="few"),
    "BWN": lambda: ours.BinaryConv2D(
        6,
        3,
        kernel_quantizer="magnitude_aware_sign",
        input_quantizer=None,
        name="few",
    ),
    "depthwise": lambda: ours.BinaryDepthwiseConv2D(3, name="few"),
    "XNOR": lambda: ours.XnorConv2D(6, 3, name="few"),
    "dense": lambda: ours.BinaryDense(6, name="few"),
    "XNOR dense": lambda: ours.XnorDense(6, name="few"),
    # Its filters of zeros would be zero; it is whole all the same.
    "few bits of inputs": lambda: ours.BinaryDense(
        6, kernel_quantizer=None, name="few"
    ),
}


def network(few):
    """Two float convolutions, a layer of few bits, two of floats."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, name="first")(inputs)
    x = layers.BatchNormalization(name="first_norm")(x)
    x = layers.ReLU(name="first_relu")(x)
    x = layers.Conv2D(7, 1, name="read_by_few")(x)
    x = few()(x)
    x = layers.Conv2D(5, 1, name="after")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    outputs = layers.Dense(2, name="logits")(x)
    return distinct_weights(keras.Model(inputs, outputs, name="mixed"))


def pictures():
    return np.random.default_rng(1).normal(size=(2, 12, 12, 3))


@pytest.mark.parametrize("case", FEW_BITS)
def test_the_rest_shrinks(case):
    """The readers of what goes are deaf to it: the oracle."""
    model = network(FEW_BITS[case])
    before = [w.copy() for w in model.get_weights()]
    smaller = fc.remove_filters(model, {"first": [0, 3], "after": [-1]})
    assert smaller.get_layer("first").filters == 6
    assert smaller.get_layer("after").filters == 4
    few = smaller.get_layer("few")
    for new, old in zip(few.weights, model.get_layer("few").weights):
        np.testing.assert_array_equal(new, old)
    for new, old in zip(model.get_weights(), before):
        np.testing.assert_array_equal(new, old)
    for name, axis, gone in (("read_by_few", 2, [0, 3]), ("logits", 0, [4])):
        kernel, bias = model.get_layer(name).get_weights()
        kernel[(slice(None),) * axis + (gone,)] = 0
        model.get_layer(name).set_weights([kernel, bias])
    np.testing.assert_allclose(
        smaller.predict(pictures(), verbose=0),
        model.predict(pictures(), verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("case", FEW_BITS)
def test_they_and_what_they_read_stay_whole(case):
    model = network(FEW_BITS[case])
    groups = channel_groups(model)
    assert REASON in groups.whole["few"]
    by_producer = {name: g for g in groups for name in g.producers}
    assert set(by_producer) == {"first", "read_by_few", "after", "logits"}
    read = by_producer["read_by_few"]
    assert "'few'" in read.frozen and REASON in read.frozen
    assert by_producer["first"].keeps_zero
    assert by_producer["after"].keeps_zero
    with pytest.raises(
        ValueError, match="Channel 0 of layer 'read_by_few'.*'few'.*" + REASON
    ):
        fc.remove_filters(model, {"read_by_few": [0]})
    with pytest.raises(ValueError, match="'few'.*" + REASON):
        fc.remove_filters(model, {"few": [0]})


def test_pruning_goes_around_them():
    model = network(FEW_BITS["XNOR"])
    smaller = fc.prune_filters(model, 0.5)
    sizes = [
        smaller.get_layer(name).filters
        for name in ("first", "read_by_few", "few", "after")
    ]
    assert sizes == [4, 7, 6, 4]
    assert np.isfinite(smaller.predict(pictures(), verbose=0)).all()


def test_zero_kernels_are_not_gone():
    """Zeroed filters of a float layer go; those that a sign reads do not."""
    model = network(FEW_BITS["convolution"])
    for name in ("first", "first_norm", "read_by_few"):
        for weight in model.get_layer(name).weights:
            values = keras.ops.convert_to_numpy(weight).copy()
            if "variance" not in weight.name:
                values[..., 2] = 0
            weight.assign(values)
    smaller = fc.surgery.remove_pruned_filters(model)
    assert smaller.get_layer("first").filters == 7
    assert smaller.get_layer("read_by_few").filters == 7
    np.testing.assert_allclose(
        smaller.predict(pictures(), verbose=0),
        model.predict(pictures(), verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "build, frozen",
    [
        (lambda: BinaryResNet.build(depth=8), "stem_convolution"),
        (BinaryLeNet5.build, "conv1"),
    ],
    ids=["BinaryResNet", "BinaryLeNet5"],
)
def test_networks_with_nothing_else_say_so(build, frozen):
    with pytest.raises(
        ValueError, match=f"has nothing to prune. {frozen}: '.*{REASON}"
    ):
        fc.prune_filters(build(), 0.25)


def test_what_a_network_has_beside_them_is_pruned():
    class WiderStem(BinaryLeNet5):
        @classmethod
        def features(cls, x, alpha, bits):
            x = layers.Conv2D(8, 3, padding="same", name="stem")(x)
            return super().features(x, alpha, bits)

    model = distinct_weights(WiderStem.build())
    smaller = fc.prune_filters(model, 0.5)
    assert smaller.get_layer("stem").filters == 4
    assert smaller.get_layer("conv1").filters == 20
    digits = np.random.default_rng(0).normal(size=(3, 28, 28, 1))
    assert smaller.predict(digits, verbose=0).shape == (3, 10)


def test_factorization_leaves_them():
    model = network(lambda: ours.BinaryConv2D(64, 3, name="few"))
    smaller, report = fc.factorize(
        model, {"layer_name_configs": {"after": {"rank": 2}}}
    )
    (row,) = (row for row in report.layers if row.name == "few")
    assert row.note == "its kernel has few bits, products of factors have more"
    assert row.method == "" and row.parameters_after == row.parameters_before
    assert type(smaller.get_layer("few")) is ours.BinaryConv2D
    (row,) = (row for row in report.layers if row.name == "after")
    assert row.method
    for new, old in zip(
        smaller.get_layer("few").weights, model.get_layer("few").weights
    ):
        np.testing.assert_array_equal(new, old)


def test_constants_for_normalizations_leave_them():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(7, 3, name="stem")(inputs)
    x = ours.InstanceNormalization(name="norm")(x)
    x = ours.XnorConv2D(6, 3, padding="same", pad_values=1, name="few")(x)
    model = distinct_weights(keras.Model(inputs, x))
    photos = np.random.default_rng(0).uniform(size=(1, 12, 12, 3))
    folded = fold_normalization(model, photos, standardize=False)
    few, old = folded.get_layer("few"), model.get_layer("few")
    assert few.get_config() == old.get_config()
    for new, weight in zip(few.weights, old.weights, strict=True):
        np.testing.assert_array_equal(new, weight)
    # Of the one photo the averages are its own statistics.
    np.testing.assert_allclose(
        folded.predict(photos, verbose=0),
        model.predict(photos, verbose=0),
        rtol=1e-3,
        atol=1e-4,
    )
