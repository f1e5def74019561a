"""Sums, products and the like of several tensors, with broadcasting."""

import numpy as np
from keras import layers, tree

from fritz_compress.graph import Tensor
from fritz_compress.surgery.flow import Call, Value, Whole
from fritz_compress.surgery.rules.table import rule


@rule(
    layers.Add,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Subtract,
    *"Add Maximum Minimum Subtract".split(),
)
def add(call: Call) -> list[Value]:
    """Zero where every operand is, and no constant takes part."""
    operands, others = _united(call)
    revived = np.max([value.revived for value in operands], axis=0)
    if others or np.any(_constants(call)):
        revived = np.full_like(revived, call.flow.number(call.operation))
    return [Value(operands[0].labels, revived)]


@rule(layers.Multiply, "Multiply")
def multiply(call: Call) -> list[Value]:
    """Zero where any operand is."""
    operands, _ = _united(call)
    revived = np.min([value.revived for value in operands], axis=0)
    return [Value(operands[0].labels, revived)]


def _united(call):
    """Ties equal channels of all operands.

    Returns: the operands that have these channels, in one shape, and the
        number of those with a single channel that is used for all.
    """
    if any(np.size(constant) > 1 for constant in _constants(call)):
        raise Whole("has constants of its own for every channel")
    rank = len(call.node.outputs[0].shape)
    values = [
        _expand(call.input(index), rank)
        for index in range(len(call.node.inputs))
    ]
    shape = np.broadcast_shapes(*(value.labels.shape for value in values))
    varying = [axis for axis, size in enumerate(shape) if size > 1]
    if len(varying) > 1:
        raise Whole("combines channels along different axes")
    operands, others = [], 0
    for value, tensor in zip(values, call.node.inputs, strict=True):
        sizes = (1,) * (rank - len(tensor.shape)) + tuple(tensor.shape)
        if varying and sizes[varying[0]] == 1:
            call.freeze(value.labels, "uses one channel for all")
            others += 1
        else:
            operands.append(_broadcast(value, shape))
    for value in operands[1:]:
        call.flow.labels.unite(operands[0].labels, value.labels)
    return operands, others


def _constants(call):
    """Arguments that are not tensors, such as the 2 of `2 * x`."""
    flat = tree.flatten((call.node.args, call.node.kwargs))
    return [value for value in flat if not isinstance(value, Tensor)]


def _expand(value, rank):
    shape = (1,) * (rank - value.labels.ndim) + value.labels.shape
    return Value(value.labels.reshape(shape), value.revived.reshape(shape))


def _broadcast(value, shape):
    return Value(
        np.broadcast_to(value.labels, shape),
        np.broadcast_to(value.revived, shape),
    )
