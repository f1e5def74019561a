"""Data movement, traced by running the layer on the numbers of positions."""

import numpy as np
from keras import layers, ops, tree

from fritz_compress.graph import Tensor
from fritz_compress.surgery.flow import Call, Value, Whole, compact
from fritz_compress.surgery.labels import Labels
from fritz_compress.surgery.rules.table import rule

_ANY_SIZE = 2  # Stands for a size that is not known.


@rule(
    layers.Concatenate,
    layers.Flatten,
    layers.Permute,
    layers.RepeatVector,
)
def move(call: Call) -> list[Value]:
    """Runs the operation on position numbers and looks up their labels."""
    labels, revived, places = _enumerate(call)
    args, kwargs = tree.map_structure(
        lambda value: places[value] if isinstance(value, Tensor) else value,
        (call.node.args, call.node.kwargs),
    )
    moved = tree.flatten(call.operation(*args, **kwargs))
    return [
        _rectangular(call, tensor, Value(labels[found], revived[found]))
        for tensor, found in zip(
            call.node.outputs, map(ops.convert_to_numpy, moved), strict=True
        )
    ]


@rule(layers.Reshape)
def reshape(call: Call) -> list[Value]:
    target = tuple(call.operation.target_shape)
    unknown = None in call.node.inputs[0].shape[1:]
    if unknown and -1 not in target:
        raise Whole("reshapes a tensor of unknown size")
    (value,) = move(call)
    axis = int(np.argmax(value.labels.shape))
    if value.labels.shape[axis] > 1 and target[axis - 1] != -1:
        before, after = target[: axis - 1], target[axis:]
        call.configure(
            "target_shape",
            value.labels.ravel(),
            lambda kept: (*before, kept, *after),
        )
    return [value]


def _enumerate(call):
    """All positions of the inputs in a row.

    Returns: labels and `revived` by position number, and each input tensor's
        position numbers in its own shape.
    """
    labels, revived, places, start = [], [], {}, 0
    alike = _axes_alike(call)
    for index, tensor in enumerate(call.node.inputs):
        if tensor in places:
            continue
        batch, *sizes = tensor.shape
        shape = [batch or 1, *(size or _ANY_SIZE for size in sizes)]
        for axis in alike:
            shape[axis] = 1
        value = call.input(index)
        labels.append(np.broadcast_to(value.labels, shape).ravel())
        revived.append(np.broadcast_to(value.revived, shape).ravel())
        numbers = np.arange(start, start + labels[-1].size, dtype="int32")
        places[tensor] = numbers.reshape(shape)
        start += numbers.size
    return np.concatenate(labels), np.concatenate(revived), places


def _axes_alike(call):
    """Axes on which one position can stand for all.

    No labels vary along them, and the operation does not mix positions along
    them with others. Without this a large image would be numbered by pixel.
    """
    operation, inputs = call.operation, call.node.inputs
    if not isinstance(operation, (layers.Concatenate, layers.Permute)):
        return []
    shapes = [call.input(i).labels.shape for i in range(len(inputs))]
    sizes = np.max(shapes, axis=0)
    if isinstance(operation, layers.Concatenate):
        sizes[operation.axis] = 0
    return np.flatnonzero(sizes == 1)


def _rectangular(call, tensor, value):
    """Ties labels so that a removal cuts whole slices along one axis."""
    store = call.flow.labels
    value = compact(store, value)
    varying = [a for a, size in enumerate(value.labels.shape) if size > 1]
    if len(varying) > 1:
        # Of the possible axes the one that leaves the most choice.
        axis = max(varying, key=lambda a: (_choice(value.labels, a), a))
        _tie(store, value.labels, axis)
        value = compact(store, value)
    for axis, size in enumerate(value.labels.shape):
        if size > 1 and tensor.shape[axis] is None:
            raise Whole("moves channels to an axis of unknown size")
    return value


def _tie(store, labels, axis):
    """Unites the labels of every slice along an axis."""
    for other in range(labels.ndim):
        if other != axis:
            store.unite(labels, labels.take([0], other))


def _choice(labels, axis):
    """How many classes would remain, were slices along `axis` tied."""
    found, numbers = np.unique(labels, return_inverse=True)
    trial = Labels()
    trial.new(len(found))
    _tie(trial, numbers.reshape(labels.shape), axis)
    return len(np.unique(trial.roots(np.arange(len(found)))))
