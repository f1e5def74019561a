"""Labels sent through a model, one operation after another."""

from collections.abc import Callable

import keras

from fritz_compress.graph import Node, trace
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Flow, Whole
from fritz_compress.surgery.values import Value

FindRule = Callable[[keras.Operation], Callable[[Call], list[Value]] | None]


def label_channels(
    model: keras.Model, find_rule: FindRule, prune_normalized: bool = False
) -> Flow:
    """Sends labels through a model.

    Args:
        model: A Functional or built Sequential model; it is not changed.
        find_rule: From an operation to its rule, or `None`.
        prune_normalized: Whether channels may go that a normalization takes
            its statistics over. Defaults to `False`.

    Raises:
        ValueError: if the model has no graph to follow.
    """
    flow = Flow(trace(model), prune_normalized)
    for tensor in flow.graph.inputs:
        flow.values[tensor] = Value(stays="an input of the model")
    for node in flow.graph.nodes:
        visit(flow, node, find_rule(node.operation))
    for calls in flow.nested.values():
        for tensors in zip(*calls):
            _tie_inputs(flow, tensors)
    flow.finish()
    return flow


def visit(flow: Flow, node: Node, rule: Callable | None) -> None:
    """Sends labels through one call."""
    operation = node.operation
    try:
        if operation in flow.whole:
            raise Whole(flow.whole[operation])
        if rule is None:
            raise Whole("has no rule")
        outputs = rule(Call(flow, node))
        _check_values(flow, node, outputs)
        _check_all_weights_labelled(flow, operation)
    except Whole as reason:
        _keep_whole(flow, node, str(reason))
    else:
        flow.values.update(zip(node.outputs, outputs, strict=True))


def _check_values(flow, node, values):
    """A rule of the user's own may return something else."""
    whole = isinstance(values, (list, tuple))
    if (
        not whole
        or len(values) != len(node.outputs)
        or not all(isinstance(value, Value) for value in values)
    ):
        raise TypeError(
            f"The rule of {flow.describe(node.operation)} must return a list "
            f"with one surgery.Value for each of its {len(node.outputs)} "
            f"outputs. Received: {values!r}."
        )


def _tie_inputs(flow, tensors):
    """A model inside takes one shape of input, however often it is called."""
    values = [flow.values[tensor] for tensor in tensors]
    for axis in {axis for value in values for axis in value.strands}:
        strands = [v.strands[axis] for v in values if axis in v.strands]
        for strand in strands:
            flow.labels.unite(strands[0].labels, strand.labels)
        for value in values:
            if axis not in value.strands:
                flow.labels.freeze(strands[0].labels, value.stays)


def _check_all_weights_labelled(flow, operation):
    """A weight that a rule does not know would silently start afresh."""
    if not isinstance(operation, keras.Layer) or not operation.weights:
        return
    own = flow.variables(operation)
    known = {id(own[name]) for name in flow.slots.get(operation, {})}
    if operation in flow.opened:
        known.update(map(id, flow.opened[operation].model.weights))
    unknown = [w.name for w in operation.weights if id(w) not in known]
    if unknown:
        reason = f"has weights without a rule: {', '.join(unknown)}"
        absent = flow.absent.get(operation)
        if absent:
            reason += f" (its rule names {', '.join(sorted(absent))})"
        raise Whole(reason)


def _keep_whole(flow, node, why):
    operation = node.operation
    flow.whole[operation] = why
    reason = f"{flow.describe(operation)} {why}"
    for tensor in node.inputs:
        flow.freeze(flow.values[tensor], reason)
    for slot in flow.slots.get(operation, {}).values():
        for labels in (*slot.reads.values(), *slot.makes.values()):
            flow.labels.freeze(labels, reason)
    for tensor in node.outputs:
        flow.values[tensor] = Value(stays=reason)
