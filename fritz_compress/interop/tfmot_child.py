"""tensorflow-model-optimization, in the process that `tfmot` starts for it.

The only file that imports it: importing it switches `tf.keras` to Keras 2 for
the whole process. Reads a job from a folder and leaves `result` there, which
appears when all of it is written.
"""

import json
import os
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from fritz_compress.graph import trace
from fritz_compress.interop.bridge import ordered_weights, translate

_QUANTIZED_ACTIVATIONS = ("linear", "relu", "sigmoid", "softmax", "tanh")


def main(folder: str) -> None:
    """Runs the job in `folder`."""
    folder = pathlib.Path(folder)
    job = json.loads((folder / "job.json").read_text())
    with np.load(folder / "data.npz") as arrays:
        data = {
            part: keras.tree.pack_sequence_as(
                job[part],
                [arrays[key] for key in keras.tree.flatten(job[part])],
            )
            for part in ("x", "y", "sample")
        }
    if job["seed"] is not None:
        tf_keras.utils.set_random_seed(job["seed"])
    path = folder / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    started = time.perf_counter()
    outcome = _TASKS[job["task"]](model, job, data)
    outcome["report"]["seconds"] = time.perf_counter() - started
    _write(folder, model, outcome)


def _prune(model, job, data):
    """Wraps, trains and strips; the weights end in `model`."""
    twin, layers = translate(model)
    schedule = tfmot.sparsity.keras.PolynomialDecay(**job["schedule"])
    prunable = {}

    def wrap(layer):
        wrapper = tfmot.sparsity.keras.prune_low_magnitude(layer, schedule)
        weights = layer.get_prunable_weights()
        if not weights:
            raise _SkippedError(_left_alone(layer))
        prunable[layer.name] = weights
        return wrapper

    wrapped, skipped = _wrapped(twin, job, wrap)
    history = _fit(
        wrapped, job, data, [tfmot.sparsity.keras.UpdatePruningStep()]
    )
    stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    _copy_back(layers, lambda name: stripped.get_layer(name).get_weights())
    rows = {
        name: {"sparsity": _sparsity([w.numpy() for w in weights])}
        for name, weights in prunable.items()
    }
    return _outcome(stripped, layers, rows, skipped, history, data)


def _cluster(model, job, data):
    """Wraps, trains and strips; the weights end in `model`."""
    twin, layers = translate(model)
    centroids = tfmot.clustering.keras.CentroidInitialization
    clustered = {}

    def wrap(layer):
        wrapper = tfmot.clustering.keras.cluster_weights(
            layer,
            number_of_clusters=job["number_of_clusters"],
            cluster_centroids_init=centroids[job["initialization"]],
        )
        if wrapper is layer:
            raise _SkippedError("it has no more weights than clusters")
        names = [name for name, _ in wrapper.layer.get_clusterable_weights()]
        if not names:
            raise _SkippedError(_left_alone(layer))
        # Such as `kernel/0` of a cell or `_query_dense.kernel`.
        names = {name.split("/")[0].split(".")[-1] for name in names}
        clustered[layer.name] = names
        return wrapper

    wrapped, skipped = _wrapped(twin, job, wrap)
    history = _fit(wrapped, job, data, [])
    stripped = tfmot.clustering.keras.strip_clustering(wrapped)
    _copy_back(layers, lambda name: stripped.get_layer(name).get_weights())
    rows = {}
    for name, names in clustered.items():
        weights = [
            weight.numpy()
            for weight in stripped.get_layer(name).weights
            if _base_name(weight) in names
        ]
        distinct = max(len(np.unique(weight)) for weight in weights)
        rows[name] = {"distinct": distinct}
    return _outcome(stripped, layers, rows, skipped, history, data)


def _quantize(model, job, data):
    """Trains with rounding and converts; the weights end in `model`."""
    twin, layers = translate(model)
    foldable = _foldable(model, layers)
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    rows = {}

    def wrap(layer):
        _check_quantizable(layer, foldable)
        rows[layer.name] = {}
        if "AveragePooling" in type(layer).__name__:
            # With ranges of its own, the converter finds two scales.
            return annotate(layer, _Unchanged())
        return annotate(layer)

    with tfmot.quantization.keras.quantize_scope({"_Unchanged": _Unchanged}):
        annotated, skipped = _wrapped(twin, job, wrap)
        quantized = tfmot.quantization.keras.quantize_apply(annotated)
        history = _fit(quantized, job, data, [])
        converter = tf.lite.TFLiteConverter.from_keras_model(quantized)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        tflite = converter.convert()
    by_name = {layer.name: layer for layer in quantized.layers}

    def trained(name):
        layer = by_name.get(f"quant_{name}", by_name.get(name))
        values = {_base_name(w): w.numpy() for w in layer.weights}
        originals = twin.get_layer(name).weights
        return [values[_base_name(weight)] for weight in originals]

    _copy_back(layers, trained)
    outcome = _outcome(quantized, layers, rows, skipped, history, data)
    return {**outcome, "tflite": tflite}


