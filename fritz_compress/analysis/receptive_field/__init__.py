"""How much of the input one number of a layer's output depends on.

Axes along which positions of the input can still be told apart are followed
through the graph as `Strip`s. A layer that mixes all positions of an axis, and
one that has no rule, loses the axis.
"""

import keras

from fritz_compress.analysis.receptive_field import moves, windows
from fritz_compress.analysis.receptive_field.strips import INPUT
from fritz_compress.analysis.receptive_field.table import Strips, strips_after
from fritz_compress.graph import Graph, Tensor

Field = tuple[int, ...] | None

__all__ = ["Field", "moves", "receptive_fields", "windows"]


def receptive_fields(graph: Graph) -> dict[Tensor, Field]:
    """Positions of the input that a number depends on, for every tensor.

    Kernels, strides and dilations are composed exactly, as if the input had
    no edges: a number in the middle of a large enough input depends on so many
    positions. Where branches meet, the field spans those of all of them.

    Returns: positions (pixels) by axis; `None` for what depends on all
    positions of an axis, and where it is not known.

    Reference: Araujo, Norris and Sim, "Computing Receptive Fields of
    Convolutional Neural Networks", https://doi.org/10.23915/distill.00021,
    for what is composed; here phases of upsampling are kept apart.
    """
    known: dict[Tensor, Strips] = {
        tensor: dict.fromkeys(_positions(graph, tensor), INPUT)
        for tensor in graph.inputs
    }
    axes = max(map(len, known.values()), default=0)
    for node in graph.nodes:
        strips = strips_after(node, [known.get(t, {}) for t in node.inputs])
        known.update(dict.fromkeys(node.outputs, strips))
    return {tensor: _field(strips, axes) for tensor, strips in known.items()}


def _positions(graph, tensor):
    """Axes of an input that are not channels: of a picture both sides."""
    rank = len(tensor.shape)
    if rank < 3:
        return range(1, rank)
    formats = (getattr(n.operation, "data_format", None) for n in graph.nodes)
    found = next(filter(None, formats), keras.config.image_data_format())
    return range(2, rank) if found == "channels_first" else range(1, rank - 1)


def _field(strips, axes):
    if not axes or len(strips) < axes:
        return None
    return tuple(strips[axis].size for axis in sorted(strips))
