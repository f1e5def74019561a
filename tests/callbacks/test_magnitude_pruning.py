"""Weights zeroed during fit: how many, which, and that they stay zero."""

import itertools
import warnings

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress.callbacks import (
    ConstantSparsity,
    MagnitudePruning,
    PolynomialDecay,
)

# Compiling costs more than these few steps; JAX cannot do without.
JIT = keras.backend.backend() == "jax"


def build(optimizer="adam", seed=0):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.Conv2D(10, 3, padding="same", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Conv2D(8, 1, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, name="head"),
        ],
        name="net",
    )
    distinct_weights(model, seed)
    model.compile(optimizer, "mse", jit_compile=JIT)
    return model


def fit(model, *callbacks, epochs=1, **kwargs):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(16, *model.input_shape[1:]))
    targets = rng.normal(size=(16, *model.output_shape[1:]))
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


def kernel(model, name):
    return keras.ops.convert_to_numpy(model.get_layer(name).kernel)


def zeros(model):
    return {
        name: int((kernel(model, name) == 0).sum())
        for name in ("first", "second", "head")
    }


class Recorder(keras.callbacks.Callback):
    """Number of zeros of each kernel after every batch."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_train_batch_end(self, batch, logs=None):
        self.counts.append(zeros(self.model))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_number_rises_along_the_cubic_curve(optimizer):
    model, recorder = build(optimizer), Recorder()
    pruning = MagnitudePruning(0.8, begin_step=2, end_step=6, frequency=2)
    history = fit(model, pruning, recorder)
    # 7/8 of 0.8 after step 4: 0.3 * 270 = 81 of `first` stay, 24 of `second`
    # and 12 of `head`; then 54, 16 and 8.
    rise = [{"first": 0, "second": 0, "head": 0}] * 3
    rise += [{"first": 189, "second": 56, "head": 28}] * 2
    rise += [{"first": 216, "second": 64, "head": 32}] * 3
    assert recorder.counts == rise
    assert history.history["sparsity"] == [312 / 390]
    assert type(history.history["sparsity"][0]) is float


def test_the_least_magnitudes_go():
    model = build(keras.optimizers.SGD(0.0))
    before = kernel(model, "first")
    fit(model, MagnitudePruning(0.9, end_step=2, frequency=1))
    kept = np.sort(np.abs(before).ravel())[-27:]
    expected = np.where(np.abs(before) >= kept[0], before, 0)
    np.testing.assert_array_equal(kernel(model, "first"), expected)


def test_equal_magnitudes_are_counted_exactly():
    model = build(keras.optimizers.SGD(0.0))
    head = model.get_layer("head").kernel
    head.assign(np.full(head.shape, -0.5))
    fit(model, MagnitudePruning(0.7, end_step=2, frequency=1))
    expected = np.where(np.arange(40) < 28, 0, -0.5).reshape(8, 5)
    np.testing.assert_array_equal(kernel(model, "head"), expected)


def test_global_scope_ranks_all_kernels_together():
    model = build(keras.optimizers.SGD(0.0))
    second = model.get_layer("second").kernel
    second.assign(second.value * 1e-3)
    pruning = MagnitudePruning(0.5, end_step=2, frequency=1, scope="global")
    before = [kernel(model, name) for name in ("first", "second", "head")]
    fit(model, pruning)
    found = zeros(model)
    # All of `second` but its largest weight, and the least of the others.
    assert found["second"] == 79
    assert sum(found.values()) == 195
    others = np.sort(
        np.abs(np.concatenate([before[0].ravel(), before[2].ravel()]))
    )
    limit = others[195 - 79]
    assert found["first"] == (np.abs(before[0]) < limit).sum()
    assert found["head"] == (np.abs(before[2]) < limit).sum()


def most_zeros_of_groups(values, size):
    """Fewest zeros of the whole groups along the inputs, over all groups."""
    columns = np.moveaxis(values, -2, -1).reshape(-1, values.shape[-2])
    counts = [
        (column[start : start + size] == 0).sum()
        for column in columns
        for start in range(0, len(column) - size + 1, size)
    ]
    return set(counts)


def test_two_of_four():
    model = build()
    pruning = MagnitudePruning(sparsity_m_by_n=(2, 4))
    recorder = Recorder()
    fit(model, pruning, recorder)
    # `first` sums over 3 inputs: one of a group of 3 goes, two stay. `second`
    # sums over 10: two groups of 4, and one of 2 that stays whole.
    expected = {"first": 90, "second": 32, "head": 20}
    assert recorder.counts == [expected] * 8
    assert most_zeros_of_groups(kernel(model, "second"), 4) == {2}
    assert most_zeros_of_groups(kernel(model, "head"), 4) == {2}
    assert (kernel(model, "second")[0, 0, 8:] != 0).all()


def test_m_of_n_runs_along_the_axes_that_are_summed():
    inputs = keras.Input((6, 8))
    x = layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs)
    x = layers.Conv1DTranspose(6, 1, name="transposed")(x)
    model = keras.Model(inputs, layers.GRU(4, name="recurrent")(x))
    distinct_weights(model)
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=JIT)
    fit(model, MagnitudePruning(sparsity_m_by_n=(2, 4)))
    found = {
        weight.path: keras.ops.convert_to_numpy(weight) == 0
        for weight in model.trainable_weights
        if len(weight.shape) > 1 and weight.name != "bias"
    }
    for path, gone in found.items():
        if "attention/attention_output" in path or "output/kernel" in path:
            rows = gone.reshape(8, 8).T  # heads and their width: the inputs
        elif "transposed" in path:
            rows = gone.reshape(6, 8)  # outputs, inputs
        else:
            rows = gone.reshape(len(gone), -1).T
        whole = rows[:, : rows.shape[1] // 4 * 4].reshape(-1, 4)
        assert (whole.sum(axis=1) == 2).all(), path
    assert len(found) == 7


@pytest.mark.parametrize("pooling", ["AVG", "MAX"])
def test_blocks_go_as_a_whole(pooling):
    model = build(keras.optimizers.SGD(0.0))
    before = {name: kernel(model, name) for name in ("second", "head")}
    pruning = MagnitudePruning(
        0.5,
        end_step=2,
        frequency=1,
        block_size=(2, 4),
        block_pooling_type=pooling,
    )
    fit(model, pruning)
    for name, values in before.items():
        matrix = np.abs(values).reshape(values.shape[-2:])
        places = [
            (slice(r, r + 2), slice(c, c + 4))
            for r, c in itertools.product(
                range(0, matrix.shape[0], 2), range(0, matrix.shape[1], 4)
            )
        ]
        pool = {"AVG": np.mean, "MAX": np.max}[pooling]
        places.sort(key=lambda place: pool(matrix[place]))
        expected = values.reshape(matrix.shape).copy()
        for place in places[: len(places) // 2]:
            expected[place] = 0
        np.testing.assert_array_equal(
            kernel(model, name).reshape(matrix.shape), expected
        )


def test_schedules_of_the_peer_are_followed():
    model, recorder = build(), Recorder()
    schedule = PolynomialDecay(0.5, 0.8, begin_step=0, end_step=4, frequency=4)
    fit(model, MagnitudePruning(pruning_schedule=schedule), recorder)
    # At step 0 already, which is before the first batch.
    assert [counts["head"] for counts in recorder.counts] == [20] * 3 + [32] * 5


class TensorSchedule:
    """Answers as the schedules of tensorflow-model-optimization: tensors."""

    begin_step, end_step, frequency = 2, -1, 3

    def __init__(self):
        self.steps = []

    def __call__(self, step):
        self.steps.append(step)
        due = step >= 2 and (step - 2) % 3 == 0
        return (
            keras.ops.convert_to_tensor(due),
            keras.ops.convert_to_tensor(0.75, "float32"),
        )


def test_objects_that_answer_in_tensors():
    model, recorder = build(), Recorder()
    schedule = TensorSchedule()
    fit(model, MagnitudePruning(schedule), recorder)
    assert [counts["head"] for counts in recorder.counts] == [0] + [30] * 7
    assert all(type(step) is int for step in schedule.steps)


@pytest.mark.slow
def test_steps_that_run_several_at_once_miss_no_pruning():
    model = build()
    model.compile("adam", "mse", jit_compile=JIT, steps_per_execution=3)
    schedule = PolynomialDecay(0.0, 0.8, 0, 4, frequency=4)
    fit(model, MagnitudePruning(schedule))
    assert zeros(model)["head"] == 32


@pytest.mark.slow
def test_only_kernels_are_pruned_and_the_rest_is_listed():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 8, name="words")(inputs)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.SeparableConv1D(8, 3, padding="same", name="separable")(x)
    x = layers.PReLU(name="slopes")(x)
    x = layers.TimeDistributed(layers.Dense(4), name="each")(x)
    x = layers.Bidirectional(layers.LSTM(3), name="both")(x)
    base = keras.Model(inputs, x, name="base")
    x = layers.Dense(8, name="fixed", trainable=False)(base(inputs))
    x = layers.Dense(8, name="ignored")(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    distinct_weights(model)
    model.compile("adam", "mse", jit_compile=JIT)
    pruning = MagnitudePruning(0.5, end_step=1, ignored_layers=["ignored"])
    model.fit(
        np.arange(12).reshape(2, 6) % 9,
        np.ones((2, 2)),
        verbose=0,
        callbacks=[pruning],
    )
    assert pruning.skipped == (
        ("separable", "a depthwise kernel has few weights, and each counts"),
        ("slopes", "'alpha' is not a kernel"),
        ("fixed", "not trainable"),
        ("ignored", "'ignored' is in ignored_layers"),
    )
    pruned = {
        weight.path: weight.shape[-1]
        for weight in model.weights
        if (keras.ops.convert_to_numpy(weight) == 0).sum()
        == np.prod(weight.shape) // 2
    }
    assert sorted(path.split("/")[-1] for path in pruned) == sorted(
        ["embeddings", "pointwise_kernel", "kernel", "kernel"]
        + ["kernel", "kernel", "recurrent_kernel", "recurrent_kernel"]
    )
    untouched = [w for w in model.weights if w.path not in pruned]
    assert all(keras.ops.convert_to_numpy(w).all() for w in untouched)


def test_student_of_a_distiller():
    student, teacher = build(), build(seed=1)
    distiller = keras.distillation.Distiller(
        teacher=teacher,
        student=student,
        distillation_losses=keras.distillation.LogitsDistillation(),
    )
    distiller.compile("adam", "mse", jit_compile=JIT)
    rng = np.random.default_rng(0)
    distiller.fit(
        rng.normal(size=(4, 4, 4, 3)),
        rng.normal(size=(4, 5)),
        batch_size=2,
        verbose=0,
        callbacks=[MagnitudePruning(0.5, end_step=2)],
    )
    assert zeros(student)["head"] == 20
    assert zeros(teacher)["head"] == 0


def test_the_model_is_plain_keras_after_fit(tmp_path):
    model = build()
    fit(model, MagnitudePruning(0.5, end_step=2, frequency=1))
    model.save(tmp_path / "model.keras")
    assert [w.path for w in model.weights] == [w.path for w in build().weights]
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert zeros(loaded) == {"first": 135, "second": 40, "head": 20}
    assert {
        type(layer).__module__.split(".")[0] for layer in loaded.layers
    } == {"keras"}


def test_averaged_weights_are_zeroed_too():
    model = build(keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.5))
    fit(model, MagnitudePruning(0.5, end_step=6, frequency=1))
    assert zeros(model)["head"] == 20


def test_a_pruned_model_trained_further_keeps_its_zeros():
    model = build()
    fit(model, MagnitudePruning(0.8, end_step=4))
    before = kernel(model, "first") == 0
    model.compile("adam", "mse", jit_compile=JIT)
    recorder = Recorder()
    fit(model, MagnitudePruning(0.5, end_step=4, frequency=1), recorder)
    np.testing.assert_array_equal(kernel(model, "first") == 0, before)
    assert all(counts["first"] == 216 for counts in recorder.counts)


def test_a_kernel_that_starts_from_zeros_is_trained():
    model = build()
    head = model.get_layer("head").kernel
    head.assign(np.zeros(head.shape))
    fit(model, MagnitudePruning(0.5, begin_step=2, end_step=6, frequency=4))
    assert zeros(model)["head"] == 20


def test_one_instance_serves_several_fits():
    pruning = MagnitudePruning(0.5, end_step=4, frequency=1)
    first, second = build(), build(seed=3)
    fit(first, pruning)
    before = kernel(first, "first")
    fit(second, pruning)
    np.testing.assert_array_equal(kernel(first, "first"), before)
    assert ((before == 0) != (kernel(second, "first") == 0)).any()


WARNINGS = {
    "too_late": (
        lambda: MagnitudePruning(0.5, begin_step=10, end_step=20),
        "pruned nothing: training ended after 8 optimizer steps and the first "
        "weights go after 20.",
    ),
    "not_reached": (
        lambda: MagnitudePruning(0.5, end_step=20, frequency=2),
        "did not reach final sparsity=0.5: training ended after 8 optimizer "
        "steps and end_step is 20. Train longer, or lower `end_step`.",
    ),
    "frequency": (
        lambda: MagnitudePruning(PolynomialDecay(0.0, 0.5, 0, 7, frequency=3)),
        "did not reach final sparsity=0.5: the last time the schedule pruned "
        "was after 6 steps, at 0.4985. Choose a `frequency` that divides",
    ),
    "never": (
        lambda: MagnitudePruning(lambda step: (False, 0.5)),
        "the schedule asked for none after any of them.",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warns_of_a_schedule_without_effect(case):
    make, message = WARNINGS[case]
    with pytest.warns(UserWarning) as caught:
        fit(build(), make())
    texts = [str(w.message) for w in caught if w.category is UserWarning]
    assert len(texts) == 1
    assert texts[0].startswith("MagnitudePruning ")
    assert message in texts[0]


def test_warns_of_a_start_after_the_end():
    model = build()
    fit(model)
    with pytest.warns(UserWarning, match="has done 8 steps already: all weig"):
        fit(model, MagnitudePruning(0.5, end_step=4))
    assert zeros(model)["head"] == 20


GOOD = {
    "number": lambda: MagnitudePruning(0.5, end_step=7, frequency=3),
    "constant": lambda: MagnitudePruning(ConstantSparsity(0.5, 2)),
    "default": lambda: MagnitudePruning(),
    "nothing": lambda: MagnitudePruning(0.0, end_step=50),
    "pattern": lambda: MagnitudePruning(
        0.5, end_step=20, frequency=4, sparsity_m_by_n=(2, 4)
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_does_not_warn_when_all_is_well(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(build(), GOOD[case]())


RISE = {"pruning_schedule": 0.5}
ARGUMENTS = {
    "percent": (
        {"pruning_schedule": 50},
        ValueError,
        "`pruning_schedule` must be a fraction in [0, 1), not a percent. "
        "Received: pruning_schedule=50.",
    ),
    "frequency": ({"frequency": 2.5, **RISE}, TypeError, "frequency=2.5."),
    "begin": ({"begin_step": 0.5, **RISE}, TypeError, "begin_step=0.5."),
    "boolean_block": ({"block_size": (True, 4)}, ValueError, "(True, 4)."),
    "schedule": (
        {"pruning_schedule": "0.5"},
        TypeError,
        "must be a number or be called with a step, as `PolynomialDecay` is. "
        "Received: '0.5'.",
    ),
    "steps_beside_a_schedule": (
        {"pruning_schedule": ConstantSparsity(0.5, 0), "end_step": 50},
        ValueError,
        "Received: ConstantSparsity and begin_step=0, end_step=50, frequency=",
    ),
    "scope": (
        {"scope": "model"},
        ValueError,
        "`scope` must be 'layer' or 'global'. Received: scope='model'.",
    ),
    "pooling": (
        {"block_pooling_type": "MIN"},
        ValueError,
        "`block_pooling_type` must be 'AVG' or 'MAX'.",
    ),
    "block": ({"block_size": (0, 4)}, ValueError, "block_size=(0, 4)."),
    "block_number": ({"block_size": 4}, ValueError, "block_size=4."),
    "pattern": (
        {"sparsity_m_by_n": (4, 4)},
        ValueError,
        "m zeros of every n weights. Received: sparsity_m_by_n=(4, 4).",
    ),
    "pattern_of_blocks": (
        {"sparsity_m_by_n": (2, 4), "block_size": (1, 4)},
        ValueError,
        "Received: block_size=(1, 4), scope='layer' beside it.",
    ),
    "string": (
        {"ignored_layers": "head"},
        ValueError,
        "Received: the string 'head'. Pass ['head'].",
    ),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_are_checked(case):
    arguments, kind, message = ARGUMENTS[case]
    with pytest.raises(kind) as error:
        MagnitudePruning(**arguments)
    assert message in str(error.value)


def test_unknown_ignored_layer():
    with pytest.raises(ValueError, match="'heed'. Did you mean 'head'?"):
        fit(build(), MagnitudePruning(0.5, ignored_layers=["heed"]))


def test_weights_that_are_no_numbers_cannot_be_chosen():
    model = build()
    weight = model.get_layer("second").kernel
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(ValueError, match="NaN in 'kernel' of layer 'first'"):
        # One step spreads it to all layers, the first is named.
        fit(model, MagnitudePruning(0.5, end_step=1))
    model = build()
    weight = model.get_layer("second").kernel
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(ValueError, match="NaN in 'kernel' of layer 'second'"):
        fit(model, MagnitudePruning())


def test_model_without_kernels():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(2, trainable=False, name="only")]
    )
    model.compile("sgd", "mse", jit_compile=JIT)
    with pytest.raises(ValueError) as error:
        fit(model, MagnitudePruning())
    assert "no weights that can be pruned" in str(error.value)
    assert "only: not trainable" in str(error.value)


def test_model_that_is_not_built():
    model = keras.Sequential([layers.Dense(2, name="late")], name="net")
    pruning = MagnitudePruning()
    pruning.set_model(model)
    with pytest.raises(ValueError, match="'net' must be built.*'late' is n"):
        pruning.on_train_begin()


def test_model_without_any_layer_to_name():
    model = keras.Sequential([keras.Input((3,)), layers.ReLU()], name="net")
    pruning = MagnitudePruning()
    pruning.set_model(model)
    with pytest.raises(ValueError) as error:
        pruning.on_train_begin()
    text = "Model 'net' has no weights that can be pruned."
    assert str(error.value) == text


def test_sizes_may_be_numbers_of_numpy():
    assert MagnitudePruning(0.5, block_size=np.array([1, 4]).tolist())
    sizes = (np.int64(1), np.int32(4))
    assert MagnitudePruning(0.5, block_size=sizes).block_size == (1, 4)
