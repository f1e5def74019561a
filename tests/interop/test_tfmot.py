"""Real runs of tensorflow-model-optimization in a process of its own."""

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress.interop import tfmot, tfmot_process

PYTHON = os.environ.get("FRITZ_COMPRESS_TFMOT_PYTHON")
needs_tfmot = pytest.mark.skipif(
    PYTHON is None
    and importlib.util.find_spec("tensorflow_model_optimization") is None,
    reason="tensorflow-model-optimization: pip install fritz_compress[tfmot], "
    "or name an interpreter in FRITZ_COMPRESS_TFMOT_PYTHON",
)
TRAINING = {
    "loss": "sparse_categorical_crossentropy",
    "epochs": 2,
    "batch_size": 16,
    "seed": 1,
    "python": PYTHON,
}


def network():
    """A model within a model, with layers that are pruned and some not."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = layers.BatchNormalization(name="conv_norm")(x)
    x = layers.ReLU()(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.BatchNormalization(name="depthwise_norm")(y)
    x = layers.AveragePooling2D(2)(layers.Add()([x, layers.ReLU(6.0)(y)]))
    block = keras.Sequential(
        [
            keras.Input((4, 4, 8)),
            layers.SeparableConv2D(8, 3, name="conv"),
            layers.GlobalAveragePooling2D(),
        ],
        name="block",
    )
    outputs = layers.Dense(5, activation="softmax", name="head")(block(x))
    return distinct_weights(keras.Model(inputs, outputs, name="network"))


def samples(count=64):
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(count, 8, 8, 3)).astype("float32")
    return pictures, rng.integers(0, 5, count)


def variables():
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}


@pytest.fixture(scope="module")
def state():
    """Runs all three once, and what the caller looks like around them."""
    model, data = network(), samples()
    before = [weight.copy() for weight in model.get_weights()]
    environment, modules = variables(), set(sys.modules)
    folders = set(pathlib.Path(tempfile.gettempdir()).glob("fritz_compress-*"))
    return model, data, before, environment, modules, folders


@pytest.fixture(scope="module")
def pruned(state):
    model, data, *_ = state
    return tfmot.prune(
        model, data, final_sparsity=0.75, ignored_layers=["head"], **TRAINING
    )


@pytest.fixture(scope="module")
def clustered(state):
    model, data, *_ = state
    optimizer = keras.optimizers.Adam(1e-3)
    return tfmot.cluster(
        model, data, number_of_clusters=6, optimizer=optimizer, **TRAINING
    )


@pytest.fixture(scope="module")
def quantized(state):
    model, data, *_ = state
    loss = keras.losses.SparseCategoricalCrossentropy()
    return tfmot.quantization_aware(model, data, **TRAINING | {"loss": loss})


def by_name(outcome):
    return {layer.name: layer for layer in outcome.layers}


def matrices(model):
    """Kernels by the path of their weight, bottom layers included."""
    return {
        weight.path: np.asarray(weight)
        for weight in model.weights
        if len(weight.shape) > 1
    }


@needs_tfmot
@pytest.mark.slow
def test_pruning_reaches_its_sparsity(pruned):
    layer = by_name(pruned)
    assert set(layer) == {
        *("conv", "conv_norm", "depthwise", "depthwise_norm"),
        *("block_conv", "head"),
    }
    assert layer["conv"].sparsity == pytest.approx(0.75, abs=0.01)
    assert layer["block_conv"].sparsity == pytest.approx(0.75, abs=0.02)
    assert "DepthwiseConv2D" in layer["depthwise"].skipped
    assert layer["head"].skipped == "ignored, as asked"
    assert layer["head"].sparsity is None
    assert "75.0% zeros" in str(pruned) and "left as it was" in str(pruned)


@needs_tfmot
@pytest.mark.slow
def test_zeros_survive_the_way_back(pruned):
    kernels = matrices(pruned.model)
    zeros = {path: (kernel == 0).mean() for path, kernel in kernels.items()}
    assert zeros.pop("conv/kernel") == pytest.approx(0.75, abs=0.01)
    (pointwise,) = [path for path in zeros if "pointwise" in path]
    assert zeros.pop(pointwise) == by_name(pruned)["block_conv"].sparsity
    assert set(zeros.values()) == {0}


@needs_tfmot
@pytest.mark.slow
def test_clusters_are_few(clustered):
    layer = by_name(clustered)
    for name in ("conv", "block_conv", "head"):
        assert 2 <= layer[name].distinct <= 6 and not layer[name].skipped
    assert "DepthwiseConv2D" in layer["depthwise"].skipped
    kernels = matrices(clustered.model)
    distinct = {path: len(np.unique(k)) for path, k in kernels.items()}
    assert distinct["conv/kernel"] == layer["conv"].distinct
    assert distinct["head/kernel"] == layer["head"].distinct
    assert distinct["depthwise/kernel"] == 72


@needs_tfmot
@pytest.mark.slow
@pytest.mark.parametrize("name", ["pruned", "clustered"])
def test_both_processes_compute_the_same(name, state, request):
    model, (pictures, _), before, *_ = state
    outcome = request.getfixturevalue(name)
    (predictions,) = outcome.predictions
    assert predictions.shape == (8, 5)
    ours = np.asarray(outcome.model(pictures[:8]))
    assert np.abs(ours - predictions).max() <= 1e-6
    assert np.abs(np.asarray(model(pictures[:8])) - ours).max() > 1e-3
    assert len(outcome.history["loss"]) == 2 and outcome.seconds > 0
    assert outcome.tflite is None


@needs_tfmot
@pytest.mark.slow
def test_quantization_comes_back_as_a_file_and_float_weights(quantized, state):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    pictures = state[1][0][:8]
    runner = interpreter.Interpreter(model_content=quantized.tflite)
    (into,), (out,) = runner.get_input_details(), runner.get_output_details()
    runner.resize_tensor_input(into["index"], pictures.shape)
    runner.allocate_tensors()
    runner.set_tensor(into["index"], pictures)
    runner.invoke()
    from_file = runner.get_tensor(out["index"])
    types = [np.dtype(d["dtype"]) for d in runner.get_tensor_details()]
    assert types.count(np.dtype("int8")) > 5
    (simulated,) = quantized.predictions
    trained = np.asarray(quantized.model(pictures))
    untrained = np.asarray(state[0](pictures))
    # One step of the softmax's 8 bits is 1 / 256.
    assert np.abs(from_file - simulated).max() < 4 / 256
    assert np.abs(trained - simulated).max() < 0.05
    assert np.abs(trained - untrained).max() > 1e-3
    layer = by_name(quantized)
    assert "split" in layer["block_conv"].skipped
    for name in ("conv", "conv_norm", "depthwise", "depthwise_norm", "head"):
        assert not layer[name].skipped


@needs_tfmot
@pytest.mark.slow
@pytest.mark.parametrize("name", ["pruned", "clustered", "quantized"])
def test_the_model_comes_back_in_its_own_form(name, state, request):
    model, _, before, *_ = state
    back = request.getfixturevalue(name).model
    assert [layer.name for layer in back.layers] == [
        layer.name for layer in model.layers
    ]
    assert isinstance(back.get_layer("block"), keras.Sequential)
    assert back.name == model.name and not back.compiled
    assert back.count_params() == model.count_params()
    for old, new in zip(before, model.get_weights(), strict=True):
        assert (old == new).all()


@needs_tfmot
@pytest.mark.slow
def test_the_caller_is_left_as_it_was(state, pruned, clustered, quantized):
    *_, environment, modules, folders = state
    assert variables() == environment
    added = {name.split(".")[0] for name in set(sys.modules) - modules}
    assert not added & {"tensorflow_model_optimization", "tf_keras"}
    left = set(pathlib.Path(tempfile.gettempdir()).glob("fritz_compress-*"))
    assert left <= folders


@needs_tfmot
@pytest.mark.slow
def test_a_failure_over_there_is_told_here(state):
    model, (pictures, labels), *_ = state
    with pytest.raises(RuntimeError, match="last lines:[^$]*no_such_loss"):
        tfmot.prune(
            model, (pictures, labels), **TRAINING | {"loss": "no_such_loss"}
        )


def plain():
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="hidden"), layers.Dense(2)]
    )


def nothing_starts(monkeypatch):
    def start(*args, **kwargs):
        raise AssertionError("A process was started.")

    monkeypatch.setattr(subprocess, "run", start)


X, Y = np.ones((8, 4)), np.ones((8, 2))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"final_sparsity": 1.0}, r"`final_sparsity`.*\(0, 1\).*1.0"),
        ({"epochs": 0}, "`epochs` must be a whole number.*0"),
        ({"batch_size": 2.5}, "`batch_size` must be a whole number.*2.5"),
        ({"begin_step": 4}, "must reach `final_sparsity`.*end_step <= 2"),
        ({"end_step": 3}, "must reach.*end_step=3"),
        ({"frequency": 5}, "must reach.*Train for more steps"),
        ({"end_step": 2, "frequency": 100}, "multiple of `frequency`"),
        ({"ignored_layers": ["hiden"]}, "Did you mean 'hidden'"),
    ],
)
def test_arguments_out_of_range(arguments, message, monkeypatch):
    nothing_starts(monkeypatch)
    arguments = {"loss": "mse", "batch_size": 4, "python": "x"} | arguments
    with pytest.raises(ValueError, match=message):
        tfmot.prune(plain(), (X, Y), **arguments)


def test_arguments_of_clustering(monkeypatch):
    nothing_starts(monkeypatch)
    arguments = {"loss": "mse", "python": "x"}
    with pytest.raises(ValueError, match="`number_of_clusters`.*Received: 1"):
        tfmot.cluster(plain(), (X, Y), number_of_clusters=1, **arguments)
    with pytest.raises(ValueError, match="`initialization`.*'kmeans'"):
        tfmot.cluster(plain(), (X, Y), initialization="kmeans", **arguments)


@pytest.mark.parametrize(
    "data, error, message",
    [
        (X, TypeError, "pair of inputs and targets.*ndarray"),
        ((X, Y[:3]), ValueError, r"as many targets.*\[3, 8\]"),
        ((X[:0], Y[:0]), ValueError, "at least one"),
        ((X, 3), TypeError, r"arrays of numbers.*shape \(\)"),
        ((X, np.array([None] * 8)), TypeError, "dtype object"),
    ],
)
def test_data_that_does_not_go_together(data, error, message, monkeypatch):
    nothing_starts(monkeypatch)
    with pytest.raises(error, match=message):
        tfmot.quantization_aware(plain(), data, loss="mse", python="x")


@pytest.mark.parametrize("name", ["loss", "optimizer"])
def test_objects_that_cannot_travel(name, monkeypatch):
    nothing_starts(monkeypatch)
    arguments = {"loss": "mse", "python": "x"} | {name: lambda *a: 0}
    with pytest.raises(TypeError, match=f"`{name}` must be.*function.*string"):
        tfmot.prune(plain(), (X, Y), **arguments)
    with pytest.raises(TypeError, match="Write \\['hidden'\\]"):
        tfmot.prune(plain(), (X, Y), loss="mse", ignored_layers="hidden")


def test_models_that_tf_keras_does_not_have(monkeypatch):
    nothing_starts(monkeypatch)
    own = keras.Sequential([keras.Input((4,)), layers.RMSNormalization()])
    with pytest.raises(ValueError, match="RMSNormalization"):
        tfmot.prune(own, (X, X), loss="mse", python="x")
    inner = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    outer = keras.Sequential(
        [keras.Input((4, 2)), layers.TimeDistributed(inner, name="each")]
    )
    with pytest.raises(ValueError, match="'each'.*must not hold a model"):
        tfmot.prune(outer, (X, X), loss="mse", python="x")


def test_a_missing_package_is_named(monkeypatch):
    nothing_starts(monkeypatch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"fritz_compress\[tfmot\].*python="):
        tfmot.prune(plain(), (X, Y), loss="mse")


def test_interpreters_that_cannot_do_it(tmp_path):
    arguments = {"loss": "mse", "batch_size": 4}
    with pytest.raises(RuntimeError, match="cannot be started.*interpreter"):
        tfmot.prune(plain(), (X, Y), python=tmp_path / "none", **arguments)
    bare = tmp_path / "python"
    bare.write_text(
        "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'tf'\" >&2\n"
        "exit 1\n"
    )
    bare.chmod(0o755)
    with pytest.raises(ImportError, match=r"No module named 'tf'.*\[tfmot\]"):
        tfmot.prune(plain(), (X, Y), python=bare, **arguments)


def test_a_process_that_leaves_nothing_is_a_failure(tmp_path):
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    with pytest.raises(RuntimeError, match="ended with 0"):
        tfmot.prune(plain(), (X, Y), loss="mse", batch_size=4, python=silent)


def test_structures_of_data_keep_their_form(tmp_path, monkeypatch):
    """What the other process would read, for two inputs by name."""
    seen = {}

    def start(python, folder):
        import json

        seen["job"] = json.loads((folder / "job.json").read_text())
        with np.load(folder / "data.npz") as arrays:
            seen["arrays"] = dict(arrays)
        raise RuntimeError("enough")

    monkeypatch.setattr(tfmot_process, "_start", start)
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    merged = layers.Dense(1)(layers.Concatenate()([a, b]))
    model = keras.Model({"b": b, "a": a}, merged)
    x = {"b": np.ones((9, 3)), "a": np.zeros((9, 2))}
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    with pytest.raises(RuntimeError, match="enough"):
        tfmot.cluster(
            model,
            (x, np.ones((9, 1))),
            loss=["mse"],
            optimizer=keras.optimizers.SGD(schedule, momentum=0.5),
            python="x",
        )
    job, arrays = seen["job"], seen["arrays"]
    assert (arrays[job["x"]["b"]] == 1).all() and not arrays[
        job["x"]["a"]
    ].any()
    assert len(arrays[job["sample"]["a"]]) == 8
    assert job["optimizer"]["class_name"] == "SGD"
    assert job["optimizer"]["config"]["momentum"] == 0.5
