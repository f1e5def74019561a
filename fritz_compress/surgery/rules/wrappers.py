"""Layers around other layers."""

import dataclasses

import numpy as np
from keras import layers, tree

from fritz_compress.graph import Node, Tensor, is_graph, model_inside, trace
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.labelling import visit
from fritz_compress.surgery.rules.table import find_rule, rule
from fritz_compress.surgery.values import Strand, Value


@rule(layers.TimeDistributed)
def time_distributed(call: Call) -> list[Value]:
    """The layer or model inside sees no time axis."""
    call.only(*range(2, len(call.shape())))
    if model_inside(call.operation) is not None:
        return _opened(call)
    node = dataclasses.replace(
        call.node,
        operation=call.operation.layer,
        args=(_without_time(call, call.node.inputs[0]),),
        kwargs={},
        outputs=tuple(
            Tensor((t.shape[0], *t.shape[2:]), t.dtype)
            for t in call.node.outputs
        ),
    )
    inner = call.inside(node.operation, "layer.", ("layer", "config"), node)
    return [_with_time(value) for value in _apply(inner)]


@rule(layers.SpectralNormalization)
def spectral(call: Call) -> list[Value]:
    """A plain layer at inference; its norm is one of the whole kernel."""
    layer = call.operation.layer
    node = dataclasses.replace(call.node, operation=layer, kwargs={})
    inner = call.inside(layer, "layer.", ("layer", "config"), node)
    values = _apply(inner)
    made = call.flow.slots[call.operation]["layer." + _kernel(layer)].makes
    rank = len(getattr(layer, _kernel(layer)).shape)
    call.weight(
        "vector_u", reads={1: made[rank - 1]} if rank - 1 in made else {}
    )
    return values


@rule(layers.Bidirectional)
def bidirectional(call: Call) -> list[Value]:
    """Both directions lose the same units."""
    layer = call.operation
    backward = call.operation.get_config().get("backward_layer") is not None
    values = []
    for name, key in (("forward_layer", "layer"), ("backward_layer",) * 2):
        inside = getattr(layer, name)
        node = _direction(call.node, inside)
        settings = (key, "config") if key == "layer" or backward else None
        values.append(_apply(call.inside(inside, f"{name}.", settings, node)))
    (forward, *states), (reverse, *more) = values
    return [*_joined(call, forward, reverse), *states, *more]


def _kernel(layer):
    return "embeddings" if isinstance(layer, layers.Embedding) else "kernel"


def _apply(call):
    if is_graph(call.operation):
        raise Whole("holds a model")
    inner = find_rule(call.operation)
    if inner is None:
        kind = type(call.operation).__name__
        raise Whole(f"holds a {kind}, which has no rule")
    return inner(call)


def _opened(call):
    """The calls of the model inside, as if they were the outer model's."""
    flow, wrapper = call.flow, call.operation
    if wrapper not in flow.opened:
        graph = trace(wrapper.layer)
        if len(graph.inputs) != 1 or len(graph.output_tensors) != 1:
            raise Whole("holds a model of several inputs or outputs")
        flow.opened[wrapper] = graph
        for model, calls in graph.nested.items():
            flow.nested.setdefault(model, []).extend(calls)
    graph = flow.opened[wrapper]
    moment = _without_time(call, call.node.inputs[0])
    flow.nested.setdefault(wrapper.layer, []).append((moment,))
    flow.values[graph.inputs[0]] = flow.values[moment]
    for node in graph.nodes:
        visit(flow, node, find_rule(node.operation))
    return [_with_time(flow.values[graph.output_tensors[0]])]


def _without_time(call, tensor):
    """The tensor at one moment, known to the flow."""
    inner = Tensor((tensor.shape[0], *tensor.shape[2:]), tensor.dtype)
    value = call.input()
    call.flow.values[inner] = Value(
        {a - 1: s for a, s in value.strands.items() if a > 1}, value.stays
    )
    return inner


def _with_time(value):
    return Value({a + 1: s for a, s in value.strands.items()}, value.stays)


def _direction(node, layer):
    """The call of one direction, with its half of the initial states."""
    states = tree.flatten(node.kwargs.get("initial_state"))
    if (
        any(isinstance(state, Tensor) for state in states)
        or len(node.inputs) > 1
    ):
        raise Whole("starts from given states")
    outputs = layer.compute_output_shape(node.inputs[0].shape)
    shapes = outputs if isinstance(outputs[0], (tuple, list)) else [outputs]
    made = tuple(Tensor(tuple(s), node.outputs[0].dtype) for s in shapes)
    return Node(layer, (node.inputs[0],), {}, made)


def _joined(call, forward, reverse):
    first, second = forward.strands, reverse.strands
    (axis,) = first
    mode = call.operation.merge_mode
    if mode is None:
        return [forward, reverse]
    if mode == "concat":
        pair = (first[axis], second[axis])
        labels = np.concatenate([strand.labels for strand in pair])
        revived = np.concatenate([strand.revived for strand in pair])
        return [call.output({axis: Strand(labels, revived)})]
    combine = np.minimum if mode == "mul" else np.maximum
    revived = combine(first[axis].revived, second[axis].revived)
    call.tie(first[axis].labels, second[axis].labels)
    return [call.output({axis: Strand(first[axis].labels, revived)})]
