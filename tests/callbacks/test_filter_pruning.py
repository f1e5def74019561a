"""Filters zeroed during fit, kept zero, and found again after a restart."""

import warnings

import keras
import numpy as np
import pytest
from fits import JIT, Stop
from fits import residual_net as build
from helpers import distinct_weights
from keras import layers

from fritz_compress import surgery
from fritz_compress.analysis import SensitivityTable
from fritz_compress.callbacks import FilterPruning
from fritz_compress.models.style_transfer import SmallStyleTransferNetwork


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(16, 8, 8, 3)), rng.normal(size=(16, 2))


def fit(model, *callbacks, epochs=1, **kwargs):
    inputs, targets = data()
    return model.fit(
        inputs,
        targets,
        batch_size=2,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **kwargs,
    )


def zeroed(model):
    """Zero filters by layer, seen from the kernels alone."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            dead = ~kernel.any(axis=(0, 1, 2))
            found[layer.name] = np.flatnonzero(dead).tolist()
    return found


class Recorder(keras.callbacks.Callback):
    """Number of zero filters of each layer after every batch."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_train_batch_end(self, batch, logs=None):
        found = zeroed(self.model)
        self.counts.append({name: len(gone) for name, gone in found.items()})


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_schedule_zeroes_tied_filters_together(optimizer):
    model = build(optimizer)
    recorder = Recorder()
    pruning = FilterPruning(
        0.5, begin_step=2, end_step=6, frequency=2, round_to=1
    )
    history = fit(model, pruning, recorder)
    # Cubic: 7/8 of the fraction after 4 of the steps 2 to 6; of 8 filters
    # 8 * (1 - 0.4375) = 4.5, so 5 stay; of 12, 6.75, so 7 stay.
    trunk, first = [0, 0, 0, 3, 3, 4, 4, 4], [0, 0, 0, 5, 5, 6, 6, 6]
    assert [counts["stem"] for counts in recorder.counts] == trunk
    assert [counts["second"] for counts in recorder.counts] == trunk
    assert [counts["first"] for counts in recorder.counts] == first
    gone = zeroed(model)
    assert gone["stem"] == gone["second"]
    assert history.history["pruned_fraction"] == [0.5]


def test_whatever_follows_a_zeroed_filter_is_zero():
    model = build()
    fit(model, FilterPruning(0.5, end_step=4, frequency=1), epochs=2)
    gone = zeroed(model)
    assert len(gone["stem"]) == 4 and len(gone["first"]) == 4
    for name, filters in {
        "stem": gone["stem"],
        "stem_norm": gone["stem"],
        "first": gone["first"],
        "first_norm": gone["first"],
        "second": gone["second"],
    }.items():
        layer = model.get_layer(name)
        for weight in layer.weights:
            values = keras.ops.convert_to_numpy(weight)
            if "variance" not in weight.name:
                assert not values[..., filters].any(), weight.path
            others = np.delete(values, filters, axis=-1)
            assert others.any(axis=tuple(range(others.ndim - 1))).all()


