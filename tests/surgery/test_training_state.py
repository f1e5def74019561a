"""What a smaller model keeps of the training of the original."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, losses, metrics, optimizers

from fritz_compress import surgery

GONE = [0, 3]


def chain():
    """Conv, normalization, conv: of "first" the filters in GONE go."""
    return [
        layers.Conv2D(6, 3, use_bias=False, name="first"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.Conv2D(5, 3, name="second"),
        layers.GlobalAveragePooling2D(),
    ]


def flat():
    head = layers.Dense(4, name="head")
    return keras.Sequential([keras.Input((8, 8, 3)), *chain(), head])


def nested():
    inputs = keras.Input((8, 8, 3))
    base = keras.Sequential([keras.Input((8, 8, 3)), *chain()], name="base")
    return keras.Model(inputs, layers.Dense(4, name="head")(base(inputs)))


# Which axis of which weight of `chain` and `head` counts the filters.
AXES = {
    "first/kernel": 3,
    "norm/gamma": 0,
    "norm/beta": 0,
    "norm/moving_mean": 0,
    "norm/moving_variance": 0,
    "second/kernel": 2,
}


def cut(weight):
    """Value of a weight of the original without the filters."""
    value = keras.ops.convert_to_numpy(weight)
    axis = AXES.get("/".join(weight.path.split("/")[-2:]))
    return value if axis is None else np.delete(value, GONE, axis)


def silence(model):
    """Zeroes the filters: their outputs and all their gradients vanish."""
    for weight in model.weights:
        path = "/".join(weight.path.split("/")[-2:])
        if path in AXES and "variance" not in path:
            value = keras.ops.convert_to_numpy(weight).copy()
            np.moveaxis(value, AXES[path], 0)[GONE] = 0
            weight.assign(value)


def data(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(8, 8, 8, 3)).astype("float32")
    return x, rng.normal(size=(8, 4)).astype("float32")


def trained(build, optimizer):
    model = distinct_weights(build())
    model.compile(optimizer, "mse", run_eagerly=True)
    for seed in range(3):
        model.train_on_batch(*data(seed))
    silence(model)
    return model


OPTIMIZERS = {
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "average": lambda: optimizers.AdamW(
        0.01, weight_decay=0.1, use_ema=True, ema_overwrite_frequency=4
    ),
    "accumulation": lambda: optimizers.RMSprop(
        0.01, gradient_accumulation_steps=2
    ),
    "schedule": lambda: optimizers.SGD(
        optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), momentum=0.9
    ),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(
        optimizers.Adam(0.01), initial_scale=64.0
    ),
    "clipped": lambda: optimizers.Adamax(0.01, clipvalue=0.5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("build", [flat, nested])
def test_training_goes_on_as_that_of_the_original(build, name):
    model = trained(build, OPTIMIZERS[name]())

    smaller = surgery.remove_filters(
        model, {"first": GONE}, optimizer_state=True
    )

    assert smaller.optimizer is not model.optimizer
    before = [keras.ops.convert_to_numpy(w) for w in smaller.weights]
    # One step: the next ones find channels that momentum brought back.
    wanted = model.train_on_batch(*data(3))
    received = smaller.train_on_batch(*data(3))
    np.testing.assert_allclose(received, wanted, rtol=1e-5)
    for old, new, first in zip(
        model.weights, smaller.weights, before, strict=True
    ):
        value = keras.ops.convert_to_numpy(new)
        np.testing.assert_allclose(value, cut(old), rtol=1e-4, atol=1e-6)
        assert not np.allclose(value, first, rtol=1e-4, atol=1e-6)


def test_state_matters_to_that_check():
    """With fresh moments the next step is another one."""
    model = trained(flat, optimizers.Adam(0.01))
    fresh = surgery.remove_filters(model, {"first": GONE})
    assert not fresh.optimizer.built
    assert int(fresh.optimizer.iterations) == 0
    model.train_on_batch(*data(3))
    fresh.train_on_batch(*data(3))
    head = fresh.get_layer("head").kernel
    difference = cut(model.get_layer("head").kernel) - head
    assert abs(keras.ops.convert_to_numpy(difference)).max() > 1e-3


@pytest.mark.parametrize("verb", ["remove_pruned_filters", "prune_filters"])
def test_every_removal_carries_it(verb):
    model = trained(flat, optimizers.Adam(0.01))
    arguments = {
        "remove_pruned_filters": {},
        "prune_filters": {
            "fraction": {"first": 1 / 3},
            "round_to": 1,
            "min_filters": 1,
        },
    }
    smaller = getattr(surgery, verb)(
        model, optimizer_state=True, **arguments[verb]
    )
    assert smaller.get_layer("first").filters == 4
    for old, new in zip(
        model.optimizer.variables, smaller.optimizer.variables, strict=True
    ):
        value = keras.ops.convert_to_numpy(old)
        for axis, size in enumerate(new.shape):
            if value.shape[axis] != size:
                value = np.delete(value, GONE, axis)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(new), value)
        assert np.any(value)


def two_heads():
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for layer in chain():
        x = layer(x)
    outputs = {n: layers.Dense(2, name=n)(x) for n in ("left", "right")}
    return keras.Model(inputs, outputs)


SETTINGS = {
    "names": {
        "optimizer": "adam",
        "loss": "mse",
        "metrics": ["mae", "accuracy"],
        "weighted_metrics": ["mse"],
    },
    "objects": {
        "optimizer": optimizers.AdamW(
            optimizers.schedules.CosineDecay(0.1, 100, warmup_steps=10),
            weight_decay=0.01,
            global_clipnorm=1.0,
            use_ema=True,
        ),
        "loss": losses.Huber(delta=0.5),
        "metrics": [metrics.RootMeanSquaredError(name="rmse")],
        "run_eagerly": True,
        "jit_compile": False,
    },
    "loss_scale": {
        "optimizer": optimizers.LossScaleOptimizer(
            optimizers.SGD(0.1, momentum=0.9), dynamic_growth_steps=7
        ),
        "loss": "mse",
        "steps_per_execution": 3,
        "auto_scale_loss": False,
    },
}
SEVERAL = {
    "optimizer": "rmsprop",
    "loss": {"left": "mse", "right": losses.LogCosh()},
    "loss_weights": {"left": 0.25, "right": 2.0},
    "metrics": {"left": ["mae", "mape"], "right": metrics.CosineSimilarity()},
}


@pytest.mark.parametrize("case", [*SETTINGS, "several"])
def test_compile_settings_are_those_of_the_original(case):
    settings = SETTINGS.get(case, SEVERAL)
    model = distinct_weights(two_heads() if case == "several" else flat())
    model.compile(**settings)
    before = model.get_compile_config()

    smaller = surgery.remove_filters(model, {"first": GONE})

    assert smaller.compiled
    assert smaller.get_compile_config() == before
    assert model.get_compile_config() == before
    assert smaller.loss is model.loss
    assert smaller.optimizer is not model.optimizer
    for name in ("run_eagerly", "steps_per_execution", "jit_compile"):
        assert getattr(smaller, name) == getattr(model, name)


def test_the_learning_rate_is_the_present_one():
    model = distinct_weights(flat())
    model.compile(optimizers.Adam(0.5), "mse")
    model.optimizer.learning_rate = 0.25
    smaller = surgery.remove_filters(model, {"first": GONE})
    assert float(smaller.optimizer.learning_rate) == 0.25


def test_metrics_are_counted_apart():
    model = distinct_weights(flat())
    model.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
    x, y = data(0)
    wanted = model.evaluate(x, y, verbose=0)
    smaller = surgery.remove_filters(model, {"first": GONE})
    smaller.evaluate(x, 100 * y, verbose=0)
    mean = {m.name: m for m in model.metrics}["loss"].result()
    np.testing.assert_allclose(float(mean), wanted[0], rtol=1e-5)


def test_a_model_in_half_precision_keeps_scaling_its_loss():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = distinct_weights(flat())
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile("adam", "mse")
    assert isinstance(model.optimizer, optimizers.LossScaleOptimizer)
    smaller = surgery.remove_filters(model, {"first": GONE})
    assert isinstance(smaller.optimizer, optimizers.LossScaleOptimizer)
    assert isinstance(smaller.optimizer.inner_optimizer, optimizers.Adam)


def test_a_model_that_is_not_compiled_stays_so():
    smaller = surgery.remove_filters(flat(), {"first": GONE})
    assert not smaller.compiled


def worst(y, p):
    return keras.ops.max(abs(y - p), axis=-1)


def test_a_metric_that_cannot_be_made_anew_is_left_out():
    model = distinct_weights(flat())
    model.compile(
        "adam",
        lambda y, p: (y - p) ** 2,
        metrics=["mae", worst],
        run_eagerly=True,
    )
    with pytest.warns(UserWarning, match="Metric 'worst' is not carried over"):
        smaller = surgery.remove_filters(model, {"first": GONE})
    smaller.train_on_batch(*data(0))
    assert "mae" in smaller.get_metrics_result()
    assert "worst" not in smaller.get_metrics_result()
    with keras.saving.custom_object_scope({"worst": worst}):
        smaller = surgery.remove_filters(model, {"first": GONE})
    smaller.train_on_batch(*data(0))
    assert "worst" in smaller.get_metrics_result()


class Nowhere(optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1


def not_built():
    model = flat()
    model.compile("adam", "mse")
    return model


def frozen_since():
    model = trained(flat, "adam")
    model.get_layer("head").trainable = False
    return model


STATELESS = {
    "not_compiled": (flat, "which is not compiled. Compile and train it "),
    "not_built": (not_built, "has an optimizer without state. Train it first"),
    "frozen_since": (
        frozen_since,
        "with 16 variables in place of 12. Compile the model again after",
    ),
    "factors": (
        lambda: trained(flat, optimizers.Adafactor()),
        "must have the shape of its weights to be cut with them. Received: ",
    ),
}


@pytest.mark.parametrize("case", STATELESS)
def test_state_that_cannot_be_carried(case):
    make, message = STATELESS[case]
    model = make()
    weights = model.get_weights()
    with pytest.raises(ValueError) as error:
        surgery.remove_filters(model, {"first": GONE}, optimizer_state=True)
    assert message in str(error.value)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_an_optimizer_that_cannot_be_made_anew():
    model = flat()
    model.compile(optimizers.Adam(Nowhere()), "mse")
    with pytest.raises(ValueError) as error:
        surgery.remove_filters(model, {"first": GONE})
    assert f"Received: '{model.optimizer.name}' (Adam): " in str(error.value)
    assert "register_keras_serializable()`." in str(error.value)


@pytest.mark.parametrize(
    "wanted",
    [
        [worst, "mae"],
        [["mae", worst], "mae"],
        {"left": [worst], "right": ["mae"]},
        {"left": worst, "right": "mae"},
    ],
    ids=["list", "lists", "dict_of_lists", "dict"],
)
def test_the_other_metrics_stay_at_their_outputs(wanted):
    model = distinct_weights(two_heads())
    model = keras.Model(model.input, list(model.output.values()))
    model.compile("sgd", "mse", metrics=wanted, run_eagerly=True)
    with pytest.warns(UserWarning, match="Metric 'worst' is not carried over"):
        smaller = surgery.remove_filters(model, {"first": GONE})
    x, y = data(0)
    smaller.train_on_batch(x, [y[:, :2], y[:, 2:]])
    found = {n for n in smaller.get_metrics_result() if not n.endswith("loss")}
    expected = {"right_mae"}
    if wanted == [["mae", worst], "mae"]:
        expected.add("left_mae")
    assert found == expected
