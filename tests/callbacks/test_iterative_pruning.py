"""Filters zeroed a few at a time, only while the metric is good enough."""

import warnings

import keras
import numpy as np
import pytest
from fits import JIT, Stop, fit, residual_net, values, zero_filters
from keras import layers

from fritz_compress import surgery
from fritz_compress.analysis import SensitivityTable
from fritz_compress.callbacks import IterativePruning
from fritz_compress.callbacks.iterative_pruning import PruningStep

TRUNK = "stem, second"
TABLE = SensitivityTable("net", "filters", "l1", "accuracy", "max", 0.9, ())


class Metric(keras.callbacks.Callback):
    """Puts a given value into the logs of each epoch, the last one for all."""

    def __init__(self, *given, name="val_accuracy"):
        super().__init__()
        self.given, self.name = given, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.given[min(epoch, len(self.given) - 1)]


def net(learning_rate=0.0, seed=0):
    return residual_net(keras.optimizers.SGD(learning_rate), seed)


def steps(pruning):
    return [(step.epoch, step.layer, step.kept) for step in pruning.history]


def left(model):
    """Filters that are not zero, by layer."""
    sizes = {"stem": 8, "second": 8, "first": 12}
    return {
        name: size - len(zero_filters(model, name))
        for name, size in sizes.items()
    }


def test_layer_by_layer_a_few_filters_at_a_time():
    model = net()
    pruning = IterativePruning(0.5, floor=0.9, round_to=2)
    history = fit(model, Metric(0.95), pruning, epochs=6).history
    assert steps(pruning) == [
        (0, TRUNK, 6),
        (1, TRUNK, 4),
        (2, "first", 10),
        (3, "first", 8),
        (4, "first", 6),
    ]
    assert pruning.history[0] == PruningStep(0, TRUNK, 6, 0.95)
    assert pruning.finished
    assert left(model) == {"stem": 4, "second": 4, "first": 6}
    np.testing.assert_allclose(
        history["pruned_fraction"],
        np.array([4, 8, 10, 12, 14, 14]) / 28,
    )


@pytest.mark.parametrize(
    "mode, monitor, metrics",
    [
        ("auto", "val_accuracy", [0.1, 0.5, 0.4, float("nan"), 0.6, 0.4]),
        ("auto", "val_loss", [0.9, 0.5, 0.6, float("nan"), 0.4, 0.6]),
        ("max", "quality", [0.1, 0.5, 0.4, float("nan"), 0.6, 0.4]),
        ("min", "flaws", [0.9, 0.5, 0.6, float("nan"), 0.4, 0.6]),
    ],
)
def test_waits_while_the_metric_is_below_the_floor(mode, monitor, metrics):
    pruning = IterativePruning(0.5, 0.5, monitor, mode, round_to=2)
    with pytest.warns(UserWarning, match="did not reach"):
        fit(net(), Metric(*metrics, name=monitor), pruning, epochs=6)
    # An equal metric is good enough.
    assert steps(pruning) == [(1, TRUNK, 6), (4, TRUNK, 4)]
    assert not pruning.finished


def test_the_filters_of_least_norm_go_and_stay_zero():
    model = net(learning_rate=0.01)
    kernel = model.get_layer("first").kernel
    scale = np.array([5, 4, 0.1, 3, 5, 6, 0.2, 4, 5, 6, 0.3, 4])
    kernel.assign(np.ones(kernel.shape) * scale / 50)
    pruning = IterativePruning({"first": 0.25}, 0.9, round_to=1)
    fit(model, Metric(1.0), pruning, epochs=5)
    assert steps(pruning) == [
        (0, "first", 11),
        (1, "first", 10),
        (2, "first", 9),
    ]
    assert zero_filters(model, "first") == [2, 6, 10]
    assert not values(model, "first_norm")["moving_mean"][[2, 6, 10]].any()
    assert left(model)["stem"] == 8

    smaller = surgery.remove_pruned_filters(model)
    images = np.random.default_rng(5).normal(size=(4, 8, 8, 3))
    assert smaller.get_layer("first").filters == 9
    np.testing.assert_allclose(
        smaller.predict(images, verbose=0),
        model.predict(images, verbose=0),
        rtol=1e-4,
        atol=1e-6,
    )


def test_what_is_kept_is_a_multiple():
    pruning = IterativePruning({"first": 0.6}, 0.9, round_to=5)
    fit(net(), Metric(1.0), pruning, epochs=2)
    # Of 12 filters 10 are the next multiple; 4.8 would stay, so 5 do.
    assert steps(pruning) == [(0, "first", 10), (1, "first", 5)]


ORDERS = {
    "forward": [TRUNK, "first"],
    "backward": ["first", TRUNK],
    "given": ["first", TRUNK],
}


