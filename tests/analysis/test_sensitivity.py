"""What zeroed weights and filters cost, beside numpy and real removal."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from sensitivity_models import FRACTIONS, data, errors, pointwise_model

from fritz_compress.analysis import sensitivity
from fritz_compress.layers import InstanceNormalization
from fritz_compress.surgery import remove_filters


def lowest(scores, count):
    return np.argsort(scores)[:count]


@pytest.mark.parametrize("metric, key", [("mae", "mae"), ("loss", "mse")])
def test_zeroed_filters_beside_numpy(metric, key):
    model, (x, y) = pointwise_model(), data()
    table = sensitivity(model, x, y, fractions=FRACTIONS, metric=metric)
    weights = model.get_weights()
    assert table.layers == ("first", "second")
    assert table.baseline == pytest.approx(errors(weights, x, y)[key], 1e-5)
    # Rounded down: 0.25 of 6 is 1, 0.9 of 6 is 5; 1, 2 and 4 of 5.
    counts = {"first": (1, 3, 5), "second": (1, 2, 4)}
    for layer, first in (("first", 0), ("second", 6)):
        norms = abs(weights[first]).sum(axis=(0, 1, 2))
        own = range(first, 5) if layer == "first" else (6, 7)
        for row, count in zip(table.of(layer), counts[layer], strict=True):
            zeroed = [weight.copy() for weight in weights]
            for position in own:
                zeroed[position][..., lowest(norms, count)] = 0
            expected = errors(zeroed, x, y)[key]
            assert row.value == pytest.approx(expected, 1e-5), row
            assert row.reached == count / len(norms)


def test_zeroed_weights_beside_numpy():
    model, (x, y) = pointwise_model(), data()
    table = sensitivity(model, x, y, kind="weights", fractions=FRACTIONS)
    weights = model.get_weights()
    kernels = {"first": 0, "second": 6, "head": 8}
    assert table.layers == tuple(kernels)
    for row in table.rows:
        zeroed = [weight.copy() for weight in weights]
        kernel = zeroed[kernels[row.layer]].reshape(-1)
        count = int(row.fraction * kernel.size)
        kernel[lowest(abs(kernel), count)] = 0
        expected = errors(zeroed, x, y)["mae"]
        assert row.value == pytest.approx(expected, 1e-5), row
        assert row.reached == count / kernel.size


def test_a_function_evaluates_in_place_of_the_compiled_metrics():
    model, (x, y) = pointwise_model(), data()

    def mean_error(copy):
        return np.mean(abs(copy.predict(x, verbose=0) - y))

    table = sensitivity(model, evaluate=mean_error, fractions=[0.5])
    compiled = sensitivity(model, x, y, fractions=[0.5])
    assert (table.metric, table.mode) == ("mean_error", "min")
    assert [row.value for row in table.rows] == pytest.approx(
        [row.value for row in compiled.rows], 1e-5
    )


def test_a_function_may_evaluate_as_compiled():
    model, (x, y) = pointwise_model(), data()
    table = sensitivity(
        model,
        evaluate=lambda m: m.evaluate(x, y, verbose=0, return_dict=True),
        fractions=[0.5],
        layers=["second"],
    )
    assert table == sensitivity(model, x, y, fractions=[0.5], layers=["second"])


@pytest.mark.parametrize("kind", ["filters", "weights"])
def test_the_model_is_not_changed(kind):
    model, (x, y) = pointwise_model(), data()
    model.fit(x, y, verbose=0)
    before = model.get_weights(), int(model.optimizer.iterations)
    loss, metrics = model.loss, model.get_metrics_result()
    sensitivity(model, x, y, kind=kind, fractions=[0.5])
    for old, new in zip(before[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert int(model.optimizer.iterations) == before[1] == 1
    assert model.loss is loss and model.get_metrics_result() == metrics


def residual_model():
    """A shared layer, a nested model and a residual addition."""
    inner = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(8, 3, padding="same", name="inside"),
            InstanceNormalization(name="normalization"),
            layers.ReLU(),
            layers.Conv2D(8, 1, name="back"),
        ],
        name="body",
    )
    inputs = keras.Input((6, 6, 3))
    trunk = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    trunk = layers.Add()([trunk, inner(inputs)])
    shared = layers.Conv2D(4, 3, name="shared", activation="relu")
    outputs = layers.Add()([shared(trunk), shared(layers.ReLU()(trunk))])
    outputs = layers.Conv2D(2, 1, name="head")(outputs)
    model = keras.Model(inputs, outputs, name="residual")
    distinct_weights(model)
    model.compile("sgd", "mse")
    return model


def test_zeroed_is_removed_in_nested_shared_and_tied_layers():
    model = residual_model()
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 6, 6, 3)).astype("float32")
    y = rng.normal(size=(4, 4, 4, 2)).astype("float32")
    scores = {
        "stem": rng.permutation(8),
        "inside": rng.permutation(8),
        "shared": rng.permutation(4),
    }
    table = sensitivity(
        model,
        x,
        y,
        fractions=[0.5],
        criterion=lambda group: scores[next(iter(group.producers))],
    )
    assert table.layers == tuple(scores)
    assert table.tied == {"stem": ("back",), "inside": (), "shared": ()}
    assert [name for name, _ in table.skipped] == ["head"]
    for row in table.rows:
        gone = lowest(scores[row.layer], len(scores[row.layer]) // 2)
        smaller = remove_filters(model, {row.layer: gone})
        smaller.compile(loss="mse")
        expected = smaller.evaluate(x, y, verbose=0)
        assert row.value == pytest.approx(expected, 1e-5), row
        assert abs(row.value - table.baseline) > 1e-3


def test_layers_are_chosen_by_name_of_layer_or_nested_model():
    model = residual_model()
    arguments = {"evaluate": lambda copy: 1.0, "mode": "max"}
    table = sensitivity(model, layers=["body"], **arguments)
    assert table.layers == ("stem", "inside")  # 'back' is tied to 'stem'
    table = sensitivity(model, ignored_layers=["back"], **arguments)
    assert table.layers == ("inside", "shared")
    assert ("stem, back", "in ignored_layers") in table.skipped
    table = sensitivity(
        model, kind="weights", ignored_layers=["body"], **arguments
    )
    assert table.layers == ("stem", "shared", "head")
    assert dict(table.skipped).keys() == {"inside", "back"}


def test_each_kernel_of_a_layer_has_rows_of_its_own():
    inputs = keras.Input((5, 4))
    outputs = layers.LSTM(3, name="lstm", return_sequences=True)(inputs)
    outputs = layers.SeparableConv1D(2, 3, name="separable")(outputs)
    outputs = layers.MultiHeadAttention(1, 2, name="heads")(outputs, outputs)
    outputs = layers.PReLU(name="slopes")(outputs)  # (3, 2), and no kernel
    outputs = layers.LayerNormalization([1, 2])(outputs)  # (3, 2) as well
    model = keras.Model(inputs, outputs)
    table = sensitivity(
        model, evaluate=lambda m: 1.0, mode="max", kind="weights"
    )
    assert table.layers == (
        "lstm/lstm_cell/kernel",
        "lstm/lstm_cell/recurrent_kernel",
        "separable/depthwise_kernel",
        "separable/pointwise_kernel",
        "heads/query/kernel",
        "heads/key/kernel",
        "heads/value/kernel",
        "heads/attention_output/kernel",
    )


def test_mixed_precision_models_stay_mixed():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, dtype="mixed_float16", name="hidden"),
            layers.Dense(2, dtype="mixed_float16"),
        ]
    )

    def evaluate(copy):
        assert copy.get_layer("hidden").compute_dtype == "float16"
        return np.count_nonzero(copy.get_weights()[0])

    table = sensitivity(
        distinct_weights(model), evaluate=evaluate, mode="max", fractions=[0.5]
    )
    assert (table.baseline, table.rows[0].value) == (24, 12)


def test_the_copy_is_whole_again_after_each_evaluation():
    model = pointwise_model()
    zeros = []

    def count_zeros(copy):
        zeros.append([np.count_nonzero(w == 0) for w in copy.get_weights()])
        return 1.0

    sensitivity(model, evaluate=count_zeros, mode="max", fractions=[0.5])
    assert zeros == [
        [0] * 10,
        [9, 3, 3, 3, 3, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 12, 2, 0, 0],
    ]


def test_points_are_counted_with_the_time_left():
    reports = []
    sensitivity(
        pointwise_model(),
        evaluate=lambda copy: 1.0,
        mode="max",
        fractions=[0.2, 0.4],
        on_point=lambda *report: reports.append(report),
    )
    assert [report[:2] for report in reports] == [(n, 4) for n in (1, 2, 3, 4)]
    assert all(seconds >= 0 for *_, seconds in reports)
    assert reports[-1][2] == 0


@pytest.mark.parametrize(
    "metric, mode",
    [
        ("loss", "min"),
        ("val_error", "min"),
        ("sparse_categorical_accuracy", "max"),
        ("AUC", "max"),
        ("mean_iou", "max"),
    ],
)
def test_the_better_direction_is_told_from_the_name(metric, mode):
    table = sensitivity(
        pointwise_model(), evaluate=lambda copy: {metric: 0.5}, fractions=[0.5]
    )
    assert table.mode == mode


def nan_model(value=np.nan):
    model = pointwise_model()
    kernel, bias = model.get_layer("second").get_weights()
    kernel[0, 0, 0, 0] = value
    model.get_layer("second").set_weights([kernel, bias])
    return model


def bare_model():
    model = pointwise_model()
    bare = keras.Sequential(model.layers, name="bare")
    bare.build(model.input_shape)
    return bare


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.hidden = layers.Dense(2)

    def call(self, inputs):
        return self.hidden(inputs)


def unbuilt_model():
    model = keras.Sequential([layers.Dense(2, name="d")], name="late")
    model.compile(loss="mse")
    return model


def one(copy):
    return 1.0


X, Y = data()
# What is passed, its type of error and message.
WRONG = {
    "percent": (dict(fractions=[25]), "`fractions` must be.*fractions=25"),
    "all": (dict(fractions=[0.5, 1]), r"in \(0, 1\).*fractions=1"),
    "none": (dict(fractions=[]), "at least one"),
    "nan": (dict(model=nan_model), "NaN in 'kernel' of layer 'second'"),
    "infinite weight": (
        dict(model=lambda: nan_model(np.inf), kind="weights"),
        "infinity in 'kernel' of layer 'second'",
    ),
    "nan weight": (
        dict(model=nan_model, kind="weights"),
        "NaN in 'kernel' of layer 'second'",
    ),
    "layer": (dict(layers=["secnd"]), "'secnd'. Did you mean 'second'"),
    "ignored": (dict(ignored_layers=["hed"]), "Did you mean 'head'"),
    "string": (dict(layers="second"), r"Pass \['second'\]"),
    "without": (
        dict(layers=["normalization"], kind="weights"),
        "'normalization' of `layers` has nothing that can be zeroed. Leave",
    ),
    "frozen": (dict(layers=["head"]), "zeroed: frozen: an output of the mod"),
    "all ignored": (
        dict(ignored_layers=["first", "second"]),
        "'pointwise' has nothing that can be zeroed. first: in ignored",
    ),
    "kind": (dict(kind="neurons"), "'filters' or 'weights'.*'neurons'"),
    "mode": (dict(mode="up"), "'max' or 'min'. Received: mode='up'"),
    "criterion": (dict(criterion="l3"), "Did you mean 'l"),
    "of weights": (
        dict(kind="weights", criterion="fpgm"),
        "ranked by their magnitude.*'fpgm'",
    ),
    "nothing": (dict(x=None, y=None), "Received: neither"),
    "both": (dict(evaluate=one), "Received: both"),
    "bare": (dict(model=bare_model), "'bare' must be compiled"),
    "metric": (dict(metric="f1"), "one of .*mae.*Received: metric='f1'"),
    "direction": (
        dict(x=None, y=None, evaluate=one),
        "Whether a larger 'one' is better.*mode='max'",
    ),
    "several": (
        dict(x=None, y=None, evaluate=lambda m: {"a": 1, "b": 2}),
        "Name the metric that counts.*a, b",
    ),
    "jobs": (dict(n_jobs=0), "-1 for one per core.*n_jobs=0"),
    "jobs of text": (dict(n_jobs="two"), "-1 for one per core.*'two'"),
    "no targets": (
        dict(y=None),
        "'pointwise' has a loss, which needs targets.*`x` without `y`",
    ),
    "nan in x": (
        dict(x=np.where(np.arange(10)[:, None, None, None] > 3, np.nan, X)),
        "`x` must hold numbers. Received: NaN in sample 4",
    ),
    "not built": (
        dict(model=unbuilt_model, kind="weights"),
        "'late' must be built, so that it has weights",
    ),
    "baseline": (
        dict(x=None, y=None, evaluate=lambda m: {"error": np.nan}),
        "'error' must be a finite number.*nan",
    ),
    "graph": (
        dict(model=Subclassed, x=None, y=None, evaluate=one),
        "Functional or a built Sequential",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_refused(case):
    arguments, message = WRONG[case]
    arguments = {"x": X, "y": Y, **arguments}
    model = arguments.pop("model", pointwise_model)()
    with pytest.raises(ValueError, match=message):
        sensitivity(model, **arguments)


WRONG_TYPES = {
    "model": (dict(model=lambda: "net.keras"), "Load the file first, with `k"),
    "fractions": (dict(fractions="0.5"), "`fractions` must be a list.*'0.5'"),
    "fraction": (dict(fractions=["0.5"]), "`fractions` must be.*quotes"),
    "evaluate": (dict(x=None, evaluate=3), "must be a function.*Received: 3"),
    "batch_size": (dict(batch_size=1.5), "whole number.*batch_size=1.5"),
    "layers": (
        dict(layers=[layers.Dense(2, name="d")]),
        "`layers` must be a list.*Dense 'd' among them",
    ),
    "ignored": (dict(ignored_layers=None), "`ignored_layers`.*Received: None"),
}


@pytest.mark.parametrize("case", WRONG_TYPES)
def test_wrong_types_are_refused(case):
    arguments, message = WRONG_TYPES[case]
    arguments = {"x": X, "y": Y, **arguments}
    model = arguments.pop("model", pointwise_model)()
    with pytest.raises(TypeError, match=message):
        sensitivity(model, **arguments)


def test_one_fraction_is_a_list_of_one():
    one, listed = (
        sensitivity(pointwise_model(), X, Y, fractions=fractions)
        for fractions in (0.5, [0.5])
    )
    assert one == listed and one.fractions == (0.5,)


def test_a_function_is_called_by_its_name():
    def by_number(group):
        return np.arange(group.channels, dtype=float)

    table = sensitivity(
        pointwise_model(), X, Y, fractions=0.5, criterion=by_number
    )
    assert table.criterion == "by_number"


def test_a_result_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="must return a number.*'good'"):
        sensitivity(pointwise_model(), evaluate=lambda copy: "good")


def test_a_loss_that_keras_cannot_find_again_is_named():
    def own_loss(targets, outputs):
        return keras.ops.mean(outputs)

    model = pointwise_model()
    model.compile(loss=own_loss)
    with pytest.raises(ValueError, match="'pointwise' cannot be copied.*own_l"):
        sensitivity(model, X, Y)
