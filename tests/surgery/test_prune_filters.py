"""Which filters go, how many, and what is refused."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from removal_oracle import predict, samples

from fritz_compress import surgery
from fritz_compress.analysis import SensitivityTable

TABLE = SensitivityTable("net", "filters", "l1", "accuracy", "max", 0.9, ())


def build(first=8, second=6):
    return distinct_weights(
        keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(first, 3, name="first"),
                layers.BatchNormalization(name="norm"),
                layers.ReLU(name="relu"),
                layers.Conv2D(second, 3, name="second"),
                layers.GlobalAveragePooling2D(name="pool"),
                layers.Dense(4, activation="softmax", name="head"),
            ],
            name="classifier",
        )
    )


def widths(model):
    return {
        layer.name: layer.filters
        for layer in model.layers
        if hasattr(layer, "filters")
    }


def lowest(model, name, count):
    """The filters of the lowest L1 norms, in their order."""
    kernel = keras.ops.convert_to_numpy(model.get_layer(name).kernel)
    norms = abs(kernel).reshape(-1, kernel.shape[-1]).sum(axis=0)
    return np.sort(np.argsort(norms)[:count]).tolist()


def assert_equal_models(one, other):
    assert one.get_config() == other.get_config()
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_smallest_filters_go():
    model = build()
    config, weights = model.get_config(), model.get_weights()
    smaller = surgery.prune_filters(model, 0.5, round_to=1, min_filters=1)
    gone = {
        name: lowest(model, name, n)
        for name, n in {"first": 4, "second": 3}.items()
    }
    assert_equal_models(smaller, surgery.remove_filters(model, gone))
    first = keras.ops.convert_to_numpy(smaller.get_layer("first").kernel)
    np.testing.assert_array_equal(
        first, np.delete(weights[0], gone["first"], axis=-1)
    )
    assert model.get_config() == config
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "channels, fraction, round_to, min_filters, kept",
    [
        (16, 0.25, 4, 4, 12),
        (16, 0.3, 4, 4, 12),  # 11.2
        (17, 0.25, 4, 4, 12),  # 12.75
        (9, 0.25, 4, 4, 8),  # 6.75
        (16, 0.1, 1, 1, 14),  # 14.4, as in Li et al.
        (16, 0.99, 1, 1, 1),
        (16, 0.99, 4, 1, 4),
        (16, 0.99, 1, 4, 4),
        (16, 0.99, 4, 5, 8),
        (10, 0.7, 1, 1, 3),
        (10, 0.5, 8, 4, 8),
    ],
)
def test_how_many_stay(channels, fraction, round_to, min_filters, kept):
    smaller = surgery.prune_filters(
        build(channels),
        {"first": fraction},
        round_to=round_to,
        min_filters=min_filters,
    )
    assert widths(smaller) == {"first": kept, "second": 6}


NOTHING = (0.0, {}, {"first": 0.0, "second": 0})


@pytest.mark.parametrize("fraction", NOTHING, ids=str)
def test_nothing_to_prune_is_an_error(fraction):
    message = "Nothing to prune: `fraction` must be above 0, for one layer"
    with pytest.raises(ValueError, match=message):
        surgery.prune_filters(build(), fraction)


def test_a_layer_of_fraction_0_stays_whole():
    fractions = {"first": 0.0, "second": 0.5, "head": 0.0}
    for scope in ("layer", "global"):
        smaller = surgery.prune_filters(
            build(8, 8), fractions, scope=scope, round_to=1
        )
        assert widths(smaller) == {"first": 8, "second": 4}


def test_one_fraction_for_each_layer():
    smaller = surgery.prune_filters(
        build(8, 8), {"first": 0.5, "second": 0.25}, round_to=2
    )
    assert widths(smaller) == {"first": 4, "second": 6}


def nested():
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, name="deep"),
            layers.Conv2D(8, 3, name="deeper"),
        ],
        name="inner",
    )
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 1, name="outer")(inner(inputs))
    x = layers.GlobalAveragePooling2D()(x)
    return distinct_weights(keras.Model(inputs, layers.Dense(2)(x)))


def test_layers_and_models_are_ignored():
    model = nested()
    smaller = surgery.prune_filters(model, 0.5, ignored_layers=["inner"])
    assert widths(smaller) == {"outer": 4}
    assert widths(smaller.get_layer("inner")) == {"deep": 8, "deeper": 8}
    smaller = surgery.prune_filters(model, 0.5, ignored_layers=["deep"])
    assert widths(smaller) == {"outer": 4}
    assert widths(smaller.get_layer("inner")) == {"deep": 8, "deeper": 4}
    smaller = surgery.prune_filters(build(), 0.5, ignored_layers=["norm"])
    assert widths(smaller) == {"first": 8, "second": 4}


# The scores of the layer are its channels' numbers plus this.
RAISED = {"first": 0.0, "second": 3.0}


def raised(group):
    (name,) = group.producers
    return np.arange(group.channels) + RAISED[name]


class Raised(surgery.criteria.Criterion):
    comparable = True

    def group_scores(self, group):
        return raised(group)


def prune_globally(fraction, criterion, **options):
    options = {"round_to": 1, "min_filters": 1, **options}
    return widths(
        surgery.prune_filters(
            build(8, 8), fraction, criterion, scope="global", **options
        )
    )


@pytest.mark.parametrize(
    "fraction, options, kept",
    [
        # Scores 0..7 and 3..10: the lowest 8 of 16 are 0..5 and 3..4.
        (0.5, {}, (2, 6)),
        (0.25, {}, (4, 8)),
        (0.25, {"min_filters": 5}, (5, 7)),
        (0.9, {"min_filters": 4}, (4, 4)),
        (0.9, {}, (1, 1)),
        # Rounded to (4, 8), so that more can go until four are left.
        (0.5, {"round_to": 4}, (4, 4)),
        # (8, 8) would be the next multiples.
        (0.4, {"round_to": 4}, (4, 8)),
        ({"first": 0.5, "second": 0.5}, {}, (2, 6)),
        ({"first": 0.25}, {}, (6, 8)),
    ],
)
def test_all_channels_compete(fraction, options, kept):
    received = prune_globally(fraction, Raised(), **options)
    assert received == dict(zip(("first", "second"), kept))


def test_scores_on_scales_of_their_own_are_divided_by_their_mean():
    # 0..7 over 3.5 against 3..10 over 6.5: 0, .29, .46, .57, .62, .77, .86.
    assert prune_globally(7 / 16, raised) == {"first": 4, "second": 5}


def test_filters_of_grouped_convolutions_are_counted():
    inputs = keras.Input((6, 6, 8))
    x = layers.Conv2D(16, 3, groups=2, name="grouped")(inputs)
    x = layers.Conv2D(8, 3, groups=2, name="late")(x)
    x = layers.Flatten()(x)
    model = distinct_weights(keras.Model(inputs, layers.Dense(2)(x)))
    (group,) = surgery.channel_groups(model).of("grouped")
    assert group.channels == 8  # Of two filters each.
    smaller = surgery.prune_filters(model, {"grouped": 0.5}, round_to=4)
    assert widths(smaller) == {"grouped": 8, "late": 8}
    smaller = surgery.prune_filters(
        model, {"grouped": 0.9}, round_to=1, min_filters=6
    )
    assert widths(smaller) == {"grouped": 6, "late": 8}


def tied():
    inputs = keras.Input((6, 6, 3), name="in")
    left = layers.Conv2D(8, 3, name="left")(inputs)
    right = layers.Conv2D(8, 3, name="right")(inputs)
    x = layers.GlobalAveragePooling2D(name="pool")(
        layers.Add(name="add")([left, right])
    )
    return distinct_weights(
        keras.Model(inputs, layers.Dense(8, name="head")(x), name="tied")
    )


def test_tied_layers_shrink_together():
    smaller = surgery.prune_filters(tied(), {"left": 0.5})
    assert widths(smaller) == {"left": 4, "right": 4}
    smaller = surgery.prune_filters(tied(), {"left": 0.5, "right": 0.5})
    assert widths(smaller) == {"left": 4, "right": 4}


def of_three(group):
    return np.zeros(3)


ERRORS = {
    "percent": (
        {"fraction": 25},
        "`fraction` must be a fraction in [0, 1), not a percent. Received: "
        "fraction=25.",
    ),
    "all": ({"fraction": 1.0}, "`fraction` must be a fraction in [0, 1)"),
    "negative": (
        {"fraction": {"left": -0.1}},
        "`fraction` of layer 'left' must be a fraction in [0, 1), not a "
        "percent. Received: fraction=-0.1.",
    ),
    "nan": ({"fraction": float("nan")}, "`fraction` must be a fraction in"),
    "typo": (
        {"fraction": {"lfet": 0.5}},
        "Model 'tied' has no layer of this name. Received: 'lfet'. Did you "
        "mean 'left'?",
    ),
    "ignored_typo": (
        {"ignored_layers": ["lefd"]},
        "Model 'tied' has no layer of this name. Received: 'lefd'. Did you "
        "mean 'left'?",
    ),
    "a_string": (
        {"ignored_layers": "left"},
        "`ignored_layers` must be a list of layer names. Received: the string "
        "'left'. Pass ['left'].",
    ),
    "frozen": (
        {"fraction": {"head": 0.5}},
        "Layer 'head' must keep its channels: an output of the model. "
        "`channel_groups(model)` lists the layers that can shrink.",
    ),
    "ignored": (
        {"fraction": {"left": 0.5}, "ignored_layers": ["right"]},
        "Layer 'left' must keep its channels: 'right' is in ignored_layers.",
    ),
    "no_producer": (
        {"fraction": {"add": 0.5}},
        "Layer 'add' makes no channels, so none can be removed.",
    ),
    "two_fractions": (
        {"fraction": {"left": 0.5, "right": 0.25}},
        "Layers ['left', 'right'] shrink together, so that they need one "
        "fraction. Received: 0.5 and 0.25.",
    ),
    "nothing_left": (
        {"ignored_layers": ["left"]},
        "Model 'tied' has nothing to prune. left, right: 'left' is in "
        "ignored_layers; head: an output of the model",
    ),
    "nothing_goes": (
        {"fraction": 0.1},
        "Nothing to prune: with round_to=4 and min_filters=4 the fraction "
        "leaves every group whole (left, right of 8). Raise `fraction`, or "
        "lower `round_to` and `min_filters`.",
    ),
    "scope": ({"scope": "model"}, "`scope` must be 'layer' or 'global'. Rec"),
    "round_to": (
        {"round_to": 0},
        "`round_to` must be at least 1. Received: round_to=0.",
    ),
    "min_filters": (
        {"min_filters": 0},
        "`min_filters` must be at least 1. Rec",
    ),
    "criterion": ({"criterion": "l3"}, "`criterion` must be one of ['bn_sca"),
    "shape": (
        {"criterion": of_three},
        "Criterion 'of_three' must give one finite score to each of the 8 "
        "channels of layer 'left, right'. Received: shape (3,).",
    ),
    "finite": (
        {"criterion": lambda group: np.full(8, np.inf)},
        "Criterion '<lambda>' must give one finite score to each of the 8 "
        "channels of layer 'left, right'. Received: inf among them.",
    ),
    "state": (
        {"optimizer_state": True},
        "With `optimizer_state=True` the model must have been trained. "
        "Received: model 'tied', which is not compiled.",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    options, message = ERRORS[case]
    model = tied()
    config, weights = model.get_config(), model.get_weights()
    with pytest.raises(ValueError) as error:
        surgery.prune_filters(model, **{"fraction": 0.5, **options})
    assert str(error.value).startswith(message)
    assert model.get_config() == config
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


WRONG_TYPES = {
    "string": (
        {"fraction": "0.25"},
        "`fraction` must be a fraction in [0, 1), not a percent. Received: "
        "'0.25'. Pass the number, without quotes.",
    ),
    "boolean": ({"fraction": True}, "`fraction` must be a fraction in [0, 1)"),
    "none": ({"fraction": {"left": None}}, "`fraction` of layer 'left' must"),
    "table": (
        {"fraction": TABLE},
        "`fraction` must be a fraction in [0, 1), not a percent. Received: a "
        "SensitivityTable. Pass the fractions it suggests: "
        "`table.suggest(max_loss=0.01)`.",
    ),
    "round_to": (
        {"round_to": 2.5},
        "`round_to` must be a whole number, at least 1. Received: "
        "round_to=2.5.",
    ),
    "min_filters": ({"min_filters": True}, "`min_filters` must be a whole"),
    "ignored_layer": (
        {"ignored_layers": [layers.Dense(2, name="left")]},
        "`ignored_layers` must be a list of layer names. Received: Dense "
        "'left' among them. Pass the string, such as `layer.name`.",
    ),
    "ignored_none": (
        {"ignored_layers": None},
        "`ignored_layers` must be a list of layer names. Received: None.",
    ),
}


@pytest.mark.parametrize("case", WRONG_TYPES)
def test_wrong_types(case):
    options, message = WRONG_TYPES[case]
    with pytest.raises(TypeError) as error:
        surgery.prune_filters(tied(), **{"fraction": 0.5, **options})
    assert str(error.value).startswith(message)


def test_a_file_instead_of_a_model():
    message = "must be a Keras model. Received: 'net.keras'. Load the file fir"
    with pytest.raises(TypeError, match=message):
        surgery.prune_filters("net.keras", 0.25)


def test_numbers_of_numpy_are_numbers():
    smaller = surgery.prune_filters(
        build(), np.float32(0.5), round_to=np.int64(2), min_filters=np.uint8(2)
    )
    assert widths(smaller) == {"first": 4, "second": 4}


def test_weights_that_are_no_numbers():
    model = build()
    kernel = model.get_layer("second").kernel
    kernel.assign(keras.ops.full(kernel.shape, float("nan")))
    with pytest.raises(ValueError, match="NaN in 'kernel' of layer 'second'"):
        surgery.prune_filters(model, 0.5, "random")
    # Its own scores are not asked for.
    smaller = surgery.prune_filters(model, {"first": 0.5})
    assert widths(smaller) == {"first": 4, "second": 6}


def test_a_layer_instead_of_its_name():
    model = build()
    with pytest.raises(TypeError, match="Conv2D 'first'. Pass the string"):
        surgery.prune_filters(model, {model.get_layer("first"): 0.5})


def test_models_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="Rewrite a subclassed model with"):
        surgery.prune_filters(Subclassed(), 0.5)


RELOAD = """
import sys, keras, numpy
model = keras.models.load_model(sys.argv[1])
inputs = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], model.predict(inputs, verbose=0))
model.fit(inputs, numpy.zeros(len(inputs)), verbose=0)
assert "fritz_compress" not in sys.modules
print(model.optimizer.name, int(model.optimizer.iterations))
"""


@pytest.mark.slow
def test_saves_and_loads_without_our_code(tmp_path):
    model = build()
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    inputs = samples(model)
    model.train_on_batch(inputs, np.zeros(len(inputs)))
    smaller = surgery.prune_filters(model, 0.5, optimizer_state=True)
    paths = [str(tmp_path / name) for name in ("m.keras", "x.npy", "y.npy")]
    smaller.save(paths[0])
    np.save(paths[1], inputs)
    run = subprocess.run(
        [sys.executable, "-c", RELOAD, *paths],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [model.optimizer.name, "2"]
    np.testing.assert_allclose(
        np.load(paths[2]).ravel(), predict(smaller, inputs), rtol=1e-4
    )


def attending():
    inputs = keras.Input((5, 8))
    attention = layers.MultiHeadAttention(4, 6, name="attention")
    x = layers.Dense(2, name="head")(attention(inputs, inputs))
    return distinct_weights(keras.Model(inputs, x))


def test_kinds_of_channels_have_fractions_of_their_own():
    def prune(*arguments, **options):
        smaller = surgery.prune_filters(
            attending(), *arguments, round_to=1, min_filters=1, **options
        )
        attention = smaller.get_layer("attention")
        return attention.num_heads, attention.key_dim, attention.output.shape[2]

    assert prune({"attention:heads": 0.5}) == (2, 6, 8)
    assert prune({"attention": 0.5}) == (4, 6, 4)
    assert prune(0.5) == (2, 3, 4)
    assert prune(0.5, ignored_layers=["attention:heads"]) == (4, 3, 4)
    with pytest.raises(ValueError, match="has nothing to prune"):
        prune(0.5, ignored_layers=["attention"])


def test_heads_are_not_rounded():
    smaller = surgery.prune_filters(attending(), 0.5)
    attention = smaller.get_layer("attention")
    assert attention.num_heads == 2
    assert attention.key_dim == 4  # Of 6, in multiples of 4.


def test_normalized_channels_go_when_asked_for():
    model = distinct_weights(
        keras.Sequential(
            [
                keras.Input((5,)),
                layers.Dense(8, name="stem"),
                layers.LayerNormalization(name="norm"),
                layers.Dense(2),
            ]
        )
    )
    with pytest.raises(
        ValueError, match="'stem' must keep its channels: 'norm'"
    ):
        surgery.prune_filters(model, {"stem": 0.5})
    smaller = surgery.prune_filters(model, {"stem": 0.5}, prune_normalized=True)
    assert smaller.get_layer("stem").units == 4
    assert smaller.get_layer("norm").gamma.shape == (4,)