def test_removal_afterwards_changes_nothing():
    model = build()
    fit(model, FilterPruning(0.5, end_step=4, frequency=1))
    inputs, _ = data()
    smaller = surgery.remove_pruned_filters(model)
    assert smaller.get_layer("stem").filters == 4
    assert smaller.get_layer("first").filters == 8
    np.testing.assert_allclose(
        smaller.predict(inputs, verbose=0),
        model.predict(inputs, verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )


def test_lowest_norm_goes_each_layer_counting_alike():
    model = build(keras.optimizers.SGD(0.0))
    stem, second = model.get_layer("stem"), model.get_layer("second")
    # Filter 0 is the smallest of `stem`, 1 of `second`, whose kernels are a
    # hundred times larger; in both together 1 is, then 0.
    scale = np.array([0.1, 0.2, 1, 1, 1, 1, 1, 1])
    stem.kernel.assign(np.ones((3, 3, 3, 8)) * scale)
    scale = np.array([0.3, 0.1, 1, 1, 1, 1, 1, 1])
    second.kernel.assign(100 * np.ones((3, 3, 12, 8)) * scale)
    fit(model, FilterPruning(0.125, end_step=2, round_to=1))
    assert zeroed(model)["stem"] == [1]
    fit(model := build(keras.optimizers.SGD(0.0)), FilterPruning(0, end_step=1))
    assert zeroed(model)["stem"] == []


@pytest.mark.slow
def test_kept_filters_are_rounded_up():
    model = SmallStyleTransferNetwork.build((8, 8), alpha=0.3)
    model.compile("adam", "mae", jit_compile=JIT)
    images = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3))
    pruning = FilterPruning(0.25, end_step=2, frequency=1)
    history = model.fit(
        images, images, batch_size=2, verbose=0, callbacks=[pruning]
    )
    # Of 9 filters 6.75 would stay; the next multiple of 4 is 8.
    assert history.history["pruned_fraction"] == [pytest.approx(1 / 9)]
    smaller = surgery.remove_pruned_filters(model)
    assert smaller.count_params() == 9830
    assert pruning.skipped == (
        ("decode_rgb_convolution", "frozen: an output of the model"),
    )


@pytest.mark.parametrize(
    "pruning_first", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_interrupted_fit_ends_with_the_same_filters(tmp_path, pruning_first):
    def callbacks():
        pruning = FilterPruning(
            0.5, begin_step=2, end_step=20, frequency=3, round_to=1
        )
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        return [pruning, backup] if pruning_first else [backup, pruning]

    whole = build()
    fit(whole, *callbacks(), epochs=3)

    with pytest.raises(KeyboardInterrupt):
        fit(build(), *callbacks(), Stop(epoch=1, batch=5), epochs=3)
    # Another process: a new model with other weights, a new callback.
    resumed = build(seed=1)
    recorder = Recorder()
    fit(resumed, *callbacks(), recorder, epochs=3)

    # After the ninth step as after the eighth: a third of the way, 0.352,
    # of 8 filters 5.2 and of 12 filters 7.8 would stay.
    assert recorder.counts[0] == {"stem": 2, "first": 4, "second": 2}
    assert zeroed(resumed) == zeroed(whole)
    assert int(whole.optimizer.iterations) == 24
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights()):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_backup_between_epochs(tmp_path):
    def callbacks():
        return [
            FilterPruning(0.5, end_step=12, frequency=2, round_to=1),
            keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=3),
        ]

    with pytest.raises(KeyboardInterrupt):
        fit(build(), *callbacks(), Stop(epoch=0, batch=6), epochs=2)
    resumed = build(seed=1)
    recorder = Recorder()
    fit(resumed, *callbacks(), recorder, epochs=2)
    # Saved after six steps: half of the schedule, 7/8 of the fraction.
    assert recorder.counts[0]["stem"] == 3
    assert len(zeroed(resumed)["stem"]) == 4


@pytest.mark.slow
def test_one_instance_serves_several_fits():
    pruning = FilterPruning(0.5, end_step=4, frequency=1)
    first, second = build(), build(seed=3)
    fit(first, pruning)
    before = zeroed(first)
    fit(second, pruning)
    assert len(zeroed(second)["stem"]) == 4
    assert zeroed(first) == before
    assert zeroed(second)["first"] != before["first"]


@pytest.mark.slow
def test_further_fit_keeps_the_filters():
    model = build()
    pruning = FilterPruning(0.5, end_step=8, frequency=2)
    fit(model, pruning)
    before = zeroed(model)
    fit(model, pruning)
    assert zeroed(model) == before


def test_ignored_layers():
    model = build()
    pruning = FilterPruning(0.5, end_step=4, ignored_layers=["second"])
    history = fit(model, pruning)
    gone = zeroed(model)
    assert gone["stem"] == gone["second"] == []
    assert len(gone["first"]) == 4
    assert history.history["pruned_fraction"] == [pytest.approx(4 / 12)]
    assert ("stem, second", "'second' is in ignored_layers") in pruning.skipped


