"""Calls of a model at a known size, and what they cost."""

import dataclasses
from collections.abc import Sequence

import keras

from fritz_compress import graph
from fritz_compress.checks import is_whole
from fritz_compress.costs.table import cost_of

Size = Sequence[int]


def sized_graph(
    model: keras.Model, input_size: Size | Sequence[Size] | None = None
) -> graph.Graph:
    """The calls of a model on a batch of one, or of its own size.

    Args:
        model: A Functional or built Sequential model.
        input_size: Spatial size in place of the model's, such as `(height,
            width)`, or its whole input shape without the batch. For several
            inputs a list of such.

    Raises:
        ValueError: for a model without a graph, or a size that does not fit.
    """
    return graph.trace(model, _input_shapes(model, input_size))


def macs_of(node: graph.Node) -> int | None:
    """Multiply-accumulates of one call on one sample; `None` if not known.

    Raises:
        ValueError: if a spatial size is not known.
    """

    def of_one(value):
        if not isinstance(value, graph.Tensor):
            return value
        return dataclasses.replace(value, shape=_one(value.shape))

    args, kwargs, outputs = keras.tree.map_structure(
        of_one, (node.args, node.kwargs, node.outputs)
    )
    return cost_of(graph.Node(node.operation, args, kwargs, outputs)).macs


def _one(shape):
    """The shape of a batch of one, if the batch can have any size."""
    return (1, *shape[1:]) if shape and shape[0] is None else tuple(shape)


def _input_shapes(model, input_size):
    if not graph.is_graph(model):
        return None
    shapes = [tensor.shape for tensor in model.inputs]
    if input_size is None:
        return list(map(_one, shapes))
    sizes = [input_size] if all(map(is_whole, input_size)) else input_size
    if len(sizes) != len(shapes):
        raise ValueError(
            f"`input_size` must be one for each input. Received: {input_size} "
            f"for model '{model.name}' with {len(shapes)}. Pass a list of such."
        )
    return [_one(_sized(model, *pair)) for pair in zip(shapes, sizes)]


def _sized(model, shape, size):
    """The shape of an input with other sides, or all but its batch."""
    batch, *spatial, channels = shape
    if len(size) == len(spatial):
        return batch, *size, channels
    if len(size) == len(spatial) + 1 and channels in (None, size[-1]):
        return batch, *size
    raise ValueError(
        f"`input_size` must have {len(spatial)} numbers for model "
        f"'{model.name}', input shape {shape}. Received: {tuple(size)}."
    )