@pytest.mark.parametrize("order", ORDERS)
def test_order(order):
    pruning = IterativePruning({"first": 0.34, "second": 0.5}, 0.9, order=order)
    fit(net(), Metric(1.0), pruning, epochs=2)
    assert [step.layer for step in pruning.history] == ORDERS[order]


def test_epochs_per_step():
    pruning = IterativePruning(0.5, 0.9, round_to=4, epochs_per_step=3)
    fit(net(), Metric(0.0, 0.0, 1.0, 1.0, 0.0, 1.0), pruning, epochs=6)
    assert [step.epoch for step in pruning.history] == [2, 5]


def test_stops_once_the_metric_is_back():
    pruning = IterativePruning(0.5, 0.9, stop_when_finished=True)
    metric = Metric(1.0, 1.0, 0.5, 1.0)
    history = fit(net(), metric, pruning, epochs=9)
    # The last filters go after epoch 1; in epoch 3 it has recovered.
    assert history.epoch == [0, 1, 2, 3]


def test_a_criterion_of_the_users_own():
    model = net()
    pruning = IterativePruning(
        {"first": 0.34},
        0.9,
        criterion=lambda group: np.arange(group.channels, 0.0, -1.0),
    )
    fit(model, Metric(1.0), pruning)
    assert zero_filters(model, "first") == [8, 9, 10, 11]


def test_ignored_layers_and_layers_that_stay():
    pruning = IterativePruning(0.5, 0.9, ignored_layers=["second"])
    fit(net(), Metric(1.0), pruning)
    assert steps(pruning) == [(0, "first", 8)]
    assert pruning.skipped == (
        (TRUNK, "'second' is in ignored_layers"),
        ("head", "frozen: an output of the model"),
    )


@pytest.mark.parametrize(
    "fractions, kept",
    [
        ({"both": 0.5}, {"both, tied": 2, "both": 2}),
        ({"both": 0.25, "both#2": 0.5}, {"both, tied": 3, "both": 2}),
        ({"both#2": 0.5}, {"both": 2}),
    ],
)
def test_the_groups_of_one_layer_may_differ(fractions, kept):
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 1, name="both")(inputs)
    tied = layers.Conv2D(4, 1, name="tied")(inputs)
    x = layers.Concatenate()([layers.Add()([tied, x[..., :4]]), x[..., 4:]])
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    model.compile("sgd", "mse", jit_compile=JIT)
    pruning = IterativePruning(fractions, 0.9, round_to=1)
    model.fit(
        np.ones((4, 6, 6, 3)),
        np.ones((4, 2)),
        epochs=4,
        verbose=0,
        callbacks=[Metric(1.0), pruning],
    )
    assert {step.layer: step.kept for step in pruning.history} == kept


def test_the_student_of_a_distiller():
    student, teacher = net(), net(seed=1)
    distiller = keras.distillation.Distiller(
        teacher, student, keras.distillation.LogitsDistillation()
    )
    distiller.compile("adam", "mse", jit_compile=JIT)
    pruning = IterativePruning(0.5, 0.9, stop_when_finished=True)
    history = fit(distiller, Metric(1.0), pruning, epochs=9)
    assert history.epoch == [0, 1, 2]
    assert left(student) == {"stem": 4, "second": 4, "first": 8}
    assert left(teacher) == {"stem": 8, "second": 8, "first": 12}


@pytest.mark.slow
def test_interrupted_fit_ends_with_the_same_filters(tmp_path):
    metric = (1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0)

    def callbacks():
        pruning = IterativePruning(0.5, 0.9, round_to=2)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        return [Metric(*metric), pruning, backup]

    whole = net(learning_rate=0.01)
    fit(whole, *(given := callbacks()), epochs=7)
    assert given[1].finished
    with pytest.raises(KeyboardInterrupt):
        fit(net(0.01), *callbacks(), Stop(epoch=4, batch=3), epochs=7)
    resumed = net(learning_rate=0.01, seed=1)
    fit(resumed, *(given := callbacks()), epochs=7)
    assert steps(given[1]) == [(5, "first", 8), (6, "first", 6)]
    for name in ("stem", "second", "first"):
        assert zero_filters(resumed, name) == zero_filters(whole, name)
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights()):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_metric_that_is_not_in_the_logs():
    pruning = IterativePruning(0.5, 0.9)
    with pytest.raises(ValueError) as error:
        fit(net(), pruning)
    assert "monitor='val_accuracy'. Received: ['loss', 'mae']. " in str(
        error.value
    )