def test_ignored_nested_model():
    inputs = keras.Input((8, 8, 3))
    base = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(8, 3, name="inner")],
        name="base",
    )
    x = layers.Conv2D(8, 3, name="outer")(base(inputs))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    model.compile("sgd", "mse", jit_compile=JIT)
    fit(model, FilterPruning(0.5, end_step=4, ignored_layers=["base"]))
    outer = keras.ops.convert_to_numpy(model.get_layer("outer").kernel)
    inner = keras.ops.convert_to_numpy(base.get_layer("inner").kernel)
    assert (~outer.any(axis=(0, 1, 2))).sum() == 4
    assert inner.any(axis=(0, 1, 2)).all()


def test_frozen_layers_and_revived_channels_are_skipped():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="frozen", trainable=False)(inputs)
    x = layers.Conv2D(8, 3, activation="sigmoid", name="gate")(x)
    x = layers.Conv2D(8, 3, name="free")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    model.compile("sgd", "mse", jit_compile=JIT)
    pruning = FilterPruning(0.5, end_step=4)
    fit(model, pruning)
    assert pruning.skipped == (
        ("frozen", "'frozen' is not trainable"),
        ("gate", "not zero after 'gate' (Conv2D)"),
        ("head", "frozen: an output of the model"),
    )
    gone = zeroed(model)
    assert (gone["frozen"], gone["gate"], len(gone["free"])) == ([], [], 4)


@pytest.mark.parametrize(
    "follower", [layers.BatchNormalization, layers.DepthwiseConv2D]
)
def test_groups_with_a_frozen_follower_are_skipped(follower):
    sizes = {"kernel_size": 3} if follower is layers.DepthwiseConv2D else {}
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, name="tied"),
            follower(**sizes, name="fixed", trainable=False),
            layers.Conv2D(8, 3, name="free"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, name="head"),
        ]
    )
    model.compile("sgd", "mse", jit_compile=JIT)
    before = distinct_weights(model).get_layer("fixed").get_weights()
    pruning = FilterPruning(0.5, end_step=4)
    fit(model, pruning)
    assert ("tied", "'fixed' is not trainable") in pruning.skipped
    for old, new in zip(before, model.get_layer("fixed").get_weights()):
        np.testing.assert_array_equal(old, new)
    gone = zeroed(model)
    assert (gone["tied"], len(gone["free"])) == ([], 4)


def test_student_of_a_distiller():
    student, teacher = build(), build(seed=1)
    distiller = keras.distillation.Distiller(
        teacher=teacher,
        student=student,
        distillation_losses=keras.distillation.LogitsDistillation(),
    )
    distiller.compile("adam", "mse", jit_compile=JIT)
    history = fit(distiller, FilterPruning(0.5, end_step=4))
    assert len(zeroed(student)["stem"]) == 4
    assert zeroed(teacher)["stem"] == []
    assert history.history["pruned_fraction"] == [pytest.approx(12 / 28)]


def test_averaged_weights_are_zeroed_too():
    model = build(keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.5))
    fit(model, FilterPruning(0.5, end_step=6, frequency=1))
    assert len(zeroed(model)["stem"]) == 4


