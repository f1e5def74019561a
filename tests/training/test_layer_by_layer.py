"""Filters go as long as the metric comes back, and no further."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress.training import prune_layer_by_layer
from fritz_compress.training.retraining import Retrainer, RetrainingSettings

# Tracing costs more than these few steps; JAX cannot do without.
EAGER = keras.backend.backend() == "tensorflow"


def detector(learning_rate=0.0):
    """Tells 8 one-hot inputs apart with the first 8 of its 16 hidden units.

    Unit `i` below 8 answers to input `i`, hardly to others. With a learning
    rate of 0 every metric is known beforehand: each of these units that is
    missing costs an eighth of the accuracy.
    """
    inputs = keras.Input((8,))
    x = layers.Dense(16, activation="relu", name="hidden")(inputs)
    x = layers.Dropout(0.1, name="dropout")(x)
    model = keras.Model(inputs, layers.Dense(8, name="head")(x), name="net")
    units = np.where(np.eye(8, 16), 1.0, 0.001)
    units *= np.linspace(2, 1, 16)  # the last ones go first
    model.get_layer("hidden").set_weights([units, np.zeros(16)])
    model.get_layer("head").set_weights([np.eye(16, 8), np.zeros(8)])
    return compiled(model, learning_rate)


def compiled(model, learning_rate=0.01):
    model.compile(
        keras.optimizers.SGD(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=EAGER,
        jit_compile=not EAGER,
    )
    return model


def data(count=64):
    labels = np.arange(count) % 8
    return np.eye(8, dtype="float32")[labels], labels


def prune(model, floor=0.95, **arguments):
    arguments = {
        "fractions": 0.75,
        "recovery_epochs": 2,
        "sample_fraction": 0.5,
        "final_epochs": 1,
        "batch_size": 16,
        **arguments,
    }
    return prune_layer_by_layer(model, data(), data(16), floor, **arguments)


def tried(report):
    return [
        (s.layer, s.channels_before, s.channels_after, s.epochs, s.accepted)
        for s in report.steps
    ]


def same_weights(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def test_filters_go_until_the_metric_does_not_come_back():
    model = detector()
    smaller, report = prune(model)
    assert tried(report) == [
        ("hidden", 16, 12, 1, True),
        ("hidden", 12, 8, 1, True),
        ("hidden", 8, 4, 2, False),
    ]
    assert [step.metric_before for step in report.steps] == [1, 1, 0.5]
    assert [step.metric_after for step in report.steps] == [1, 1, 0.5]
    assert report.metric_before == report.metric_after == 1
    assert smaller.get_layer("hidden").units == 8
    np.testing.assert_array_equal(  # what was useful is left, in its order
        smaller.get_layer("hidden").get_weights()[0],
        model.get_layer("hidden").get_weights()[0][:, :8],
    )
    assert same_weights(model, detector())  # untouched


def test_a_lower_floor_lets_more_go():
    smaller, report = prune(detector(), floor=0.5)
    assert smaller.get_layer("hidden").units == 4
    assert all(step.accepted for step in report.steps)
    assert report.metric_after == 0.5


@pytest.mark.slow
def test_retraining_brings_the_metric_back():
    arguments = {"fractions": 0.625, "round_to": 6, "floor": 0.8}
    arguments |= {"sample_fraction": 1.0, "batch_size": 8}
    still, _ = prune(detector(), **arguments)
    assert still.get_layer("hidden").units == 12
    moved, report = prune(detector(0.3), recovery_epochs=40, **arguments)
    assert moved.get_layer("hidden").units == 6  # 2 fewer than classes
    last = report.steps[-1]
    assert last.metric_before == 0.75 and last.metric_after > 0.8
    assert 1 <= last.epochs < 40


def test_a_loss_may_be_the_metric():
    _, report = prune(detector(), floor=1.9, monitor="loss", mode="min")
    assert [step.accepted for step in report.steps] == [True, True, True]
    _, report = prune(detector(), floor=1.2, monitor="loss", mode="min")
    assert [step.accepted for step in report.steps] == [True, True, False]


def test_steps_are_announced_with_how_many_are_left():
    announced = []
    _, report = prune(
        detector(),
        floor=0.95,
        on_step=lambda step, left: announced.append((step, left)),
    )
    assert announced == list(zip(report.steps, [2, 1, 0]))


@pytest.mark.slow
def test_groups_have_their_turns_in_the_order_asked_for():
    model = chain()
    _, report = prune(model, 0.0, fractions={"third": 0.5, "first": 0.25})
    assert tried(report) == [
        ("third", 12, 8, 1, True),  # 6 of 12, kept in fours
        ("first", 16, 12, 1, True),
    ]
    _, report = prune(model, 0.0, fractions=0.5, step_fraction=0.5)
    assert [step[:3] for step in tried(report)] == [
        ("first", 16, 8),
        ("second", 8, 4),
        ("third", 12, 8),
    ]
    _, report = prune(model, 0.0, fractions=0.5, ignored_layers=["second"])
    assert [name for name, *_ in tried(report)] == ["first", "first", "third"]
    assert ("second", "'second' is in ignored_layers") in report.skipped
    assert ("head", "frozen: an output of the model") in report.skipped


def chain():
    """8 numbers through layers of 16, 8, 12 units to 8 classes."""
    model = keras.Sequential(name="chain")
    model.add(keras.Input((8,)))
    for name, units in {"first": 16, "second": 8, "third": 12}.items():
        model.add(layers.Dense(units, "relu", name=name))
    model.add(layers.Dense(8, name="head"))
    return compiled(distinct_weights(model))


def test_tied_layers_lose_the_same_filters():
    inputs = keras.Input((8,))
    branches = [layers.Dense(8, name=n)(inputs) for n in ("left", "right")]
    x = layers.BatchNormalization()(layers.Add()(branches))
    x = layers.Dense(8, name="head")(x)
    model = compiled(distinct_weights(keras.Model(inputs, x)), 0.0)
    smaller, report = prune(model, 0.0, fractions={"right": 0.5})
    assert tried(report) == [("left, right", 8, 4, 1, True)]
    kernels = [
        [m.get_layer(n).get_weights()[0] for n in ("left", "right")]
        for m in (model, smaller)
    ]
    norms = sum(abs(k).sum(0) / abs(k).sum(0).mean() for k in kernels[0])
    kept = np.sort(np.argsort(norms)[4:])
    for before, after in zip(*kernels):
        np.testing.assert_array_equal(after, before[:, kept])


def test_samples_change_every_so_many_epochs():
    seen = []

    class Peek(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

    settings = RetrainingSettings(
        floor=2.0,
        recovery_epochs=6,
        sample_fraction=0.25,
        epochs_per_sample=3,
        batch_size=4,
    )
    inputs = np.arange(40, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), layers.Dense(2)])
    retrainer = Retrainer(
        compiled(model, 0.0),
        (inputs, np.zeros(40)),
        (inputs, np.zeros(40)),
        settings,
        [Peek()],
    )
    drawn = []
    batches = retrainer._batches
    retrainer._batches = lambda rows, first: batches(
        lambda epoch: drawn.append(rows(epoch)) or drawn[-1], first
    )
    assert retrainer.recover(model, first_epoch=2)[1] == 6
    assert seen == [2, 3, 4, 5, 6, 7]
    samples = [frozenset(rows.tolist()) for rows in drawn[:6]]
    assert all(len(sample) == 10 for sample in samples)
    assert samples[1] == samples[2] == samples[3] != samples[4]
    assert samples[0] != samples[1] and samples[4] == samples[5]
    assert drawn[1].tolist() != drawn[2].tolist()  # another order


def test_a_last_training_below_the_floor_is_not_taken(monkeypatch):
    monkeypatch.setattr(Retrainer, "train", lambda *_: 0.25)
    smaller, report = prune(detector(), floor=0.95)
    assert not report.retraining.accepted
    assert report.retraining.metric_after == 0.25
    assert report.metric_after == 1
    assert smaller.get_layer("hidden").units == 8


def test_the_report_is_a_table():
    _, report = prune(detector(), floor=0.95)
    assert str(report).splitlines() == [
        "layer                 channels  accuracy  retrained  epochs",
        "hidden                16 -> 12  1.0000    1.0000     1       kept",
        "hidden                12 -> 8   1.0000    1.0000     1       kept",
        "hidden                8 -> 4    0.5000    0.5000     2       undone",
        "all layers, all data            1.0000    1.0000     1       kept",
        "skipped head: frozen: an output of the model",
        "accuracy 1.0000 -> 1.0000 (floor 0.95), parameters 280 -> 144",
    ]


def test_it_leaves_a_compiled_model_and_no_last_training_if_not_asked():
    smaller, report = prune(detector(), final_epochs=0)
    assert report.retraining is None and report.metric_after == 1
    assert smaller.evaluate(*data(), verbose=0)[1] == 1


def stop_after(count):
    def on_step(step, left):
        nonlocal count
        count -= 1
        if not count:
            raise KeyboardInterrupt

    return on_step


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_interrupted_and_called_again_it_ends_the_same(steps, tmp_path):
    def learn(**arguments):
        return prune(
            detector(0.1), 0.4, final_epochs=3, epochs_per_sample=2, **arguments
        )

    whole, report = learn()
    with pytest.raises(KeyboardInterrupt):
        learn(backup_dir=tmp_path / "b", on_step=stop_after(steps))
    journal = json.loads((tmp_path / "b" / "journal.json").read_text())
    assert len(journal["steps"]) == steps
    assert (tmp_path / "b" / journal["model"]).is_file()
    announced = []
    torn, resumed = learn(
        backup_dir=tmp_path / "b",
        on_step=lambda step, left: announced.append(step),
    )
    assert announced == list(report.steps[steps:])
    assert resumed == report
    assert same_weights(torn, whole)
    # Done is done: nothing is trained once more.
    again, repeated = learn(backup_dir=tmp_path / "b", on_step=stop_after(1))
    assert repeated == report and same_weights(again, whole)


@pytest.mark.slow
def test_a_last_training_that_was_interrupted_goes_on(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            on_all_data = self.params["steps"] == 64 // 16
            if epoch == 2 and on_all_data:
                raise KeyboardInterrupt

    def learn(**arguments):
        return prune(detector(0.1), 0.4, final_epochs=4, **arguments)

    whole, report = learn()
    with pytest.raises(KeyboardInterrupt):
        learn(backup_dir=tmp_path / "b", callbacks=[Interrupt()])
    assert (tmp_path / "b" / "retraining" / "latest.weights.h5").is_file()
    torn, resumed = learn(backup_dir=tmp_path / "b")
    assert resumed == report and same_weights(torn, whole)
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == ["journal.json", "model_4.keras"]


SCRIPT = """
import sys
sys.path[:0] = [{tests!r}, {here!r}]
import keras
import test_layer_by_layer as t
t.prune(t.detector(0.1), 0.4, final_epochs=4, backup_dir={folder!r},
        on_step=lambda step, left: print("step", flush=True))
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_changes_nothing(tmp_path):
    whole, report = prune(detector(0.1), 0.4, final_epochs=4)
    folder, here = tmp_path / "b", pathlib.Path(__file__).parent
    code = SCRIPT.format(
        tests=str(here.parent), here=str(here), folder=str(folder)
    )
    for wait in (0, 0.3):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert process.stdout.readline() == b"step\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    resumed, again = prune(
        detector(0.1), 0.4, final_epochs=4, backup_dir=folder
    )
    assert again == report and same_weights(resumed, whole)


