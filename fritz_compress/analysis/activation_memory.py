"""How much memory the numbers between the layers take."""

import dataclasses
import math
from collections.abc import Iterable

import keras
import numpy as np
from keras import layers

from fritz_compress.graph import Graph, Node, Tensor

# Their outputs are their inputs, where they are in memory.
_VIEWS = (
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Dropout,
    layers.Flatten,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.Reshape,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
)
_VIEW_OPERATIONS = ("ExpandDims", "Ravel", "Reshape", "Squeeze")


@dataclasses.dataclass(frozen=True)
class LiveTensors:
    """What is in memory while one layer computes.

    Attributes:
        layer: Name of the layer.
        numbers: Floating point numbers; `None` if not known.
        bytes: Bytes of all else: token ids, masks.
    """

    layer: str
    numbers: int | None
    bytes: int

    def bytes_at(self, bits: int) -> int:
        """All bytes, with so many bits for each number."""
        return -(-self.numbers * bits // 8) + self.bytes


@dataclasses.dataclass(frozen=True)
class PeakMemory:
    """The most memory that activations take at one time.

    Attributes:
        bytes: How much.
        layer: Name of the first layer at which it is reached.
    """

    bytes: int
    layer: str


def live_tensors(graph: Graph) -> tuple[LiveTensors, ...]:
    """What is in memory at each call, in the order of the calls.

    A tensor lives from the call that makes it to the last one that reads it;
    inputs of the model from the start, its outputs to the end. Reshapes, and
    layers that do nothing at inference, make no tensor. All other layers make
    one, also where a runtime could compute in place.
    """
    owners = _owners(graph)
    last = _last_uses(graph, owners)
    alive = {t for t in graph.inputs if t in last}
    steps = []
    for number, node in enumerate(graph.nodes):
        alive |= {owners[tensor] for tensor in node.outputs}
        steps.append(_counted(node, alive))
        alive = {t for t in alive if last.get(t, number) > number}
    return tuple(steps)


def _owners(graph):
    """The tensor whose memory each tensor is in."""
    owners: dict[Tensor, Tensor] = {tensor: tensor for tensor in graph.inputs}
    for node in graph.nodes:
        for tensor in node.outputs:
            source = node.inputs[0] if _is_view(node) else tensor
            owners[tensor] = owners.get(source, tensor)
    return owners


def _last_uses(graph, owners):
    """The number of the last call that reads each tensor's memory."""
    last: dict[Tensor, int] = {}
    for number, node in enumerate(graph.nodes):
        last.update({owners[tensor]: number for tensor in node.inputs})
    end = len(graph.nodes)
    last.update({owners[tensor]: end for tensor in graph.output_tensors})
    return last


def _is_view(node: Node) -> bool:
    operation = node.operation
    if isinstance(operation, keras.Layer):
        return type(operation) in _VIEWS
    return type(operation).__name__ in _VIEW_OPERATIONS


def _counted(node, tensors: Iterable[Tensor]) -> LiveTensors:
    numbers, others = 0, 0
    for tensor in tensors:
        if None in tensor.shape or tensor.dtype == "string":
            return LiveTensors(node.operation.name, None, 0)
        count = math.prod(tensor.shape)
        if "float" in tensor.dtype:
            numbers += count
        else:
            others += count * np.dtype(tensor.dtype).itemsize
    return LiveTensors(node.operation.name, numbers, others)
