"""Weights pruned and rewound by rounds, seen from plain fits and numpy."""

import pathlib

import keras
import numpy as np
import pytest
from fits import JIT, Stop
from helpers import distinct_weights
from keras import layers

from fritz_compress.callbacks import LotteryTicketRewinding

STEPS = 4  # of an epoch


def build(optimizer="adam", seed=0, units=10):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(units, activation="relu", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2, name="head"),
        ],
        name="net",
    )
    distinct_weights(model, seed)
    model.compile(optimizer, "mse", jit_compile=JIT)
    return model


def fit(model, *callbacks, epochs=1, **kwargs):
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(16, 4)), rng.normal(size=(16, 2))
    return model.fit(
        inputs,
        targets,
        batch_size=16 // STEPS,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **kwargs,
    )


def state(model):
    """Weights by path, then optimizer variables by path, as copies."""
    return {
        variable.path: np.array(keras.ops.convert_to_numpy(variable))
        for variable in [*model.weights, *model.optimizer.variables]
    }


class Recorder(keras.callbacks.Callback):
    """The state before every step, and the rate that the step will have."""

    def __init__(self):
        super().__init__()
        self.states, self.rates = [], []

    def on_train_batch_begin(self, batch, logs=None):
        model = self.model
        self.states.append(state(model))
        rate = keras.ops.convert_to_numpy(model.optimizer.learning_rate)
        self.rates.append(float(rate))


def smallest(values, zeros):
    """Where the smallest magnitudes of several arrays are, all ranked."""
    flat = np.concatenate([np.abs(value).ravel() for value in values])
    gone = np.zeros(flat.size, bool)
    gone[sorted(range(flat.size), key=lambda i: flat[i])[:zeros]] = True
    ends = np.cumsum([value.size for value in values])[:-1]
    return [
        part.reshape(value.shape)
        for part, value in zip(np.split(gone, ends), values)
    ]


def paths(model):
    return [layer.kernel.path for layer in (model.layers[0], model.layers[2])]


@pytest.mark.parametrize("rewind_step", [0, 3])
def test_the_smallest_weights_go_and_the_rest_is_rewound(rewind_step):
    plain, trained = build(), Recorder()
    plain.optimizer.build(plain.trainable_variables)
    fit(plain, trained, epochs=2)

    model, recorder = build(), Recorder()
    tickets = LotteryTicketRewinding(
        rounds=2, epochs_per_round=2, rewind_step=rewind_step
    )
    history = fit(model, tickets, recorder, epochs=6).history

    assert history["round"] == [0, 0, 1, 1, 2, 2]
    # Of 60 weights 12 go, then 10 of the other 48 (38.4 stay).
    assert history["sparsity"] == pytest.approx(
        [0, 0, 0.2, 0.2, 22 / 60, 22 / 60]
    )
    hidden, head = paths(model)
    before = [state(plain)[path] for path in paths(plain)]
    gone = dict(zip((hidden, head), smallest(before, 12)))
    rewound = recorder.states[2 * STEPS]
    for (path, value), expected in zip(
        rewound.items(), trained.states[rewind_step].values(), strict=True
    ):
        expected = np.where(gone.get(path, False), 0, expected)
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=path)
    assert rewound[model.optimizer.iterations.path] == rewind_step

    last = recorder.states[-1]
    for path in (hidden, head):
        assert not last[path][gone[path]].any()
    # The end of training is not rewound.
    assert int(model.optimizer.iterations) == rewind_step + 2 * STEPS
    moved = np.abs(state(model)[hidden] - last[hidden])
    assert 0 < moved.max() < 0.01


def test_masks_only_grow():
    model, recorder = build(keras.optimizers.Adam(0.05)), Recorder()
    tickets = LotteryTicketRewinding(3, 1, fraction_per_round=0.5)
    fit(model, tickets, recorder, epochs=4)
    zeros = [
        np.concatenate([seen[path].ravel() == 0 for path in paths(model)])
        for seen in recorder.states
    ]
    counts = [int(found.sum()) for found in zeros]
    # 60, 30, 15 and 7.5 weights are left.
    assert counts == [0] * 4 + [30] * 4 + [45] * 4 + [52] * 4
    for earlier, later in zip(zeros, zeros[1:]):
        assert (earlier <= later).all()


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_scope(scope):
    model = build(keras.optimizers.SGD(0.0))
    model.layers[2].kernel.assign(0.001 * model.layers[2].kernel)
    fit(model, LotteryTicketRewinding(1, 1, 0.4, scope=scope), epochs=2)
    zeros = [np.sum(state(model)[path] == 0) for path in paths(model)]
    # Of 40 and 20 weights; the last one of a kernel stays.
    assert zeros == {"global": [5, 19], "layer": [16, 8]}[scope]


