"""A tf_keras model as nodes and tensors, nested models flattened.

Reads what `get_config` says about the calls; no private attribute is used.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from keras import tree

from fritz_compress.graph import Graph, Node, Tensor

_CONSTANT = "_CONSTANT_VALUE"  # Stands where the name of a layer would.


def trace_tf_keras(model: Any) -> Graph:
    """Lists the calls that a tf_keras model makes, as `graph.trace` does.

    The operations of the graph are tf_keras layers, and `nested` is empty.

    Args:
        model: A Functional or a built Sequential model of tf_keras.

    Raises:
        ValueError: for a model without a graph.
    """
    if not is_tf_keras_graph(model):
        raise ValueError(
            "Expected a Functional or a built Sequential model of tf_keras, "
            f"without a `call` of its own. Received: {type(model).__name__} "
            f"'{getattr(model, 'name', '?')}'. Rewrite a subclassed model "
            "with `tf_keras.Model(inputs, outputs)`; call or build a "
            "Sequential first; a Keras 3 model needs no translation."
        )
    inputs = tuple(
        Tensor(tuple(tensor.shape), tensor.dtype.name)
        for tensor in model.inputs
    )
    nodes: list[Node] = []
    outputs = _replay(model, inputs, {}, nodes)
    return Graph(model, inputs, tuple(nodes), outputs, nested={})


def is_tf_keras_graph(layer: Any) -> bool:
    """Whether a tf_keras layer is a model whose calls can be listed."""
    import tf_keras

    if not isinstance(layer, tf_keras.Model) or not layer.inputs:
        return False
    owner = next(kind for kind in type(layer).__mro__ if "call" in vars(kind))
    return owner.__module__.split(".")[0] == "tf_keras"


def _replay(model, inputs, options, nodes):
    """Notes the calls of a model, or of one inside it, on `inputs`."""
    import tf_keras

    if isinstance(model, tf_keras.Sequential):
        (value,) = inputs
        for layer in model.layers:
            value = _call(layer, (value,), dict(options), nodes)
        return value
    config = model.get_config()
    values = {
        (name, 0): [value] for name, value in zip(model.input_names, inputs)
    }
    waiting = [
        (model.get_layer(entry["name"]), index, call)
        for entry in config["layers"]
        for index, call in enumerate(entry["inbound_nodes"])
    ]
    while waiting:
        waiting = [
            entry
            for entry in waiting
            if not _run(*entry, values, options, nodes)
        ]
    return _single(_filled(config["output_layers"], values))


def _run(layer, index, call, values, options, nodes):
    """Notes one call, unless its arguments are still to be made."""
    try:
        args, kwargs = _arguments(call, values)
    except KeyError:
        return False
    results = _call(layer, args, {**options, **kwargs}, nodes)
    # The first call of a model is the one that made it: it is not listed.
    index += is_tf_keras_graph(layer)
    values[layer.name, index] = tree.flatten(results)
    return True


def _call(layer, args, kwargs, nodes):
    if is_tf_keras_graph(layer):
        inputs = args[0]
        if isinstance(inputs, Mapping):
            inputs = [inputs[name] for name in layer.input_names]
        options = {k: v for k, v in kwargs.items() if k == "training"}
        return _replay(layer, tree.flatten(inputs), options, nodes)
    if "training" not in inspect.signature(layer.call).parameters:
        kwargs.pop("training", None)
    # Every call of a layer has outputs of the same structure.
    outputs = tree.map_structure(
        lambda tensor: Tensor(tuple(tensor.shape), tensor.dtype.name),
        layer.get_output_at(0),
    )
    nodes.append(Node(layer, args, kwargs, tuple(tree.flatten(outputs))))
    return outputs


def _arguments(call, values):
    """What a layer is called with, from its entry in `inbound_nodes`.

    The entry is the structure of the first argument; all others stand behind
    each of its tensors.
    """
    first = call
    while not _is_reference(first):
        first = next(iter(first.values() if _is_dict(first) else first))
    kwargs = first[3] if len(first) > 3 else {}
    kwargs = {
        key: _filled(value, values)
        for key, value in kwargs.items()
        if value is not None
    }
    return (_single(_filled(call, values)),), kwargs


def _filled(structure, values):
    """The structure with a tensor in place of each reference to one."""
    if _is_reference(structure):
        name, node, index = structure[:3]
        return index if name == _CONSTANT else values[name, node][index]
    if _is_dict(structure):
        return {key: _filled(v, values) for key, v in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_filled(value, values) for value in structure]
    return structure


def _is_reference(value):
    """Name of a layer, number of its call, number of the output."""
    return (
        isinstance(value, (list, tuple))
        and len(value) in (3, 4)
        and isinstance(value[0], str)
    )


def _is_dict(value):
    return isinstance(value, Mapping)


def _single(structure):
    """tf_keras calls a layer with the tensor, not with a list of one."""
    if isinstance(structure, list) and len(structure) == 1:
        return structure[0]
    return structure
