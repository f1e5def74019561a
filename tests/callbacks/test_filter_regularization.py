"""Filters shrunk to exact zeros, in closed form, and removed afterwards."""

import keras
import numpy as np
import pytest
from fits import JIT, Stop, fit, residual_net, values, zero_filters
from helpers import distinct_weights
from keras import layers

from fritz_compress import surgery
from fritz_compress.callbacks import FilterRegularization

# What the channels of each group of the residual net consist of.
TRUNK = [
    ("stem", "kernel"),
    ("stem", "bias"),
    ("stem_norm", "gamma"),
    ("stem_norm", "beta"),
    ("second", "kernel"),
    ("second", "bias"),
]
FIRST = [
    ("first", "kernel"),
    ("first", "bias"),
    ("first_norm", "gamma"),
    ("first_norm", "beta"),
]


def state(model):
    return {
        name: values(model, name)
        for name in ("stem", "stem_norm", "first", "first_norm", "second")
    }


def graded(model):
    """Scales the channels, from small ones to large ones."""
    for layer, name in TRUNK + FIRST:
        weights = model.get_layer(layer).weights
        (weight,) = [weight for weight in weights if weight.name == name]
        weight.assign(weight * np.linspace(0.1, 1.5, weight.shape[-1]))
    return model


def channels(before, members):
    """All numbers of each channel, one row per channel, in float64."""
    rows = [before[layer][name] for layer, name in members]
    return np.concatenate(
        [row.reshape(-1, row.shape[-1]).T.astype("float64") for row in rows],
        axis=1,
    )


def without_gradient(model, *callbacks, **kwargs):
    """A fit that only the callbacks change weights in."""
    return fit(model, *callbacks, sample_weight=np.zeros(16), **kwargs)


KINDS = {
    "group_lasso": ({"trunk": TRUNK, "first": FIRST}, (139, 75), 0.9),
    "normalization_scale": (
        {"trunk": [("stem_norm", "gamma")], "first": [("first_norm", "gamma")]},
        (1, 1),
        9.0,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_is_the_block_soft_threshold(kind):
    penalized, sizes, strength = KINDS[kind]
    model = graded(residual_net(keras.optimizers.SGD(0.1)))
    before = state(model)
    without_gradient(
        model, FilterRegularization(strength, kind), steps_per_epoch=1
    )
    after = state(model)
    for name, everything, size in zip(penalized, (TRUNK, FIRST), sizes):
        vectors = channels(before, penalized[name])
        assert vectors.shape[1] == size
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        factors = np.maximum(0, 1 - 0.1 * strength * np.sqrt(size) / norms)
        assert 0 < np.count_nonzero(factors) < len(factors)
        np.testing.assert_allclose(
            channels(after, penalized[name]),
            factors * vectors,
            rtol=1e-4,
            atol=1e-6,
        )
        alive = factors.ravel() != 0
        np.testing.assert_array_equal(
            channels(after, everything).any(axis=1), alive
        )
        if kind == "normalization_scale":
            others = [m for m in everything if m not in penalized[name]]
            np.testing.assert_array_equal(
                channels(after, others),
                channels(before, others) * alive[:, None],
            )


def test_a_dead_channel_has_no_moving_mean_and_is_removed():
    model = graded(residual_net(keras.optimizers.SGD(0.01)))
    history = fit(model, FilterRegularization(1.0), epochs=2).history
    trunk, first = zero_filters(model, "stem"), zero_filters(model, "first")
    assert 0 < len(trunk) < 8 and 0 < len(first) < 12
    assert zero_filters(model, "second") == trunk
    for name, dead in {"stem_norm": trunk, "first_norm": first}.items():
        for weight in ("gamma", "beta", "moving_mean"):
            found = values(model, name)[weight] == 0
            assert np.flatnonzero(found).tolist() == dead
    fraction = (2 * len(trunk) + len(first)) / 28
    assert history["zeroed_fraction"][-1] == pytest.approx(fraction)

    smaller = surgery.remove_pruned_filters(model)
    assert smaller.get_layer("stem").filters == 8 - len(trunk)
    images = np.random.default_rng(5).normal(size=(4, 8, 8, 3))
    np.testing.assert_allclose(
        smaller.predict(images, verbose=0),
        model.predict(images, verbose=0),
        rtol=1e-4,
        atol=1e-6,
    )


def perceptron(optimizer, **compile_options):
    """Four useful units, then four that nothing listens to."""
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(1, name="head", trainable=False),
        ]
    )
    rng = np.random.default_rng(2)
    head = np.append(np.ones((4, 1)), np.zeros((4, 1)), axis=0)
    model.set_weights(
        [rng.uniform(-1, 1, (5, 8)), np.full(8, 0.1), head, np.zeros(1)]
    )
    model.compile(optimizer, "mse", jit_compile=JIT, **compile_options)
    return model