def test_a_schedule_of_the_learning_rate_starts_over():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [2, 5], [0.1, 0.01, 0.001]
    )
    model, recorder = build(keras.optimizers.SGD(schedule)), Recorder()
    tickets = LotteryTicketRewinding(1, 2, rewind_step=3)
    fit(model, tickets, recorder, epochs=4)
    rates = np.array([0.1] * 3 + [0.01] * 3 + [0.001] * 2)
    np.testing.assert_allclose(
        recorder.rates, [*rates, *rates[3:], *[0.001] * 3]
    )


def test_ignored_layers_are_rewound_but_not_pruned():
    model, recorder = build(), Recorder()
    tickets = LotteryTicketRewinding(1, 1, 0.5, ignored_layers=["head"])
    history = fit(model, tickets, recorder, epochs=2).history
    hidden, head = paths(model)
    rewound = recorder.states[STEPS]
    np.testing.assert_array_equal(rewound[head], recorder.states[0][head])
    assert np.sum(rewound[hidden] == 0) == 20
    assert history["sparsity"] == [0, 0.5]


def test_the_student_of_a_distiller():
    student, teacher = build(seed=0), build(seed=1)
    expected, before = teacher.get_weights(), student.get_weights()
    distiller = keras.distillation.Distiller(
        teacher, student, keras.distillation.LogitsDistillation()
    )
    distiller.compile("adam", "mse", jit_compile=JIT)
    fit(distiller, LotteryTicketRewinding(1, 1, 0.5), epochs=2)
    kernels = [layer.get_weights()[0] for layer in student.layers[::2]]
    assert sum(np.sum(kernel == 0) for kernel in kernels) == 30
    for old, new in zip(expected, teacher.get_weights()):
        np.testing.assert_array_equal(new, old)
    assert not np.array_equal(before[1], student.get_weights()[1])


def test_the_model_is_a_plain_one_afterwards(tmp_path):
    model = build()
    fit(model, LotteryTicketRewinding(1, 1, 0.5), epochs=2)
    model.save(tmp_path / "ticket.keras")
    loaded = keras.saving.load_model(tmp_path / "ticket.keras")
    for old, new in zip(model.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(new, old)
    fit(loaded)


def resumable(folder, backup_first, **arguments):
    tickets = LotteryTicketRewinding(
        **{
            "rounds": 2,
            "epochs_per_round": 2,
            "fraction_per_round": 0.5,
            "rewind_step": 3,
            "checkpoint_file": folder / "early.weights.h5",
            **arguments,
        }
    )
    backup = keras.callbacks.BackupAndRestore(folder / "backup")
    return [backup, tickets] if backup_first else [tickets, backup]


@pytest.mark.parametrize(
    "backup_first, epoch",
    [
        (True, 2),  # as soon as the first rewinding is done
        pytest.param(False, 3, marks=pytest.mark.slow),
        pytest.param(True, 5, marks=pytest.mark.slow),  # in the last round
    ],
)
def test_interrupted_fit_ends_with_the_same_weights(
    tmp_path, backup_first, epoch
):
    whole = build()
    fit(whole, *resumable(tmp_path, backup_first), epochs=6)
    with pytest.raises(KeyboardInterrupt):
        fit(
            build(),
            *resumable(tmp_path, backup_first),
            Stop(epoch, batch=1),
            epochs=6,
        )
    # Another process: a new model with other weights, a new callback.
    resumed, recorder = build(seed=1), Recorder()
    fit(resumed, *resumable(tmp_path, backup_first), recorder, epochs=6)
    assert len(recorder.states) == (6 - epoch) * STEPS
    for (path, old), new in zip(state(whole).items(), state(resumed).values()):
        np.testing.assert_array_equal(new == 0, old == 0, err_msg=path)
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-6)
    assert sum(np.sum(state(resumed)[p] == 0) for p in paths(resumed)) == 45