WARNINGS = {
    "too_late": (
        {"begin_step": 10, "end_step": 20},
        "pruned nothing: training ended after 8 optimizer steps and the "
        "first filters go after 20.",
    ),
    "not_reached": (
        {"end_step": 20, "frequency": 2},
        "did not reach final_fraction=0.5: training ended after 8 optimizer "
        "steps and end_step is 20.",
    ),
    "rounded_away": (
        {"end_step": 4, "round_to": 16},
        "pruned nothing: with round_to=16 a fraction of 0.5 leaves every "
        "group whole.",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warns_of_a_schedule_without_effect(case):
    arguments, message = WARNINGS[case]
    with pytest.warns(UserWarning) as caught:
        fit(build(), FilterPruning(0.5, **arguments))
    texts = [str(w.message) for w in caught if w.category is UserWarning]
    assert len(texts) == 1
    assert message in texts[0]


def test_warns_of_a_start_after_the_end():
    model = build()
    fit(model)
    with pytest.warns(UserWarning, match="has done 8 steps already"):
        fit(model, FilterPruning(0.5, end_step=4))
    assert len(zeroed(model)["stem"]) == 4


@pytest.mark.parametrize("steps", [{"end_step": 8}, {"end_step": 3}])
def test_does_not_warn_when_all_is_well(steps):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(build(), FilterPruning(0.5, frequency=3, **steps))


ARGUMENTS = {
    "percent": (
        {"final_fraction": 25},
        "fraction in [0, 1), not a percent. Received: final_fraction=25.",
    ),
    "all": ({"final_fraction": 1.0}, "Received: final_fraction=1.0."),
    "negative": ({"final_fraction": -0.1}, "final_fraction=-0.1."),
    "order": (
        {"begin_step": 10, "end_step": 10},
        "0 <= begin_step < end_step. Received: begin_step=10, end_step=10.",
    ),
    "begin": ({"begin_step": -1}, "at least 0. Received: begin_step=-1."),
    "frequency": ({"frequency": 0}, "Received: frequency=0."),
    "round_to": ({"round_to": 0}, "Received: round_to=0."),
    "string": (
        {"ignored_layers": "head"},
        "Received: the string 'head'. Pass ['head'].",
    ),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_are_checked(case):
    arguments, message = ARGUMENTS[case]
    with pytest.raises(ValueError) as error:
        FilterPruning(**{"final_fraction": 0.5, **arguments})
    assert message in str(error.value)


TABLE = SensitivityTable("net", "filters", "l1", "accuracy", "max", 0.9, ())
WRONG_TYPES = {
    "table": (
        {"final_fraction": TABLE},
        "`final_fraction` must be a number or .* Received: a Sensitivity.* "
        "Fractions by layer.*`table.suggest.*are for `IterativePruning`",
    ),
    "by_layer": ({"final_fraction": {"stem": 0.5}}, "Fractions by layer"),
    "string": ({"final_fraction": "0.5"}, "Received: '0.5'.$"),
    "boolean": ({"final_fraction": True}, "Received: True.$"),
    "frequency": ({"frequency": 1.5}, "whole number.*frequency=1.5"),
    "end_step": ({"end_step": 10.5}, "whole number.*end_step=10.5"),
    "round_to": ({"round_to": 2.5}, "whole number.*round_to=2.5"),
    "layer": (
        {"ignored_layers": [layers.Dense(2, name="stem")]},
        "Received: Dense 'stem' among them. Pass the string",
    ),
}


@pytest.mark.parametrize("case", WRONG_TYPES)
def test_wrong_types(case):
    arguments, message = WRONG_TYPES[case]
    with pytest.raises(TypeError, match=message):
        FilterPruning(**{"final_fraction": 0.5, **arguments})


def test_scores_that_are_no_numbers():
    def unknown(group):
        return np.full(group.channels, np.nan)

    message = "Criterion 'unknown' must give one finite score"
    with pytest.raises(ValueError, match=message):
        fit(build(), FilterPruning(0.5, end_step=2, criterion=unknown))


def test_unknown_ignored_layer():
    with pytest.raises(ValueError, match="'steem'. Did you mean 'stem'?"):
        fit(build(), FilterPruning(0.5, ignored_layers=["steem"]))


def test_filters_that_are_no_numbers_cannot_be_chosen():
    model = build()
    kernel = model.get_layer("first").kernel
    kernel.assign(keras.ops.full(kernel.shape, float("nan")))
    with pytest.raises(ValueError, match="NaN in 'kernel' of layer '"):
        fit(model, FilterPruning(0.5, end_step=2, frequency=1))


def test_model_without_filters_to_prune():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="only")])
    model.compile("sgd", "mse", jit_compile=JIT)
    with pytest.raises(ValueError) as error:
        model.fit(
            np.ones((2, 3)),
            np.ones((2, 2)),
            verbose=0,
            callbacks=[FilterPruning(0.5)],
        )
    assert "has no filters that can be pruned" in str(error.value)
    assert "only: frozen: an output of the model" in str(error.value)