_TASKS = {"prune": _prune, "cluster": _cluster, "quantize": _quantize}


class _SkippedError(Exception):
    """Why a layer is not wrapped."""


class _Unchanged(tfmot.quantization.keras.QuantizeConfig):
    """A layer whose output has the range of its input."""

    def get_weights_and_quantizers(self, layer):
        return []

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        pass

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        return []

    def get_config(self):
        return {}


def _wrapped(twin, job, wrap):
    """The model with wrapped layers, and why the others are not."""
    skipped = {}

    def replace(layer):
        if not layer.weights and job["task"] != "quantize":
            return layer
        if layer.name in job["ignored_layers"]:
            skipped[layer.name] = "ignored, as asked"
            return layer
        try:
            return wrap(layer)
        except _SkippedError as error:
            skipped[layer.name] = str(error)
        except (ValueError, AttributeError):
            kind = type(layer).__name__
            skipped[layer.name] = f"{kind} layers are not supported"
        return layer

    model = tf_keras.models.clone_model(twin, clone_function=replace)
    return model, skipped


def _left_alone(layer):
    return f"weights of {type(layer).__name__} layers are left as they are"


def _check_quantizable(layer, foldable):
    kind = type(layer).__name__
    registry = tfmot.quantization.keras.default_8bit.Default8BitQuantizeRegistry
    if kind == "BatchNormalization":
        if layer.name not in foldable:
            raise _SkippedError("it does not follow a lone convolution")
    elif kind.startswith("SeparableConv"):
        raise _SkippedError("it would be split into two layers")
    elif not registry().supports(layer):
        raise _SkippedError(f"{kind} layers are not supported")
    activation = getattr(layer, "activation", None)
    if activation and activation.__name__ not in _QUANTIZED_ACTIVATIONS:
        raise _SkippedError(f"{activation.__name__} is not supported")


def _foldable(model, layers):
    """Normalizations whose input is made for them alone by a convolution."""
    graph = trace(model)
    consumers = graph.consumers()
    return {
        layers[after.operation].name
        for node in graph.nodes
        if node.kind in ("Conv2D", "DepthwiseConv2D", "Dense")
        for after in consumers.get(node.outputs[0], ())
        if after.kind == "BatchNormalization"
        and len(consumers[node.outputs[0]]) == 1
    }


def _fit(model, job, data, callbacks):
    model.compile(
        optimizer=_deserialized(tf_keras.optimizers, job["optimizer"]),
        loss=_deserialized(tf_keras.losses, job["loss"]),
    )
    history = model.fit(
        data["x"],
        data["y"],
        epochs=job["epochs"],
        batch_size=job["batch_size"],
        verbose=0,
        callbacks=callbacks,
    )
    return {
        key: [float(value) for value in values]
        for key, values in history.history.items()
    }


def _deserialized(namespace, value):
    """Names, or objects from their class and arguments, in any structure."""
    if isinstance(value, list):
        return [_deserialized(namespace, entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "class_name" in value:
        # `deserialize` would take the optimizers of before 2023.
        kind = getattr(namespace, value["class_name"])
        return kind.from_config(value["config"])
    return {k: _deserialized(namespace, entry) for k, entry in value.items()}


def _copy_back(layers, weights_of):
    for operation, layer in layers.items():
        if not isinstance(operation, keras.Layer) or not operation.weights:
            continue
        for weight, value in zip(
            ordered_weights(operation), weights_of(layer.name), strict=True
        ):
            weight.assign(value)


def _base_name(weight):
    return weight.name.split("/")[-1].split(":")[0]


def _sparsity(weights):
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / sum(weight.size for weight in weights)


def _outcome(twin, layers, rows, skipped, history, data):
    kinds = {
        layer.name: type(layer).__name__
        for operation, layer in layers.items()
        # A layer that was wrapped may have handed its weights on.
        if getattr(operation, "weights", ()) or layer.name in skipped
    }
    report = [
        {"name": name, "kind": kind, "skipped": skipped.get(name, "")}
        | rows.get(name, {})
        for name, kind in kinds.items()
    ]
    predictions = twin.predict(data["sample"], verbose=0)
    return {
        "predictions": keras.tree.flatten(predictions),
        "report": {"layers": report, "history": history},
    }


def _write(folder, model, outcome):
    unfinished = folder / "unfinished"
    unfinished.mkdir()
    model.save(unfinished / "model.keras")
    np.savez(unfinished / "predictions.npz", *outcome["predictions"])
    if "tflite" in outcome:
        (unfinished / "model.tflite").write_bytes(outcome["tflite"])
    (unfinished / "report.json").write_text(json.dumps(outcome["report"]))
    os.replace(unfinished, folder / "result")
