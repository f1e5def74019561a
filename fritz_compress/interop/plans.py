"""What becomes of each call of a model on the other side.

A plan is complete before anything is made, so a model that cannot be
translated is refused whole. tf_keras is not needed for the way to it.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from fritz_compress.graph import Graph, Node, is_graph, trace
from fritz_compress.interop.configs import (
    check_kind,
    from_tf_keras_config,
    to_tf_keras_config,
)
from fritz_compress.interop.legacy_graph import (
    is_tf_keras_graph,
    trace_tf_keras,
)
from fritz_compress.interop.masks import check_masks, without_masks
from fritz_compress.interop.operations import (
    check_tf_keras_function,
    from_tf_keras_operation,
    to_tf_keras_step,
)
from fritz_compress.surgery.names import name_layers

# A class and its arguments, or a function of tensors.
Step = tuple[str, dict[str, Any]] | Callable[..., Any]
Plan = tuple[Graph, dict[Node, Step]]

OPERATION_LAYERS = ("SlicingOpLambda", "TFOpLambda")
# What a layer may be called with, besides its first argument, on both sides.
_CALL_ARGUMENTS = frozenset("""
    attention_mask initial_state key mask return_attention_scores
    use_causal_mask value
""".split())


def plan_to_tf_keras(model: keras.Model) -> Plan:
    """The calls of a Keras 3 model and what makes each in tf_keras.

    Raises:
        ValueError: for a model without a graph, or a layer, an argument or an
            operation that tf_keras does not have.
    """
    graph = without_masks(trace(model))
    names = _unique_names(graph, input_names(model), name_layers(model))
    check_masks(graph, names)
    return graph, {node: _step_to(node, names) for node in graph.nodes}


def plan_from_tf_keras(model: Any) -> Plan:
    """The calls of a tf_keras model and what makes each in Keras 3.

    Raises:
        ValueError: for a model without a graph, or a layer, an argument or an
            operation that Keras 3 does not have.
    """
    graph = trace_tf_keras(model)
    names = _unique_names(graph, model.input_names, {})
    check_masks(graph, names)
    return graph, {node: _step_from(node, names) for node in graph.nodes}


def input_names(model: keras.Model) -> list[str]:
    """Names of a Keras 3 model's inputs: those of their layers."""
    layers = {
        id(layer.output): layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return [layers.get(id(tensor), tensor.name) for tensor in model.inputs]


def _unique_names(graph, inputs, paths):
    """A name for each operation of a flattened graph, its own if possible."""
    names: dict[keras.Operation, str] = {}
    taken = set(inputs)
    for node in graph.nodes:
        operation = node.operation
        if operation in names:
            continue
        # TensorFlow reads `/` as a scope, Keras 3 refuses it.
        wanted = paths.get(operation, operation.name).replace("/", "_")
        name, count = wanted, 0
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        taken.add(name)
        names[operation] = name
    return names


def call_arguments(node: Node, args: Iterable, kwargs: Mapping) -> tuple:
    """The first argument of a layer's call, and the others by their names.

    The two sides have the same names in different orders.
    """
    bound = inspect.signature(node.operation.call).bind(*args, **kwargs)
    first, *others = bound.arguments.items()
    named = {k: v for k, v in others if v is not None and k != "training"}
    return first[1], named


def _step_to(node, names):
    operation, name = node.operation, names[node.operation]
    if not isinstance(operation, keras.Layer):
        step = to_tf_keras_step(node)
        return step if callable(step) else (step[0], {**step[1], "name": name})
    _check_kind_of(operation, keras.layers, name)
    _check_call(node, name)
    if _wraps_graph(operation, is_graph):
        plan_to_tf_keras(operation.layer)
        return node.kind, {"name": name, "trainable": operation.trainable}
    config = {**operation.get_config(), "name": name}
    return to_tf_keras_config(node.kind, config, name)


def _step_from(node, names):
    import tf_keras

    operation, name = node.operation, names[node.operation]
    if node.kind in OPERATION_LAYERS:
        function = operation.get_config()["function"]
        check_tf_keras_function(function, name)
        return lambda *args, **kwargs: from_tf_keras_operation(
            function, args, kwargs
        )
    _check_kind_of(operation, tf_keras.layers, name)
    _check_call(node, name)
    if _wraps_graph(operation, is_tf_keras_graph):
        plan_from_tf_keras(operation.layer)
        return node.kind, {"name": name, "trainable": operation.trainable}
    config = {**operation.get_config(), "name": name}
    return from_tf_keras_config(node.kind, config, name)


def _wraps_graph(operation, is_model):
    wraps = type(operation).__name__ == "TimeDistributed"
    return wraps and is_model(operation.layer)


def _check_kind_of(operation, namespace, name):
    kind = type(operation)
    check_kind(kind.__name__, name)
    if getattr(namespace, kind.__name__) is not kind:
        raise ValueError(
            f"Layer '{name}' must be a layer of Keras itself. Received: "
            f"{kind.__module__}.{kind.__name__}, a class of that name. Build "
            "the model with the layer of Keras."
        )


def _check_call(node, name):
    _, named = call_arguments(node, node.args, node.kwargs)
    unknown = set(named) - _CALL_ARGUMENTS
    if unknown:
        raise ValueError(
            f"Layer '{name}' ({node.kind}) must be called with arguments that "
            f"Keras 3 and tf_keras both have: {sorted(_CALL_ARGUMENTS)}. "
            f"Received: {sorted(unknown)}. Build the model without them."
        )