def learn(model, *callbacks, epochs=1, **kwargs):
    """Sixteen steps an epoch on what the model says at first, times 1.5."""
    inputs = np.random.default_rng(3).normal(size=(64, 5))
    targets = 1.5 * perceptron("sgd").predict(inputs, verbose=0)
    return model.fit(
        inputs,
        targets,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **kwargs,
    )


def norms(model):
    weights = values(model, "hidden")
    return np.linalg.norm(
        np.vstack([weights["kernel"], weights["bias"]]), axis=0
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_useless_filters_reach_zero_and_useful_ones_do_not(optimizer):
    model = perceptron(keras.optimizers.get(optimizer))
    model.optimizer.learning_rate = 0.02
    history = learn(model, FilterRegularization(0.3), epochs=8).history
    assert zero_filters(model, "hidden") == [4, 5, 6, 7]
    assert (norms(model)[:4] > 0.3).all()
    assert history["zeroed_fraction"][-1] == 0.5
    assert history["zeroed_fraction"][0] == 0
    # Six numbers in each channel.
    assert history["filter_penalty"][-1] == pytest.approx(
        0.3 * np.sqrt(6) * norms(model).sum(), rel=1e-5
    )
    assert history["loss"][-1] < history["loss"][0]


STEPS = {
    "constant": (lambda: keras.optimizers.SGD(0.01), {}, {}, 16 * 0.01),
    "schedule": (
        lambda: keras.optimizers.SGD(
            keras.optimizers.schedules.PiecewiseConstantDecay(
                [5], [0.01, 0.001]
            )
        ),
        {},
        {},
        # At iterations 0 to 5 the first rate holds.
        6 * 0.01 + 10 * 0.001,
    ),
    "begin_step": (
        lambda: keras.optimizers.SGD(0.01),
        {},
        {"begin_step": 12},
        4 * 0.01,
    ),
    "several_per_execution": (
        lambda: keras.optimizers.SGD(0.01),
        {"steps_per_execution": 4},
        {"begin_step": 2},
        14 * 0.01,
    ),
    "accumulated": (
        lambda: keras.optimizers.SGD(0.01, gradient_accumulation_steps=2),
        {},
        {},
        8 * 0.01,
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_norms_fall_by_the_learning_rates_of_the_steps_done(case):
    optimizer, compiled, arguments, rates = STEPS[case]
    model = perceptron(optimizer(), **compiled)
    before = norms(model)
    learn(
        model,
        FilterRegularization(0.5, **arguments),
        sample_weight=np.zeros(64),
    )
    # Each step takes its rate times strength times the root of the size.
    expected = before - 0.5 * np.sqrt(6) * rates
    np.testing.assert_allclose(norms(model), expected, rtol=1e-4)


def test_strength_zero_changes_nothing():
    models = [perceptron("adam"), perceptron("adam")]
    models[0].layers[0].kernel.assign(np.eye(5, 8))  # with zero filters
    models[1].layers[0].kernel.assign(np.eye(5, 8))
    learn(models[0])
    history = learn(models[1], FilterRegularization(0.0)).history
    for expected, received in zip(*(m.get_weights() for m in models)):
        np.testing.assert_array_equal(received, expected)
    assert history["filter_penalty"] == [0]


class Recorder(keras.callbacks.Callback):
    """The zero filters after every batch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_train_batch_end(self, batch, logs=None):
        self.found.append(zero_filters(self.model, "hidden"))


def test_zero_filters_stay_zero_against_momentum():
    model = perceptron(keras.optimizers.Adam(0.05))
    recorder = Recorder()
    learn(model, FilterRegularization(0.6), recorder, epochs=2)
    counts = [len(found) for found in recorder.found]
    assert counts[0] == 0 and counts[-1] >= 4
    for earlier, later in zip(recorder.found, recorder.found[1:]):
        assert set(earlier) <= set(later)
    assert not values(model, "hidden")["bias"][recorder.found[-1]].any()


def test_averaged_weights_are_zero_too():
    model = perceptron(
        keras.optimizers.SGD(0.02, use_ema=True, ema_momentum=0.9)
    )
    learn(model, FilterRegularization(0.4), epochs=6)
    assert zero_filters(model, "hidden") == [4, 5, 6, 7]


def test_half_of_a_normalization_belongs_to_each_group():
    inputs = keras.Input((4, 3))
    sides = [layers.Conv1D(n, 1, name=f"side_{n}")(inputs) for n in (2, 3)]
    x = layers.Concatenate()(sides)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling1D()(layers.ReLU()(x))
    model = keras.Model(inputs, layers.Dense(1, name="head")(x))
    distinct_weights(model)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT)
    before = values(model, "norm")["gamma"]
    pruning = FilterRegularization(
        2.0, "normalization_scale", ignored_layers=["side_2"]
    )
    model.fit(
        np.zeros((4, 4, 3)),
        np.zeros((4, 1)),
        sample_weight=np.zeros(4),
        verbose=0,
        callbacks=[pruning],
    )
    after = values(model, "norm")["gamma"]
    np.testing.assert_array_equal(after[:2], before[:2])
    np.testing.assert_allclose(
        after[2:], before[2:] - 0.2 * np.sign(before[2:])
    )
    assert pruning.skipped == (
        ("side_2", "'side_2' is in ignored_layers"),
        ("head", "frozen: an output of the model"),
    )


def test_layers_without_a_scale_are_skipped_or_refused():
    model = residual_net()
    model.get_layer("first_norm").trainable = False
    pruning = FilterRegularization(0.1, "normalization_scale")
    fit(model, pruning, steps_per_epoch=1)
    assert ("first", "'first_norm' is not trainable") in pruning.skipped
    with pytest.raises(ValueError, match="no normalization scale that kind="):
        learn(
            perceptron("sgd"),
            FilterRegularization(0.1, "normalization_scale"),
        )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"strength": -1e-3}, "not negative. Received: strength=-0.001"),
        ({"strength": float("nan")}, "Received: strength=nan"),
        ({"kind": "lasso"}, "'normalization_scale'.. Received: kind='lasso'"),
        ({"begin_step": -1}, "Received: begin_step=-1"),
        ({"strength": "0.1"}, "Received: strength='0.1'"),
        ({"ignored_layers": "head"}, r"the string 'head'. Pass \['head'\]"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        FilterRegularization(**{"strength": 0.1, **arguments})


def test_a_step_must_be_whole():
    with pytest.raises(TypeError, match="whole number.*begin_step=1.5"):
        FilterRegularization(0.1, begin_step=1.5)


def test_weights_that_are_no_numbers_are_refused():
    model = perceptron("sgd")
    model.layers[0].bias.assign(np.full(8, np.nan))
    with pytest.raises(ValueError, match="NaN in 'bias' of layer 'hidden'"):
        learn(model, FilterRegularization(0.1))


def test_warns_if_training_ends_before_it_begins():
    with pytest.warns(UserWarning, match="ended after 16 optimizer steps and"):
        learn(perceptron("sgd"), FilterRegularization(0.1, begin_step=16))


@pytest.mark.slow
def test_interrupted_fit_ends_with_the_same_filters(tmp_path):
    def callbacks():
        return [
            FilterRegularization(0.6),
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        ]

    whole = perceptron(keras.optimizers.Adam(0.05))
    learn(whole, *callbacks(), epochs=3)
    with pytest.raises(KeyboardInterrupt):
        learn(
            perceptron(keras.optimizers.Adam(0.05)),
            *callbacks(),
            Stop(epoch=2, batch=5),
            epochs=3,
        )
    resumed = perceptron(keras.optimizers.Adam(0.05))
    recorder = Recorder()
    learn(resumed, *callbacks(), recorder, epochs=3)
    assert len(recorder.found) == 16
    assert recorder.found[0] == [4, 5, 6, 7]
    assert zero_filters(resumed, "hidden") == zero_filters(whole, "hidden")
    np.testing.assert_allclose(norms(resumed), norms(whole), rtol=1e-4)