LOST = {
    "no_file": ({"checkpoint_file": None}, "and no `checkpoint_file`"),
    "missing": ({}, "early.weights.h5', which does not exist"),
    "other_step": ({"rewind_step": 2}, "which holds the weights after 3 steps"),
}


@pytest.mark.parametrize("case", LOST)
def test_a_resumed_fit_without_its_early_weights_is_an_error(tmp_path, case):
    arguments, message = LOST[case]
    with pytest.raises(KeyboardInterrupt):
        fit(build(), *resumable(tmp_path, True), Stop(1, batch=0), epochs=6)
    if case == "missing":
        (tmp_path / "early.weights.h5").unlink()
    resumed = build(seed=1)
    with pytest.raises(ValueError, match=f"has done 4 steps.*{message}"):
        fit(resumed, *resumable(tmp_path, True, **arguments), epochs=6)


def test_the_file_of_another_model_is_refused(tmp_path):
    file = tmp_path / "early.weights.h5"
    other = build(units=7)
    other.optimizer.build(other.trainable_variables)
    other.save_weights(file)
    model = build()
    fit(model)
    before = state(model)
    with pytest.raises(ValueError, match="the early weights of model '"):
        fit(model, LotteryTicketRewinding(1, 1, checkpoint_file=file), epochs=2)
    for path, value in state(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "early.weights.h5"
    file.write_bytes(b"of the training before")

    def torn(model, path):
        pathlib.Path(path).write_bytes(b"half a fi")
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "save_weights", torn)
    with pytest.raises(KeyboardInterrupt):
        fit(
            build(),
            LotteryTicketRewinding(1, 1, checkpoint_file=file),
            epochs=2,
        )
    assert file.read_bytes() == b"of the training before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rounds": 0}, "Received: rounds=0"),
        ({"epochs_per_round": 0}, "epochs_per_round=0"),
        ({"rewind_step": -1}, "rewind_step=-1"),
        ({"fraction_per_round": 20}, "not a percent. Received: .*=20"),
        ({"fraction_per_round": 0}, "fraction_per_round=0"),
        ({"scope": "local"}, "'layer'.. Received: scope='local'"),
        (
            {"checkpoint_file": "early.h5"},
            "'.weights.h5'. Received: 'early.h5'",
        ),
        (
            {"checkpoint_file": "no/such/early.weights.h5"},
            "does not exist. Create 'no/such' first",
        ),
        ({"ignored_layers": "head"}, "the string 'head'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        LotteryTicketRewinding(
            **{"rounds": 1, "epochs_per_round": 1, **arguments}
        )


@pytest.mark.parametrize("name", ["rounds", "epochs_per_round", "rewind_step"])
def test_counts_must_be_whole(name):
    arguments = {"rounds": 2, "epochs_per_round": 2, name: 1.5}
    with pytest.raises(TypeError, match=f"whole number.*{name}=1.5"):
        LotteryTicketRewinding(**arguments)


def test_rewind_step_beyond_the_first_round():
    tickets = LotteryTicketRewinding(1, 1, rewind_step=4)
    with pytest.raises(ValueError, match="ends after 4 .*rewind_step=4. Lower"):
        fit(build(), tickets, epochs=2)


def test_weights_that_are_no_numbers_are_refused():
    model = build()
    model.layers[0].kernel.assign(np.full((4, 10), np.nan))
    with pytest.raises(ValueError, match="NaN in 'kernel' of layer 'hidden'"):
        fit(model, LotteryTicketRewinding(1, 1), epochs=2)


def test_a_model_without_kernels_is_refused():
    tickets = LotteryTicketRewinding(1, 1, ignored_layers=["hidden", "head"])
    with pytest.raises(ValueError, match="no weights that can be pruned"):
        fit(build(), tickets, epochs=2)


def test_warns_of_too_few_epochs():
    with pytest.warns(UserWarning, match="needs epochs=4, .* and `fit` has 3"):
        fit(build(), LotteryTicketRewinding(3, 1), epochs=3)


def test_warns_if_training_is_stopped():
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(
            stop.model, "stop_training", True
        )
    )
    with pytest.warns(UserWarning, match="stopped after 0 of 1 rounds"):
        fit(build(), LotteryTicketRewinding(1, 1), stop, epochs=2)
