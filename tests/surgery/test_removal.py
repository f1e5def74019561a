"""What a removal carries over, refuses, and reports."""

import zipfile

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from removal_oracle import predict, samples

from fritz_compress import surgery


def build():
    return distinct_weights(
        keras.Sequential(
            [
                keras.Input((8, 8, 3), name="image"),
                layers.Conv2D(6, 3, name="first"),
                layers.BatchNormalization(name="norm"),
                layers.ReLU(name="relu"),
                layers.Conv2D(5, 3, name="second"),
                layers.GlobalAveragePooling2D(name="pool"),
                layers.Dense(4, activation="softmax", name="head"),
            ],
            name="classifier",
        )
    )


ERRORS = {
    "unknown": (
        {"frist": [0]},
        "Model 'classifier' has no layer of this name. Received: 'frist'. "
        "Did you mean 'first'?",
    ),
    "out_of_range": (
        {"first": [0, 6, -7]},
        "Layer 'first' has 6 channels, so that indices must be in [-6, 6). "
        "Received: [6, -7].",
    ),
    "not_integers": (
        {"first": [0.5]},
        "Filters of layer 'first' must be a list of integers. "
        "Received: [0.5].",
    ),
    "a_mask": (
        {"second": np.array([True, False, False, False, True])},
        "Filters of layer 'second' must be a list of integers. Received: "
        "[True, False, False, False, True]. Pass the indices of a mask: "
        "`np.flatnonzero(mask)`.",
    ),
    "a_number": (
        {"first": 3},
        "Filters of layer 'first' must be a list of integers. Received: 3.",
    ),
    "output": (
        {"head": [1]},
        "Channel 1 of layer 'head' cannot be removed. It must stay: an output "
        "of the model. `channel_groups(model)` lists",
    ),
    "all": (
        {"second": [0, 1, 2, 3, 4]},
        "Layer 'second' (Conv2D) would lose all of its 5 channels. Leave at "
        "least one of them",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    filters, message = ERRORS[case]
    model = build()
    weights = model.get_weights()
    with pytest.raises(ValueError) as error:
        surgery.remove_filters(model, filters)
    assert str(error.value).startswith(message)
    for before, after in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(before, after)


def test_models_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        pass

    for model in (Subclassed(), keras.Sequential([layers.Dense(2)])):
        with pytest.raises(ValueError, match="Functional or a built"):
            surgery.channel_groups(model)
        with pytest.raises(ValueError, match="Functional or a built"):
            surgery.remove_filters(model, {})


def test_a_layer_instead_of_its_name():
    model = build()
    with pytest.raises(TypeError, match="Conv2D 'first'. Pass the string"):
        surgery.remove_filters(model, {model.get_layer("first"): [0]})


def test_a_list_instead_of_a_mapping():
    message = r"`filters` must be a mapping .*Received: \['first'\]."
    with pytest.raises(TypeError, match=message):
        surgery.remove_filters(build(), ["first"])


def test_what_is_no_model():
    for call, name in (
        (lambda: surgery.remove_filters(None, {}), "model"),
        (lambda: surgery.remove_pruned_filters(None), "model"),
        (lambda: surgery.removal_report(None, build()), "before"),
        (lambda: surgery.removal_report(build(), None), "after"),
    ):
        message = f"`{name}` must be a Keras model. Received: None."
        with pytest.raises(TypeError, match=message):
            call()


def test_weights_that_are_no_numbers():
    model = build()
    kernel = model.get_layer("second").kernel
    kernel.assign(keras.ops.full(kernel.shape, float("nan")))
    with pytest.raises(ValueError, match="NaN in 'kernel' of layer 'second'"):
        surgery.remove_pruned_filters(model)


def test_round_to_is_checked():
    with pytest.raises(ValueError, match="at least 1. Received: round_to=0"):
        surgery.remove_pruned_filters(build(), round_to=0)
    with pytest.raises(TypeError, match="whole number.*round_to=1.5"):
        surgery.remove_pruned_filters(build(), round_to=1.5)


def test_slice_that_would_lose_all_channels():
    inputs = keras.Input((4, 4, 3))
    left = layers.Conv2D(2, 3, name="left")(inputs)
    right = layers.Conv2D(2, 3, name="right")(inputs)
    x = layers.Concatenate()([left, right])
    x = layers.Conv2D(2, 1, groups=2, name="grouped")(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    with pytest.raises(ValueError, match="'left'.* would lose all of its 2"):
        surgery.remove_filters(model, {"left": [0, 1]})


def test_nothing_to_remove_gives_an_equal_model():
    model = build()
    for filters in ({}, {"first": []}):
        smaller = surgery.remove_filters(model, filters)
        assert smaller is not model
        np.testing.assert_allclose(
            predict(smaller, samples(model)), predict(model, samples(model))
        )


def test_any_layer_can_name_the_channels():
    for name in ("first", "norm", "relu"):
        smaller = surgery.remove_filters(build(), {name: np.array([-1])})
        assert smaller.get_layer("first").filters == 5
    smaller = surgery.remove_filters(build(), {"pool": (0,)})
    assert smaller.get_layer("second").filters == 4


def test_settings_are_carried_over():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image", dtype="float16"),
            layers.Conv2D(
                6,
                3,
                name="first",
                kernel_initializer=keras.initializers.HeNormal(seed=7),
                kernel_regularizer=keras.regularizers.L2(0.01),
                kernel_constraint="non_neg",
                bias_initializer="ones",
            ),
            layers.BatchNormalization(name="norm", momentum=0.5),
            layers.Conv2D(5, 3, name="second", dtype="mixed_float16"),
            layers.Conv2D(2, 3, name="head"),
        ],
        name="settings",
    )
    model.get_layer("norm").trainable = False
    smaller = surgery.remove_filters(model, {"first": [0]})

    wanted = model.get_config()
    wanted["layers"][1]["config"]["filters"] = 5
    for layer in wanted["layers"]:
        layer.pop("build_config", None)
    received = smaller.get_config()
    for layer in received["layers"]:
        layer.pop("build_config", None)
    assert received == wanted
    assert not smaller.get_layer("norm").trainable
    assert [w.name for w in smaller.trainable_weights] == [
        w.name for w in model.trainable_weights
    ]
    assert smaller.name == "settings"
    assert len(smaller.losses) == 1


@pytest.mark.parametrize("wrapped", [False, True])
def test_adapted_normalization_is_carried_over(wrapped):
    norm = layers.Normalization(name="norm")
    data = np.random.default_rng(0).normal(100, 50, (20, 8, 8, 3))
    norm.adapt(data[:, 0] if wrapped else data)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.TimeDistributed(norm) if wrapped else norm,
            layers.Conv2D(6, 3, name="first"),
            layers.Conv2D(2, 3, name="head"),
        ]
    )
    smaller = surgery.remove_filters(model, {})
    images = data[:2].astype("float32")
    expected = predict(model, images)
    assert abs(expected).max() > 0.01
    np.testing.assert_allclose(predict(smaller, images), expected, rtol=1e-5)


