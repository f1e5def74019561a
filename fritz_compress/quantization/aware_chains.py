"""Which calls of a graph become one operation of an integer file."""

import collections
import dataclasses
from collections.abc import Callable

import keras

from fritz_compress import graph
from fritz_compress.layers.linear_operations import operation_of

# A ReLU behind these is part of their operation in TFLite.
_FUSING = ("Add", "Multiply", "Subtract")
_RELUS = {keras.activations.relu: "relu", keras.activations.relu6: "relu6"}


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """Calls one after the other that nothing else reads in between.

    Attributes:
        nodes: The calls: a layer, then a normalization, a ReLU, both or none.
    """

    nodes: tuple[graph.Node, ...]

    @property
    def first(self) -> graph.Node:
        """The call that takes the inputs."""
        return self.nodes[0]

    @property
    def last(self) -> graph.Node:
        """The call that makes the output."""
        return self.nodes[-1]

    @property
    def operations(self) -> tuple[keras.Operation, ...]:
        """What is called."""
        return tuple(node.operation for node in self.nodes)

    @property
    def key(self) -> tuple:
        """The same for chains that compute the same with the same weights."""
        return _key(self.nodes)

    @property
    def normalization(self) -> keras.layers.BatchNormalization | None:
        """The normalization behind the layer."""
        for node in self.nodes[1:]:
            if is_batch_normalization(node):
                return node.operation
        return None

    @property
    def activation(self) -> str:
        """The ReLU at the end, `"linear"` without one."""
        fused = len(self.nodes) > 1 and fused_activation(self.operations[-1])
        return fused or "linear"


def chains(
    traced: graph.Graph, is_float: Callable[[keras.Operation], bool]
) -> list[Chain]:
    """Every call of the graph, in one chain each.

    Layers that are shared are in a chain with others only if those follow
    them at every call.

    Args:
        traced: The graph.
        is_float: Whether an operation is left as it is.
    """
    reader = _only_reader(traced, is_float)
    drafts = {
        node: [node] if is_float(node.operation) else _draft(node, reader)
        for node in traced.nodes
    }
    calls = collections.Counter(node.operation for node in traced.nodes)
    alike = collections.Counter(map(_key, drafts.values()))
    found, taken = [], set()
    for node, draft in drafts.items():
        if node in taken:
            continue
        if any(
            calls[node.operation] != alike[_key(draft)]
            for node in draft
            if getattr(node.operation, "weights", [])
        ):
            draft = [node]
        taken.update(draft)
        found.append(Chain(tuple(draft)))
    return found


def is_batch_normalization(node: graph.Node) -> bool:
    """Whether a call normalizes the last axis of its input."""
    operation = node.operation
    if type(operation) is not keras.layers.BatchNormalization:
        return False
    axis = operation.axis
    axis = axis[0] if isinstance(axis, (list, tuple)) else axis
    axes = len(node.outputs[0].shape)
    return axis % axes == axes - 1


def fused_activation(operation: keras.Operation) -> str | None:
    """`"relu"` or `"relu6"`, for an operation that is one of them."""
    if type(operation) is keras.layers.ReLU:
        if operation.negative_slope or operation.threshold:
            return None
        return {None: "relu", 6: "relu6"}.get(operation.max_value)
    if type(operation) is keras.layers.Activation:
        return _RELUS.get(operation.activation)
    return {"Relu": "relu", "Relu6": "relu6"}.get(type(operation).__name__)


def relu_name(activation: Callable) -> str | None:
    """The name of a layer's own activation, if it is a ReLU or linear."""
    if activation is keras.activations.linear:
        return "linear"
    return _RELUS.get(activation)


def _key(nodes):
    followers = [
        fused_activation(node.operation) or node.operation for node in nodes[1:]
    ]
    return (nodes[0].operation, *followers)


def _only_reader(traced, is_float):
    """The call that reads what a call makes, if there is just one."""
    consumers = traced.consumers()
    leaving = set(traced.output_tensors)

    def reader(node):
        readers = consumers.get(node.outputs[0], [])
        if len(readers) != 1 or node.outputs[0] in leaving:
            return None
        # A tensor read twice by one call is not passed on, but combined.
        once = readers[0].inputs.count(node.outputs[0]) == 1
        usable = once and not is_float(readers[0].operation)
        return readers[0] if usable else None

    return reader


def _draft(node, reader):
    chain = [node]
    if _takes_normalization(node):
        follower = reader(node)
        if follower is not None and is_batch_normalization(follower):
            chain.append(follower)
    elif node.kind not in _FUSING:
        if not is_batch_normalization(node):
            return chain
    follower = reader(chain[-1])
    if follower is not None and fused_activation(follower.operation):
        chain.append(follower)
    return chain


def _takes_normalization(node):
    operation = node.operation
    weighted = operation_of(operation) is not None
    weighted |= type(operation) is keras.layers.SeparableConv2D
    return weighted and operation.activation is keras.activations.linear