WRONG = {
    "`sample_fraction` must be a fraction.*=10": {"sample_fraction": 10},
    "`step_fraction` must be a fraction.*=0": {"step_fraction": 0},
    "`recovery_epochs` must be at least 1.*=0": {"recovery_epochs": 0},
    "`final_epochs` must be at least 0.*=-1": {"final_epochs": -1},
    "`round_to` must be at least 1": {"round_to": 0},
    "`fractions` must be a fraction.*fractions=75": {"fractions": 75},
    "Nothing to prune: `fractions` must be above 0": {"fractions": 0.0},
    "Nothing to prune.*fractions=\\{\\}": {"fractions": {}},
    "`floor` must be a number.*'0.9'": {"floor": "0.9"},
    "`mode` must be 'max' or 'min'": {"mode": "auto"},
    "metric that the model is compiled with: accuracy, loss.*'mae'": {
        "monitor": "mae"
    },
    "reach the floor before.*accuracy=1.0000 with floor=1.5": {"floor": 1.5},
    "no layer of this name.*Did you mean 'hidden'": {
        "fractions": {"hiden": 0.5}
    },
    "'head' cannot lose filters: frozen: an output": {
        "fractions": {"head": 0.5}
    },
    "'dropout.*cannot lose filters: it makes no": {
        "fractions": {"dropout": 0.5}
    },
    "no filters to remove. hidden: a fraction of 0.1 of 16": {"fractions": 0.1},
    "must be a list of layer names.*'hidden'": {"ignored_layers": "hidden"},
    "Did you mean 'l1'": {"criterion": "l11"},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_are_refused(message, tmp_path):
    folder = tmp_path / "b"
    with pytest.raises(ValueError, match=message):
        prune(detector(), **{"backup_dir": folder, **WRONG[message]})
    assert not folder.exists()


WRONG_TYPES = {
    "`fractions` must be.*'0.5'. Pass the number": {"fractions": "0.5"},
    "`round_to` must be a whole number": {"round_to": 2.5},
    "`recovery_epochs` must be a whole number": {"recovery_epochs": 1.5},
    "`sample_fraction` must be a fraction.*None": {"sample_fraction": None},
    "`ignored_layers` must be a list.*None": {"ignored_layers": None},
}


@pytest.mark.parametrize("message", WRONG_TYPES)
def test_wrong_types_are_refused(message):
    with pytest.raises(TypeError, match=message):
        prune(detector(), **WRONG_TYPES[message])


def test_a_file_in_place_of_a_model():
    with pytest.raises(TypeError, match="must be a Keras model.*Load the file"):
        prune("net.keras")


def test_nan_in_a_layer_that_is_not_scored_is_refused():
    model = detector()
    bias = model.get_layer("head").bias
    bias.assign(keras.ops.full(bias.shape, float("nan")))
    with pytest.raises(ValueError, match="NaN in 'bias' of layer 'head'"):
        prune(model, 0.0)


def test_data_must_be_arrays_of_one_length():
    x, y = data()
    for message, wrong in {
        "`data` must be arrays .inputs, targets.*ndarray": x,
        "`data` must have one length.*63, 64": (x, y[:-1]),
        "`data` must have one length.*0": (x[:0], y[:0]),
    }.items():
        with pytest.raises(ValueError, match=message):
            prune_layer_by_layer(detector(), wrong, data(), 0.5)


def test_a_model_must_be_compiled():
    model = detector()
    model = keras.Model(model.input, model.output)
    with pytest.raises(ValueError, match="must be compiled, to be retrained"):
        prune(model, 0.5)


def test_layers_that_shrink_together_have_one_fraction():
    inputs = keras.Input((8,))
    x = layers.Add()([layers.Dense(8, name=n)(inputs) for n in "ab"])
    model = compiled(keras.Model(inputs, layers.Dense(8)(x)))
    with pytest.raises(ValueError, match="'a' and 'b' shrink together.*0.5"):
        prune(model, 0.0, fractions={"a": 0.5, "b": 0.25})


def test_the_folder_of_another_pruning_is_refused(tmp_path):
    prune(detector(), 0.95, backup_dir=tmp_path)
    kept = (tmp_path / "journal.json").read_bytes()
    with pytest.raises(ValueError, match="floor was 0.95 and is 0.9"):
        prune(detector(), 0.9, backup_dir=tmp_path)
    assert (tmp_path / "journal.json").read_bytes() == kept
    (tmp_path / "journal.json").write_text("[]")
    with pytest.raises(ValueError, match="not the journal of a pruning"):
        prune(detector(), 0.95, backup_dir=tmp_path)
