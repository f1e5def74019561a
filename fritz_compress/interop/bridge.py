"""Keras 3 models as tf_keras models, and back, with their weights."""

import importlib
from typing import Any

import keras
from keras import tree

from fritz_compress.interop.configs import RECURRENT
from fritz_compress.interop.plans import (
    call_arguments,
    input_names,
    plan_from_tf_keras,
    plan_to_tf_keras,
)


def to_tf_keras(model: keras.Model) -> Any:
    """A tf_keras model that computes what a Keras 3 model does.

    Made for libraries that know Keras 2 only. Importing tf_keras changes
    nothing for the Keras 3 models of the process.

    Args:
        model: A Functional or a built Sequential model of layers that both
            have. Arithmetic on tensors, slices, concatenation and plain
            activations of `keras.ops` may be among them.

    Returns: a Functional `tf_keras.Model`, not compiled, with equal weights,
    names and trainable flags. Models inside the model are flattened, for
    tools that cannot look inside; only a model inside TimeDistributed stays
    one. Layers of equal names in two such models are called by their path,
    such as `encoder_convolution`.

    Raises:
        ValueError: for a model without a graph, or a layer, an argument or an
            operation that tf_keras does not have, before anything is made.
        ImportError: without tf_keras.

    What it does not do: initializers of a user's own become the default ones,
    and a `training=` that layers were called with is left out, as `fit` and
    `predict` of Keras 3 set it for every layer.

    Example:

    >>> twin = to_tf_keras(model)
    >>> float(abs(twin.predict(x) - model.predict(x)).max())
    0.0
    """
    return translate(model)[0]


def translate(model: keras.Model) -> tuple[Any, dict[keras.Operation, Any]]:
    """As `to_tf_keras`, and what it made of each layer and raw operation."""
    graph, steps = plan_to_tf_keras(model)
    tf_keras = _import_tf_keras()
    symbolic = type(tf_keras.Input(()))
    layers: dict[keras.Operation, Any] = {}

    def call(node, *args, **kwargs):
        step = steps[node]
        if isinstance(node.operation, keras.Layer):
            first, named = call_arguments(node, args, kwargs)
        else:
            args = [
                value if isinstance(value, symbolic) else _constant(value)
                for value in (*args, *kwargs.values())
            ]
            if callable(step):
                return step(*args)
            first, named = (args if len(args) > 1 else args[0]), {}
        if node.operation not in layers:
            layers[node.operation] = _made(
                tf_keras.layers, step, node.operation, to_tf_keras
            )
        return layers[node.operation](first, **named)

    inputs = [
        tf_keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
        for tensor, name in zip(graph.inputs, input_names(model))
    ]
    outputs = graph.run(inputs, call)
    twin = tf_keras.Model(_packed(model, inputs), outputs, name=model.name)
    for operation, layer in layers.items():
        if isinstance(operation, keras.Layer) and operation.weights:
            layer.set_weights([_numpy(w) for w in ordered_weights(operation)])
            _finalize(layer, tf_keras.layers)
    return twin, layers


def from_tf_keras(model: Any) -> keras.Model:
    """A Keras 3 model that computes what a tf_keras model does.

    Args:
        model: A Functional or a built Sequential `tf_keras.Model` of layers
            that both have. Arithmetic on tensors and slices may be among
            them.

    Returns: a Functional `keras.Model`, not compiled, with equal weights,
    names and trainable flags; models inside it flattened as by `to_tf_keras`.

    Raises:
        TypeError: for a Keras 3 model.
        ValueError: for a model without a graph, or a layer, an argument or an
            operation that Keras 3 does not have, before anything is made.
        ImportError: without tf_keras.

    What it does not do: initializers of a user's own become the default ones,
    and a `training=` that layers were called with is left out.

    Example:

    >>> model = from_tf_keras(tf_keras.applications.MobileNet())
    """
    _import_tf_keras()
    if isinstance(model, keras.Model):
        raise TypeError(
            "Expected a tf_keras model. Received: the Keras 3 model "
            f"'{model.name}'. It needs no translation."
        )
    graph, steps = plan_from_tf_keras(model)
    layers: dict[Any, keras.Layer] = {}

    def call(node, *args, **kwargs):
        step, layer = steps[node], node.operation
        if callable(step):
            return step(*args, **kwargs)
        first, named = call_arguments(node, args, kwargs)
        if node.kind in RECURRENT and isinstance(first, list):
            first, *named["initial_state"] = first
        if layer not in layers:
            layers[layer] = _made(keras.layers, step, layer, from_tf_keras)
        return layers[layer](first, **named)

    inputs = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
        for tensor, name in zip(graph.inputs, model.input_names)
    ]
    outputs = graph.run(inputs, call)
    twin = keras.Model(_packed(model, inputs), outputs, name=model.name)
    for layer, copy in layers.items():
        for weight, value in zip(
            ordered_weights(copy), layer.get_weights(), strict=True
        ):
            weight.assign(value)
        _finalize(copy, keras.layers)
    return twin


def ordered_weights(layer: keras.Layer) -> list[keras.Variable]:
    """The weights of a Keras 3 layer in the order of its tf_keras twin."""
    return sorted(layer.weights, key=lambda weight: not weight.trainable)


def _import_tf_keras():
    try:
        return importlib.import_module("tf_keras")
    except ImportError as error:
        raise ImportError(
            "This needs tf_keras. Install it with "
            "`pip install fritz_compress[tfmot]`."
        ) from error


def _made(namespace, step, operation, translate):
    """A layer of one side for a layer, or an operation, of the other."""
    kind, config = step
    if kind == "TimeDistributed" and "layer" not in config:
        return namespace.TimeDistributed(translate(operation.layer), **config)
    if kind == "MultiHeadAttention":
        # `from_config` wants the shapes of a layer that is built.
        return namespace.MultiHeadAttention(**config)
    return getattr(namespace, kind).from_config(config)


def _packed(model, inputs):
    """The inputs in the structure that the model is called with."""
    if type(model).__name__ == "Sequential":
        return inputs[0]
    return tree.pack_sequence_as(model.input, inputs)


def _constant(value):
    """Constants of the graph as NumPy arrays, which every backend reads."""
    if keras.ops.is_tensor(value):
        return _numpy(value)
    return value


def _numpy(value):
    return keras.ops.convert_to_numpy(value)


def _finalize(layer, namespace):
    if isinstance(layer, namespace.Normalization):
        layer.finalize_state()  # It computes with copies of its weights.
