"""Data movement, traced by running an operation on numbers of places."""

import dataclasses

import numpy as np
from keras import layers, ops, tree

from fritz_compress.graph import Tensor
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.labels import Labels
from fritz_compress.surgery.values import Strand, Value

_ANY_SIZE = 2  # Stands for a size that is not known.
_LOCAL = (layers.Concatenate, layers.Permute)
_LOCAL_OPERATIONS = {"Concatenate", "Transpose", "Swapaxes", "Moveaxis"}


@dataclasses.dataclass(frozen=True, eq=False)
class _Places:
    """What is known about the places of all inputs along one axis.

    Attributes:
        labels, revived: By the number of the place.
        elements: By number, a number of its own for every channel.
    """

    labels: np.ndarray
    revived: np.ndarray
    elements: np.ndarray


def move(call: Call, size: int = _ANY_SIZE, batch: int = 1) -> list[Value]:
    """Runs an operation that only moves data, and looks up the labels.

    Args:
        call: The call.
        size, batch: What stands for sizes that are not known.

    Raises:
        Whole: if it cannot be run, or if its result cannot be followed.
    """
    flat = tree.flatten((call.node.args, call.node.kwargs))
    if any(not isinstance(x, Tensor) and np.ndim(x) > 0 for x in flat):
        raise Whole("takes arrays that are no tensors of the model")
    numbers = _number(call, size, batch)
    args, kwargs = tree.map_structure(
        lambda value: numbers[value] if isinstance(value, Tensor) else value,
        (call.node.args, call.node.kwargs),
    )
    try:
        moved = tree.flatten(call.operation(*args, **kwargs))
    except Exception as error:  # Each backend has errors of its own.
        why = "cannot be followed where sizes are not known"
        raise Whole(why) from error
    moved = [ops.convert_to_numpy(array) for array in moved]
    outputs: list[dict[int, Strand]] = [{} for _ in moved]
    axes = {axis for value in _values(call) for axis in value.strands}
    for axis in sorted(axes):
        places = _labelled(call, numbers, axis)
        for strands, tensor, array in zip(outputs, call.node.outputs, moved):
            found = _rectangular(call, tensor, places, array)
            if found is not None:
                _add(call, strands, *found)
    return [Value(strands, _stays(call)) for strands in outputs]


def _values(call):
    return [call.input(index) for index in range(len(call.node.inputs))]


def _stays(call):
    """The reason of an input that stays, if there is one."""
    values = _values(call)
    return next((v for v in values if not v.strands), values[0]).stays


def _number(call, size, unknown_batch):
    numbers, start, alike = {}, 0, _axes_alike(call)
    for tensor in call.node.inputs:
        if tensor not in numbers:
            batch, *sizes = tensor.shape
            shape = [batch or unknown_batch, *(s or size for s in sizes)]
            for axis in alike:
                shape[axis] = 1
            count = int(np.prod(shape))
            flat = np.arange(start, start + count, dtype="int32")
            numbers[tensor] = flat.reshape(shape)
            start += count
    return numbers


def _axes_alike(call):
    """Axes on which one position can stand for all.

    No labels vary along them, and the operation does not mix positions along
    them with others. Without this a large image would be numbered by pixel.
    """
    operation = call.operation
    if not isinstance(operation, _LOCAL) and not (
        type(operation).__name__ in _LOCAL_OPERATIONS
    ):
        return []
    varying = {axis for value in _values(call) for axis in value.strands}
    joined = getattr(operation, "axis", None)
    rank = len(call.shape())
    if isinstance(joined, int):
        varying.add(joined % rank)
    return [axis for axis in range(rank) if axis not in varying]


def _labelled(call, numbers, axis):
    """What is known along one axis, by the numbers of places."""
    labels, revived, elements, start = [], [], [], 0
    for tensor, places in numbers.items():
        strand = call.input(tensor).strands.get(axis)
        if strand is None:
            label = call.flow.staying(call.input(tensor).stays)
            strand = Strand(np.array([label]), np.array([0]))
        shape = [1] * places.ndim
        shape[min(axis, places.ndim - 1)] = -1
        own = np.arange(start, start + len(strand.labels))
        for found, values in (
            (labels, strand.labels),
            (revived, strand.revived),
            (elements, own),
        ):
            spread = np.broadcast_to(values.reshape(shape), places.shape)
            found.append(spread.ravel())
        start += len(own)
    return _Places(*map(np.concatenate, (labels, revived, elements)))


def _rectangular(call, tensor, places, array):
    """Labels along the axis of the output that follows the inputs' one.

    Ties labels so that a removal cuts whole slices. Returns: the axis and its
    strand, or `None` if all stay.
    """
    store = call.flow.labels
    labels = store.roots(places.labels)[array]
    if not labels.size:
        raise Whole("leaves nothing of a size that is not known")
    varying = _varying(labels)
    if len(varying) > 1:
        # Of the possible axes the one that leaves the most choice.
        axis = max(varying, key=lambda a: (_choice(labels, a), a))
        _tie(store, labels, axis)
        labels = store.roots(labels)
        varying = _varying(labels)
    if not varying:
        varying = _varying(places.elements[array])
    if len(varying) != 1:
        call.freeze(labels.ravel()[:1], "spreads one channel over several axes")
        return None
    (axis,) = varying
    if tensor.shape[axis] is None:
        raise Whole("moves channels to an axis of unknown size")
    first = [0] * labels.ndim
    first[axis] = slice(None)
    others = tuple(a for a in range(labels.ndim) if a != axis)
    revived = places.revived[array].max(axis=others)
    return axis, Strand(labels[tuple(first)], revived)


def _add(call, strands, axis, strand):
    """Channels of two axes that become one: the fewer of them stay."""
    if axis in strands:
        old = strands[axis]
        few, many = sorted((strand, old), key=lambda s: len(set(s.labels)))
        call.freeze(few.labels, "joins two axes of channels")
        strand = many
    strands[axis] = strand


def _varying(array):
    return [
        axis
        for axis in range(array.ndim)
        if array.shape[axis] > 1 and (array != array.take([0], axis)).any()
    ]


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
