"""Where layers with kernels stand in a graph, and what is before a sign."""

from collections.abc import Iterator

import keras
from keras import layers

from fritz_compress.graph import Graph, Node, Tensor
from fritz_compress.layers import InstanceNormalization

NORMALIZATIONS = (
    InstanceNormalization,
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
)
# What neither adds nor turns signs: only which numbers are where changes.
MOVES = (
    layers.Activation,
    layers.Cropping2D,
    layers.Dropout,
    layers.Flatten,
    layers.Identity,
    layers.MaxPooling2D,
    layers.Permute,
    layers.Reshape,
    layers.SpatialDropout2D,
)


class Surroundings:
    """The graph of a model, asked from the point of view of one layer.

    Args:
        graph: The graph.
        has_kernel: Whether a layer counts as one with a kernel.
    """

    def __init__(self, graph: Graph, has_kernel):
        self.graph = graph
        self.has_kernel = has_kernel
        self.producers: dict[Tensor, Node] = {
            tensor: node for node in graph.nodes for tensor in node.outputs
        }
        self.consumers = graph.consumers()

    def calls(self, layer: keras.Operation) -> Iterator[Node]:
        """The nodes of a layer."""
        return (node for node in self.graph.nodes if node.operation is layer)

    def is_normalized(self, node: Node) -> bool:
        """Whether what a node reads comes from a normalization.

        What only moves numbers may be between, a ReLU may not: no number
        behind it is negative.
        """
        before = self.before(node)
        return before is not None and isinstance(
            before.operation, NORMALIZATIONS
        )

    def before(self, node: Node) -> Node | None:
        """The node that made the numbers which a node reads, if any."""
        producer = self.producers.get(node.inputs[0])
        while producer is not None and _moves(producer.operation):
            producer = self.producers.get(producer.inputs[0])
        return producer

    def is_first(self, layer: keras.Operation) -> bool:
        """Whether no layer with a kernel comes before, on some way."""
        return any(
            not self._kernel_on_all_ways(node, self._sources)
            for node in self.calls(layer)
        )

    def is_last(self, layer: keras.Operation) -> bool:
        """Whether no layer with a kernel comes after, on some way."""
        return any(
            not self._kernel_on_all_ways(node, self._readers)
            for node in self.calls(layer)
        )

    def _sources(self, node):
        return [self.producers.get(tensor) for tensor in node.inputs]

    def _readers(self, node):
        found = []
        for tensor in node.outputs:
            found += self.consumers.get(tensor, [])
            if tensor in self.graph.output_tensors:
                found.append(None)
        return found

    def _kernel_on_all_ways(self, node, further):
        """Whether every way on from a node meets a kernel before it ends."""
        seen, waiting = set(), list(further(node))
        while waiting:
            found = waiting.pop()
            if found is None:
                return False
            if found in seen or self.has_kernel(found.operation):
                continue
            seen.add(found)
            waiting += further(found)
        return True


def is_relu(operation: keras.Operation) -> bool:
    """Whether it is a layer that only cuts off what is negative."""
    if type(operation) is layers.Activation:
        return operation.activation is keras.activations.relu
    return (
        type(operation) is layers.ReLU
        and operation.max_value is None
        and not operation.negative_slope
        and not operation.threshold
    )


def _moves(operation):
    if type(operation) is layers.Activation:
        return operation.activation is keras.activations.linear
    return type(operation) in MOVES
