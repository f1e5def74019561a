"""Scores against loops in numpy, closed forms and finite differences."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress import surgery
from fritz_compress.surgery import criteria


def trunk():
    """Two layers whose channels are added up, one of them transposed."""
    inputs = keras.Input((6, 6, 3), name="image")
    left = layers.Conv2D(5, 3, padding="same", name="left")(inputs)
    left = layers.BatchNormalization(name="left_norm")(left)
    right = layers.Conv2DTranspose(5, 3, padding="same", name="right")(inputs)
    right = layers.BatchNormalization(name="right_norm")(right)
    x = layers.ReLU(name="relu")(layers.Add()([left, right]))
    x = layers.Conv2D(6, 3, activation="relu", name="inner")(x)
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(x))
    return distinct_weights(
        keras.Model(inputs, layers.Dense(2, name="head")(x), name="trunk")
    )


def free(model):
    return [g for g in surgery.channel_groups(model) if not g.frozen]


def score(criterion, model):
    """Scores by the first name among the layers of the group."""
    groups = free(model)
    found = criteria.get(criterion).scores(model, groups)
    assert [s.shape for s in found] == [(g.channels,) for g in groups]
    return {min(g.producers): s for g, s in zip(groups, found)}


def filters_of(model, name):
    """One row per filter."""
    kernel = keras.ops.convert_to_numpy(model.get_layer(name).kernel)
    axis = -2 if name == "right" else -1
    return np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)


def distances(rows):
    return np.array([np.linalg.norm(rows - row, axis=1).sum() for row in rows])


def over_mean(values):
    return values / values.mean()


def adapted(squares):
    return np.array([s / squares[squares >= s].sum() for s in squares])


PER_LAYER = {
    "l1": lambda rows: abs(rows).sum(axis=1),
    "l2": lambda rows: np.linalg.norm(rows, axis=1),
    "fpgm": distances,
    "lamp": lambda rows: (rows**2).sum(axis=1),
}


@pytest.mark.parametrize("name", PER_LAYER)
def test_criteria_of_kernels_sum_over_tied_layers(name):
    model = trunk()
    parts = {
        layer: over_mean(PER_LAYER[name](filters_of(model, layer)))
        for layer in ("left", "right", "inner")
    }
    expected = {
        "left": parts["left"] + parts["right"],
        "inner": parts["inner"],
    }
    if name == "lamp":
        expected = {layer: adapted(sums) for layer, sums in expected.items()}
    received = score(name, model)
    assert received.keys() == expected.keys()
    for layer, scores in received.items():
        np.testing.assert_allclose(scores, expected[layer], rtol=1e-5)


@pytest.mark.parametrize("name", ["l1", "l2", "lamp"])
def test_a_layer_of_zeros_adds_nothing(name):
    model = trunk()
    kernel = model.get_layer("right").kernel
    kernel.assign(keras.ops.zeros(kernel.shape))
    expected = over_mean(PER_LAYER[name](filters_of(model, "left")))
    if name == "lamp":
        expected = adapted(expected)
    received = score(name, model)["left"]
    np.testing.assert_allclose(received, expected, rtol=1e-5)


def test_scale_is_averaged_over_normalizations():
    model = trunk()
    left, right = (
        abs(keras.ops.convert_to_numpy(model.get_layer(name).gamma))
        for name in ("left_norm", "right_norm")
    )
    group = free(model)[0]
    (received,) = criteria.get("bn_scale").scores(model, [group])
    np.testing.assert_allclose(received, (left + right) / 2, rtol=1e-6)


def test_scale_needs_normalizations_with_a_scale():
    model = trunk()
    with pytest.raises(ValueError) as error:
        score("bn_scale", model)
    assert str(error.value) == (
        "Criterion 'bn_scale' needs a BatchNormalization with `scale=True` "
        "after every layer that is pruned. Received: model 'trunk', which has "
        "none after ['inner']. Pass these names in `ignored_layers`, or use "
        "another criterion, such as 'l1'."
    )
    smaller = surgery.prune_filters(
        model, 0.25, "bn_scale", ignored_layers=["inner"], round_to=1
    )
    assert smaller.get_layer("left").filters == 4  # Never under min_filters.
    assert smaller.get_layer("inner").filters == 6


def test_random_scores_are_those_of_the_seed():
    model = trunk()
    first, second = criteria.Random(seed=1), criteria.Random(seed=2)
    once, again, other = (
        np.concatenate(list(score(c, model).values()))
        for c in (first, first, second)
    )
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    assert len(np.unique(once)) == len(once)


class Backwards(criteria.Criterion):
    def group_scores(self, group):
        return -np.arange(group.channels)


@pytest.mark.parametrize(
    "criterion", [Backwards(), lambda group: -np.arange(group.channels)]
)
def test_criteria_of_a_user(criterion):
    model = trunk()
    smaller = surgery.prune_filters(
        model, {"inner": 0.5}, criterion, round_to=1, min_filters=1
    )
    kernel = keras.ops.convert_to_numpy(model.get_layer("inner").kernel)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(smaller.get_layer("inner").kernel),
        kernel[..., :3],
    )


def test_a_criterion_without_scores():
    with pytest.raises(NotImplementedError, match="'Empty' must implement"):
        score(type("Empty", (criteria.Criterion,), {})(), trunk())


NAMES = {
    "fpmg": (ValueError, "Received: 'fpmg'. Did you mean 'fpgm'?"),
    "tayler": (ValueError, "Did you mean 'taylor'?"),
    "zzz": (ValueError, "one of ['bn_scale', 'fpgm', 'l1', 'l2', 'lamp', "),
    "taylor": (ValueError, "object instead of the name: `surgery.criteria."),
    "apoz": (ValueError, "`surgery.criteria.AveragePercentageOfZeros(x)`"),
    criteria.L2: (TypeError, "its class. Received: L2. Pass `L2(...)`."),
    2: (TypeError, "a name, a `Criterion` or a function. Received: 2."),
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    kind, message = NAMES[name]
    with pytest.raises(kind) as error:
        criteria.get(name)
    assert message in str(error.value)
    assert isinstance(criteria.get("L1"), criteria.L1)
    own = criteria.L2()
    assert criteria.get(own) is own


def data(count=10):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, 6, 6, 3)).astype("float32")
    return x, rng.normal(size=(count, 2)).astype("float32")


WITH_NAN = {
    "l1": lambda: "l1",
    "fpgm": lambda: "fpgm",
    "bn_scale": lambda: "bn_scale",
    "taylor": lambda: criteria.Taylor(*data(), loss="mse"),
    "zeros": lambda: criteria.AveragePercentageOfZeros(data()[0]),
}


@pytest.mark.parametrize("name", WITH_NAN)
def test_weights_that_are_no_numbers(name):
    model = trunk()
    bias = model.get_layer("right").bias
    bias.assign(keras.ops.full(bias.shape, float("nan")))
    with pytest.raises(ValueError, match="NaN in 'bias' of layer 'right'"):
        score(WITH_NAN[name](), model)


def test_taylor_of_a_linear_network_has_a_closed_form():
    model = distinct_weights(
        keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(3, name="hidden"),
                layers.Dense(2, name="head"),
            ]
        )
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    kernel, bias, head, offset = model.get_weights()
    hidden = x @ kernel + bias
    error = 2 * (hidden @ head + offset - y) / y.size
    # The gradient of the mean squared error with respect to the outputs of
    # the hidden layer, times those outputs.
    expected = abs(((error @ head.T) * hidden).sum(axis=0))

    received = score(criteria.Taylor(x, y, loss="mse"), model)["hidden"]
    np.testing.assert_allclose(received, expected, rtol=1e-4)


def loss_of(model, x, y):
    outputs = model(x, training=False)
    return np.mean(
        (keras.ops.convert_to_numpy(outputs).astype("float64") - y) ** 2
    )


def slope(model, layer, channel, x, y, step=0.004):
    """Change of the loss per part that a filter grows by."""
    layer = model.get_layer(layer)
    kernel, bias = layer.get_weights()
    axis = -2 if "transpose" in type(layer).__name__.lower() else -1
    losses = []
    for factor in (1 + step, 1 - step):
        scaled, shifted = kernel.copy(), bias.copy()
        np.moveaxis(scaled, axis, 0)[channel] *= factor
        shifted[channel] *= factor
        layer.set_weights([scaled, shifted])
        losses.append(loss_of(model, x, y))
    layer.set_weights([kernel, bias])
    return (losses[0] - losses[1]) / (2 * step)


def test_taylor_equals_finite_differences():
    model = trunk()
    x, y = data(8)
    halves = [(x[:4], y[:4]), (x[4:], y[4:])]
    expected = {
        first: [
            sum(
                np.mean([abs(slope(model, n, c, *half)) for half in halves])
                for n in names
            )
            for c in range(count)
        ]
        for first, names, count in (
            ("left", ("left", "right"), 5),
            ("inner", ("inner",), 6),
        )
    }
    weights = model.get_weights()
    model.compile("adam", loss="mse")
    for layer in model.layers:
        layer.trainable = layer.name != "left"

    received = score(criteria.Taylor(x, y, batch_size=4), model)

    for name, scores in received.items():
        np.testing.assert_allclose(scores, expected[name], rtol=2e-2, atol=1e-3)
    assert np.std(received["inner"]) > 0.1 * np.mean(received["inner"])
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert not model.optimizer.built and not model.get_layer("left").trainable


def test_taylor_without_penalties_and_constraints():
    def build(**options):
        return distinct_weights(
            keras.Sequential(
                [
                    keras.Input((6, 6, 3)),
                    layers.Conv2D(5, 3, name="inner", **options),
                    layers.Flatten(),
                    layers.Dense(2),
                ]
            )
        )

    x, y = data(8)
    criterion = criteria.Taylor(x, y, loss="mse", batch_size=4)
    plain = score(criterion, build())["inner"]
    bound = build(kernel_regularizer="l2", kernel_constraint="non_neg")
    np.testing.assert_allclose(
        score(criterion, bound)["inner"], plain, rtol=1e-5
    )


def two_heads():
    inputs = {
        "a": keras.Input((4,), name="a"),
        "b": keras.Input((4,), name="b"),
    }
    x = layers.Concatenate()([inputs["b"], inputs["a"]])
    x = layers.Dense(5, activation="relu", name="hidden")(x)
    outputs = [
        layers.Dense(2, name="first")(x),
        layers.Dense(1, name="last")(x),
    ]
    return distinct_weights(keras.Model(inputs, outputs))


def test_taylor_of_several_inputs_outputs_and_losses():
    model = two_heads()
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(8, 4)).astype("float32") for name in "ab"}
    y = [rng.normal(size=(8, n)).astype("float32") for n in (2, 1)]
    losses = {"first": "mse", "last": "mae"}
    model.compile("sgd", loss=losses, loss_weights={"first": 2.0, "last": 0.5})
    compiled = score(criteria.Taylor(x, y), model)["hidden"]

    kernel, bias, *heads = model.get_weights()
    hidden = np.maximum(
        np.concatenate([x["b"], x["a"]], axis=1) @ kernel + bias, 0
    )
    first = hidden @ heads[0] + heads[1] - y[0]
    last = hidden @ heads[2] + heads[3] - y[1]
    slopes = 2.0 * 2 * first / 16 @ heads[0].T
    slopes += 0.5 * np.sign(last) / 8 @ heads[2].T
    np.testing.assert_allclose(
        compiled, abs((slopes * hidden).sum(axis=0)), rtol=1e-4
    )
    dataset = [(x, y)]
    read = score(criteria.Taylor(dataset), model)["hidden"]
    np.testing.assert_allclose(read, compiled, rtol=1e-6)


def test_taylor_in_half_precision():
    policies = ("float32", "mixed_float16")
    x, y = data(8)
    found = []
    for policy in policies:
        model = distinct_weights(
            keras.Sequential(
                [
                    keras.Input((6, 6, 3)),
                    layers.Conv2D(5, 3, name="inner", dtype=policy),
                    layers.Flatten(),
                    layers.Dense(2, dtype="float32"),
                ]
            )
        )
        # Gradients of this loss are below what a float16 can hold.
        loss = lambda y, p: 1e-6 * keras.ops.mean((y - p) ** 2)  # noqa: E731
        found.append(score(criteria.Taylor(x, y, loss), model)["inner"])
    np.testing.assert_allclose(found[1], found[0], rtol=0.05)
    assert found[0].min() > 0


def test_taylor_needs_a_loss_and_samples():
    model = trunk()
    with pytest.raises(ValueError, match="'trunk' is not compiled with one"):
        score(criteria.Taylor(*data()), model)
    with pytest.raises(ValueError, match=r"arrays of \[3, 4\] samples"):
        x, y = data(4)
        score(criteria.Taylor(x[:3], y, loss="mse"), model)
    with pytest.raises(ValueError, match="an iterable with none; a gen"):
        score(criteria.Taylor(iter(()), loss="mse"), model)
    with pytest.raises(ValueError, match=r"arrays of \[0\] samples"):
        score(criteria.AveragePercentageOfZeros(x[:0]), model)
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        criteria.Taylor(*data(), batch_size=0)
    with pytest.raises(ValueError, match="Received: batch_size=-1"):
        criteria.AveragePercentageOfZeros(data()[0], batch_size=-1)
    with pytest.raises(TypeError, match="whole number.*batch_size=1.5"):
        criteria.Taylor(*data(), batch_size=1.5)


X, Y = data(8)
NAN = np.where(np.arange(8)[:, None, None, None] == 5, np.nan, X)
BAD_DATA = {
    "no targets": (
        lambda: criteria.Taylor(X),
        "'Taylor' needs targets.*Pass `Taylor.x, y.`",
    ),
    "no targets by name": (
        lambda: criteria.Taylor({"in": X}),
        "'Taylor' needs targets",
    ),
    "no targets of several": (
        lambda: criteria.Taylor([X, X]),
        "'Taylor' needs targets",
    ),
    "nothing": (
        lambda: criteria.Taylor(None),
        "`x` of criterion 'Taylor' must be arrays.*Received: None",
    ),
    "a list of numbers": (
        lambda: criteria.Taylor([1.0, 2.0], Y),
        "`x` of criterion 'Taylor' must be an array.*Received: 1.0",
    ),
    "targets of another kind": (
        lambda: criteria.Taylor(X, "labels"),
        "`y` of criterion 'Taylor' must be an array.*Received: 'labels'",
    ),
    "batches without targets": (
        lambda: criteria.Taylor(iter([X])),
        "Each batch must be .x, y.*Received: a value of type ndarray",
    ),
    "zeros of nothing": (
        lambda: criteria.AveragePercentageOfZeros(None),
        "`x` of criterion 'AveragePercentageOfZeros' must be an array",
    ),
    "zeros of a data set": (
        lambda: criteria.AveragePercentageOfZeros(iter([X])),
        "Received: a value of type list_iterator",
    ),
    "zeros of nan": (
        lambda: criteria.AveragePercentageOfZeros(NAN),
        "`x` must hold numbers. Received: NaN in sample 5, the first",
    ),
    "nan": (
        lambda: criteria.Taylor(NAN, Y),
        "`x` must hold numbers. Received: NaN in sample 5, the first",
    ),
    "nan in a batch": (
        lambda: criteria.Taylor(iter([(X, Y), (NAN, Y)])),
        "The inputs of batch 1 must hold numbers. Received: NaN in sample 5",
    ),
    "nan in the targets": (
        lambda: criteria.Taylor(X, NAN[:, 0, 0, :2], batch_size=4),
        "gradients that are numbers.*from batch 1. Its targets hold NaN",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused(case):
    make, message = BAD_DATA[case]
    model = trunk()
    model.compile(loss="mse")
    with pytest.raises((TypeError, ValueError), match=message):
        score(make(), model)


def test_a_function_is_called_by_its_name():
    def too_many(group):
        return np.zeros(99)

    with pytest.raises(ValueError, match="Criterion 'too_many' must give one"):
        surgery.prune_filters(trunk(), 0.5, too_many)


def test_zeros_of_the_activations_that_follow():
    model = trunk()
    x, _ = data()
    received = score(criteria.AveragePercentageOfZeros(x, batch_size=4), model)
    for group, layer in (("left", "relu"), ("inner", "inner")):
        inside = keras.Model(model.input, model.get_layer(layer).output)
        values = keras.ops.convert_to_numpy(inside(x, training=False))
        zeros = (values == 0).mean(axis=(0, 1, 2))
        assert 0 < zeros.min() < zeros.max() < 1
        np.testing.assert_allclose(received[group], 1 - zeros, atol=1e-6)


def test_zeros_of_several_activations_are_averaged():
    inputs = keras.Input((4,))
    x = layers.Dense(5, name="wide")(inputs)
    x = layers.Add()([keras.ops.relu(x), layers.Dense(5, name="x")(inputs)])
    x = layers.Activation("relu6", name="late")(x)
    model = distinct_weights(keras.Model(inputs, layers.Dense(2)(x)))
    values = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    wide, other = (values @ k + b for k, b in _dense(model)[:2])
    early = np.maximum(wide, 0)
    late = np.maximum(early + other, 0)
    expected = ((early > 0).mean(axis=0) + (late > 0).mean(axis=0)) / 2
    received = score(criteria.AveragePercentageOfZeros(values), model)
    np.testing.assert_allclose(received["wide"], expected, atol=1e-6)


def _dense(model):
    return [
        layer.get_weights()
        for layer in model.layers
        if isinstance(layer, layers.Dense)
    ]


def test_zeros_with_inputs_by_name():
    model = two_heads()
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(9, 4)).astype("float32") for name in "ab"}
    kernel, bias = model.get_weights()[:2]
    hidden = np.concatenate([x["b"], x["a"]], axis=1) @ kernel + bias
    received = score(criteria.AveragePercentageOfZeros(x), model)["hidden"]
    np.testing.assert_allclose(received, (hidden > 0).mean(axis=0), atol=1e-6)


def test_zeros_need_an_activation_that_gives_some():
    model = keras.Sequential(
        [
            keras.Input((4,), name="in"),
            layers.Dense(8, activation="gelu", name="smooth"),
            layers.Dense(8, activation="relu"),
            layers.Dense(8, name="linear"),
            layers.Dense(2),
        ]
    )
    with pytest.raises(ValueError, match=r"after \['smooth', 'linear'\]"):
        score(criteria.AveragePercentageOfZeros(np.ones((2, 4))), model)