WARNINGS = {
    "floor": (
        {"floor": 0.9},
        "'stem, second' has 8 of 4, 'first' has 12 of 8. The best "
        "val_accuracy was 0.8, short of floor=0.9.",
    ),
    "epochs": ({"floor": 0.7}, "'first' has 12 of 8. Train for more epochs"),
    "never": (
        {"floor": 0.7, "epochs_per_step": 3},
        "before the metric was looked at. Train for more epochs than "
        "epochs_per_step=3",
    ),
    "rounded_away": (
        {"floor": 0.7, "round_to": 16},
        "pruned nothing: with round_to=16 all groups stay whole.",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warns_of_what_is_missing(case):
    arguments, message = WARNINGS[case]
    with pytest.warns(UserWarning) as caught:
        fit(net(), Metric(0.8), IterativePruning(0.5, **arguments))
    texts = [str(w.message) for w in caught if w.category is UserWarning]
    assert len(texts) == 1
    assert message in texts[0]


def test_does_not_warn_when_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(net(), Metric(1.0), IterativePruning(0.5, 0.9), epochs=2)


ARGUMENTS = {
    "percent": ({"fractions": 25}, "not a percent. Received: fractions=25."),
    "of_a_layer": (
        {"fractions": {"stem": 0.2, "first": 1.0}},
        "`fractions` of layer 'first' must be a fraction in [0, 1), not a "
        "percent. Received: fractions=1.0.",
    ),
    "empty": ({"fractions": {}}, "Nothing to prune: `fractions` must be"),
    "zero": ({"fractions": 0.0}, "Nothing to prune: `fractions` must be"),
    "zeros": ({"fractions": {"stem": 0.0}}, "rise with `max_loss`."),
    "round_to": ({"round_to": 0}, "Received: round_to=0"),
    "epochs": ({"epochs_per_step": 0}, "epochs_per_step=0"),
    "order": ({"order": "random"}, "Received: order='random'."),
    "mode": ({"mode": "up"}, "Received: mode='up'."),
    "floor": ({"floor": float("nan")}, "Received: floor=nan."),
    "floor_of_text": ({"floor": "0.9"}, "a number. Received: floor='0.9'."),
    "floor_in_percent": (
        {"floor": 90},
        "`floor` must be a value that 'val_accuracy' can reach, 1 at most. "
        "Received: floor=90. Pass a fraction, not a percent, such as 0.9.",
    ),
    "name": ({"monitor": "val_beauty"}, "Pass mode='max' or mode='min'."),
    "string": ({"ignored_layers": "head"}, "Pass ['head']."),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_are_checked(case):
    arguments, message = ARGUMENTS[case]
    with pytest.raises(ValueError) as error:
        IterativePruning(**{"fractions": 0.5, "floor": 0.9, **arguments})
    assert message in str(error.value)


WRONG_TYPES = {
    "table": (
        {"fractions": TABLE},
        "Received: a SensitivityTable. Pass .*`table.suggest.max_loss=0.01.`",
    ),
    "string": ({"fractions": "0.5"}, "Pass the number, without quotes"),
    "layer": ({"fractions": {layers.Dense(2, name="d"): 0.5}}, "Dense 'd'. P"),
    "round_to": ({"round_to": 2.5}, "whole number.*round_to=2.5"),
    "epochs": ({"epochs_per_step": True}, "whole number.*epochs_per_step=T"),
    "ignored": ({"ignored_layers": None}, "Received: None."),
}


@pytest.mark.parametrize("case", WRONG_TYPES)
def test_wrong_types(case):
    arguments, message = WRONG_TYPES[case]
    with pytest.raises(TypeError, match=message):
        IterativePruning(**{"fractions": 0.5, "floor": 0.9, **arguments})


@pytest.mark.parametrize(
    "floor, monitor, mode",
    [
        (90, "val_loss", "auto"),
        (30.0, "val_psnr", "auto"),
        (90, "accuracy_percent", "auto"),
        (90, "accuracy", "min"),
        (1, "accuracy", "auto"),
    ],
)
def test_floors_above_1_that_can_be_meant(floor, monitor, mode):
    IterativePruning(0.5, floor, monitor, mode)


FRACTIONS = {
    "unknown": ({"steem": 0.5}, "'steem'. Did you mean 'stem'?"),
    "frozen": (
        {"head": 0.5},
        "'head' in `fractions` cannot be pruned: frozen: an output of the",
    ),
    "follower": (
        {"first_norm": 0.5},
        "'first_norm' in `fractions` cannot be pruned: it makes no channels",
    ),
    "tied": (
        {"stem": 0.5, "second": 0.25},
        "Received: 0.5 for 'stem' and 0.25 for 'second'.",
    ),
}


@pytest.mark.parametrize("case", FRACTIONS)
def test_fractions_must_be_of_layers_that_can_be_pruned(case):
    fractions, message = FRACTIONS[case]
    with pytest.raises(ValueError) as error:
        fit(net(), IterativePruning(fractions, 0.9))
    assert message in str(error.value)


def test_a_fraction_of_zero_leaves_a_layer_whole():
    pruning = IterativePruning({"head": 0.0, "stem": 0, "first": 0.34}, 0.9)
    fit(net(), Metric(1.0), pruning)
    assert steps(pruning) == [(0, "first", 8)]