def lookup_model(lookup):
    inputs = keras.Input((3,), dtype="int32")
    x = layers.Embedding(5, 4)(lookup(inputs))
    x = layers.Dense(6, name="first")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(2)(x))


def test_a_vocabulary_is_carried_over_or_refused():
    given = layers.IntegerLookup(vocabulary=[3, 7, 9])
    model = lookup_model(given)
    smaller = surgery.remove_filters(model, {})
    words = np.array([[3, 9, 7]], "int32")
    np.testing.assert_array_equal(
        predict(smaller, words), predict(model, words)
    )

    adapted = layers.IntegerLookup(max_tokens=5, name="words")
    adapted.adapt(np.array([3, 7, 9]))
    message = r"Layer 'words' \(IntegerLookup\) must have its vocabulary as"
    with pytest.raises(ValueError, match=message):
        surgery.remove_filters(lookup_model(adapted), {"first": [0]})


class Nameless(keras.regularizers.Regularizer):
    def __call__(self, x):
        return keras.ops.sum(x)

    def get_config(self):
        return {}


class NamelessConstraint(keras.constraints.Constraint):
    def __call__(self, w):
        return w


class OwnInitializer(layers.Layer):
    """Has an initializer that is not an argument."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.kernel_initializer = keras.initializers.get("he_normal")

    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[-1],), initializer=self.kernel_initializer
        )

    def call(self, x):
        return x * self.kernel


def test_objects_that_no_name_finds_are_carried_over():
    penalty, constraint = Nameless(), NamelessConstraint()
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(
                6,
                3,
                name="first",
                kernel_regularizer=penalty,
                kernel_constraint=constraint,
            ),
            layers.Conv2D(4, 3),
            OwnInitializer(name="own"),
            layers.Conv2D(2, 3),
        ]
    )
    smaller = surgery.remove_filters(model, {"first": [0]})
    assert smaller.get_layer("first").kernel_regularizer is penalty
    assert smaller.get_layer("first").kernel_constraint is constraint
    np.testing.assert_array_equal(
        smaller.get_layer("own").kernel, model.get_layer("own").kernel
    )


def test_functional_input_names_and_frozen_nested_model():
    base_input = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="conv")(base_input)
    x = layers.BatchNormalization()(x)
    base = keras.Model(base_input, x, name="base")
    base.trainable = False
    inputs = {"left": keras.Input((8, 8, 3), name="left")}
    outputs = layers.Conv2D(2, 3, name="head")(base(inputs["left"]))
    model = keras.Model(inputs, outputs, name="outer")

    smaller = surgery.remove_filters(model, {"conv": [0]})

    assert list(smaller.input) == ["left"]
    assert smaller.get_layer("left").name == "left"
    assert not smaller.get_layer("base").trainable
    assert not smaller.get_layer("base").get_layer("conv").trainable
    assert len(smaller.trainable_weights) == 2


def test_a_loss_that_cannot_be_copied_is_shared():
    model = build()
    model.compile("adam", loss=lambda y, p: keras.ops.mean(p))
    smaller = surgery.remove_filters(model, {"first": [0]})
    assert smaller.loss is model.loss
    functional = keras.Model(model.inputs, model.outputs)
    functional.compile("adam", loss=lambda y, p: keras.ops.mean(p))
    smaller = surgery.remove_filters(functional, {"first": [0]})
    assert smaller.loss is functional.loss


def test_save_and_load_without_our_code(tmp_path):
    smaller = surgery.remove_filters(build(), {"first": [0], "second": [1]})
    smaller.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"fritz" not in archive.read("config.json")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = samples(smaller)
    np.testing.assert_array_equal(
        predict(loaded, inputs), predict(smaller, inputs)
    )


def test_removing_twice():
    model = build()
    once = surgery.remove_filters(model, {"first": [0, 3], "second": [2]})
    twice = surgery.remove_filters(model, {"first": [0]})
    twice = surgery.remove_filters(twice, {"first": [2], "second": [2]})
    for ours, theirs in zip(once.get_weights(), twice.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


def test_the_given_model_gets_no_new_calls():
    model = build()
    calls = [len(layer._inbound_nodes) for layer in model.layers]
    surgery.remove_filters(model, {"first": [0]})
    assert [len(layer._inbound_nodes) for layer in model.layers] == calls


def test_report():
    model = build()
    smaller = surgery.remove_filters(model, {"first": [0, 1]})
    report = surgery.removal_report(model, smaller)
    assert report.parameters_before == model.count_params() == 491
    assert report.parameters_after == smaller.count_params() == 337
    assert report.layers[0] == surgery.LayerChange(
        "first", "Conv2D", 6, 4, 168, 112
    )
    assert str(report).splitlines() == [
        "layer   kind                channels  parameters",
        "first   Conv2D              6 -> 4    168 -> 112",
        "norm    BatchNormalization  6 -> 4    24 -> 16",
        "second  Conv2D              5         275 -> 185",
        "head    Dense               4         24",
        "total                                 491 -> 337",
        "skipped head: frozen: an output of the model",
    ]


def test_report_of_other_models_is_refused():
    other = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="x")])
    with pytest.raises(ValueError, match="must have the layers of"):
        surgery.removal_report(build(), other)


def test_names_used_twice_need_a_path():
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for name in ("left", "right"):
        x = keras.Sequential(
            [keras.Input(x.shape[1:]), layers.Conv2D(5, 3, name="conv")],
            name=name,
        )(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    with pytest.raises(ValueError) as error:
        surgery.remove_filters(model, {"conv": [0]})
    assert "Did you mean 'left/conv' or 'right/conv'?" in str(error.value)
    smaller = surgery.remove_filters(model, {"right/conv": [0]})
    assert smaller.get_layer("right").get_layer("conv").filters == 4
    assert smaller.get_layer("left").get_layer("conv").filters == 5
