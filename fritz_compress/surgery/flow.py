"""Labels sent through a model, and what every layer does with them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fritz_compress.graph import (
    Graph,
    Node,
    Tensor,
    trace,
    weights_by_attribute,
)
from fritz_compress.surgery.labels import Labels
from fritz_compress.surgery.names import name_layers


class Whole(Exception):
    """Raised by a rule for an operation that needs all of its channels.

    The message says why, as the end of a sentence that starts with the
    operation's name: "mixes channels".
    """


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """What is known about a tensor.

    Attributes:
        labels: Label at every position, of the tensor's rank, with size 1
            along every axis on which labels do not vary. They vary along one
            axis at most.
        revived: Of the same shape. Zero where a channel whose weights are
            zeroed still is zero, else the number of the operation that makes
            something else of it.
    """

    labels: np.ndarray
    revived: np.ndarray


@dataclasses.dataclass
class Slot:
    """Labels along the axes of one weight.

    Attributes:
        reads: Axes that follow channels from elsewhere: cut with them.
        makes: Axes that decide what a channel is: cut with it, and zero in a
            channel that is pruned.
    """

    reads: dict[int, np.ndarray]
    makes: dict[int, np.ndarray]


@dataclasses.dataclass
class Setting:
    """A configuration entry that depends on how many labels are kept."""

    labels: np.ndarray
    value: Callable[[int], Any]


class Flow:
    """Labels of all tensors and weights of a model.

    Made by `label_channels`. The attributes are filled by the rules through
    `Call`; nothing here knows any layer.

    Attributes:
        graph: The model's calls.
        names: Name of every operation, unique in the model.
        labels: The classes of labels.
        values: What is known about every tensor.
        slots: For every layer with labelled weights, by attribute.
        settings: Configuration entries that shrink, by layer and key.
        produced: Labels of the channels that a layer makes anew.
        readers: Operations that mix channels, with the labels they read.
        revivals: For labels that some operation reads as non-zero though
            their weights are zeroed: the operation that makes them so.
        whole: Operations that no rule covers, with the reason.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.names = name_layers(graph.model)
        self.labels = Labels()
        self.values: dict[Tensor, Value] = {}
        self.slots: dict[keras.Operation, dict[str, Slot]] = {}
        self.settings: dict[keras.Operation, dict[str, Setting]] = {}
        self.produced: dict[keras.Operation, np.ndarray] = {}
        self.readers: list[tuple[keras.Operation, np.ndarray]] = []
        self.revivals: dict[int, keras.Operation] = {}
        self.whole: dict[keras.Operation, str] = {}
        self._numbered: list[keras.Operation] = []

    def describe(self, operation: keras.Operation) -> str:
        """An operation's name and class, for messages."""
        name = self.names.get(operation, operation.name)
        return f"'{name}' ({type(operation).__name__})"

    def number(self, operation: keras.Operation) -> int:
        """The number, above zero, that stands for an operation in `revived`."""
        if operation not in self._numbered:
            self._numbered.append(operation)
        return self._numbered.index(operation) + 1

    def numbered(self, number: int) -> keras.Operation:
        """The inverse of `number`."""
        return self._numbered[number - 1]

    def constant(self, rank: int, reason: str) -> Value:
        """A tensor of channels that all stay."""
        labels = self.labels.new(1).reshape((1,) * rank)
        self.labels.freeze(labels, reason)
        return Value(labels, np.zeros_like(labels))

    def value(self, tensor: Tensor) -> Value:
        """What is known about a tensor, after all that was united."""
        self.values[tensor] = compact(self.labels, self.values[tensor])
        return self.values[tensor]

    def visit(self, node: Node, rule: Callable | None) -> None:
        """Sends labels through one call."""
        operation = node.operation
        try:
            if operation in self.whole:
                raise Whole(self.whole[operation])
            if rule is None:
                raise Whole("has no rule")
            outputs = rule(Call(self, node))
            self._check_all_weights_labelled(operation)
        except Whole as reason:
            self._keep_whole(node, str(reason))
        else:
            self.values.update(zip(node.outputs, outputs, strict=True))

    def _check_all_weights_labelled(self, operation):
        """A weight that a rule does not know would silently start afresh."""
        if not isinstance(operation, keras.Layer) or not operation.weights:
            return
        own = weights_by_attribute(operation)
        unknown = sorted(own.keys() - self.slots.get(operation, {}).keys())
        if unknown or len(own) != len(operation.weights):
            raise Whole(f"has weights without a rule: {unknown or 'nested'}")

    def _keep_whole(self, node, why):
        operation = node.operation
        self.whole[operation] = why
        reason = f"{self.describe(operation)} {why}"
        for tensor in node.inputs:
            self.labels.freeze(self.values[tensor].labels, reason)
        for slot in self.slots.get(operation, {}).values():
            for labels in (*slot.reads.values(), *slot.makes.values()):
                self.labels.freeze(labels, reason)
        for tensor in node.outputs:
            self.values[tensor] = self.constant(len(tensor.shape), reason)


class Call:
    """One call of one operation, as its rule sees it.

    A rule asks for the labels of the inputs, declares what they mean for the
    operation's weights and configuration, and returns a list with one `Value`
    per output. It raises `Whole` where it has no answer.

    Attributes:
        operation: The layer, or the raw operation.
        node: The call in the graph.
    """

    def __init__(self, flow: Flow, node: Node):
        self.flow = flow
        self.node = node
        self.operation = node.operation

    def input(self, index: int = 0) -> Value:
        """What is known about one input."""
        return self.flow.value(self.node.inputs[index])

    def channels(self, axis: int = -1) -> np.ndarray:
        """Labels of the first input along an axis, one per position.

        Raises:
            Whole: if labels vary along another axis.
        """
        return self._along(self.input().labels, axis)

    def revived(self, axis: int = -1) -> np.ndarray:
        """The first input's `revived` along an axis, one per position."""
        return self._along(self.input().revived, axis)

    def read(self, axis: int = -1) -> np.ndarray:
        """Like `channels`, for an operation that mixes these channels."""
        labels, revived = self.channels(axis), self.revived(axis)
        self.flow.readers.append((self.operation, labels))
        for label, number in zip(labels, revived):
            if number:
                self.flow.revivals.setdefault(
                    int(label), self.flow.numbered(number)
                )
        return labels

    def produce(self, count: int) -> np.ndarray:
        """Labels of the channels that this layer makes: its own, every call."""
        produced = self.flow.produced
        if self.operation not in produced:
            produced[self.operation] = self.flow.labels.new(count)
        return produced[self.operation]

    def weight(
        self,
        attribute: str,
        reads: dict[int, np.ndarray] | None = None,
        makes: dict[int, np.ndarray] | None = None,
    ) -> None:
        """Declares labels along axes of a weight; see `Slot`.

        A weight that the layer goes without (`bias` with `use_bias=False`) is
        ignored. Labels of several calls of a shared layer are united.
        """
        weight = weights_by_attribute(self.operation).get(attribute)
        if weight is None:
            return
        new = Slot(reads or {}, makes or {})
        for axis, labels in (*new.reads.items(), *new.makes.items()):
            if len(labels) != weight.shape[axis]:
                raise ValueError(
                    f"The rule of {self.flow.describe(self.operation)} gave "
                    f"{len(labels)} labels to axis {axis} of '{attribute}', "
                    f"which has size {weight.shape[axis]}."
                )
        slots = self.flow.slots.setdefault(self.operation, {})
        old = slots.setdefault(attribute, new)
        for axis, labels in new.reads.items():
            self.flow.labels.unite(old.reads[axis], labels)
        for axis, labels in new.makes.items():
            self.flow.labels.unite(old.makes[axis], labels)

    def configure(
        self,
        key: str,
        labels: np.ndarray,
        value: Callable[[int], Any] = lambda kept: kept,
    ) -> None:
        """Declares a configuration entry that shrinks with `labels`.

        Args:
            key: Key in the operation's `get_config()`.
            labels: The labels it counts.
            value: From the number of labels kept to the entry.
        """
        settings = self.flow.settings.setdefault(self.operation, {})
        old = settings.setdefault(key, Setting(labels, value))
        self.flow.labels.unite(old.labels, labels)

    def freeze(self, labels: np.ndarray, why: str) -> None:
        """Keeps channels for good; `why` is worded as for `Whole`."""
        self.flow.labels.freeze(
            labels, f"{self.flow.describe(self.operation)} {why}"
        )

    def output(
        self, labels: np.ndarray, axis: int, revived: np.ndarray, index: int = 0
    ) -> Value:
        """Value of an output with these labels along one axis."""
        shape = [1] * len(self.node.outputs[index].shape)
        shape[axis] = len(labels)
        return Value(
            np.reshape(labels, shape),
            np.broadcast_to(revived, len(labels)).reshape(shape),
        )

    def _along(self, array, axis):
        size = self.node.inputs[0].shape[axis]
        moved = np.moveaxis(array, axis, 0)
        if moved.size != len(moved):
            raise Whole("gets channels along another axis than it works on")
        if size is None:
            raise Whole("gets an unknown number of channels")
        return np.broadcast_to(moved.ravel(), (size,))


def compact(labels: Labels, value: Value) -> Value:
    """Drops the axes along which labels do not vary."""
    roots, revived = labels.roots(value.labels), value.revived
    for axis in range(roots.ndim):
        first = roots.take([0], axis)
        if roots.shape[axis] > 1 and (roots == first).all():
            roots = first
            # One class: it comes back to life if any part of it does.
            revived = revived.max(axis, keepdims=True)
    return Value(roots, revived)


def label_channels(
    model: keras.Model,
    find_rule: Callable[[keras.Operation], Callable | None],
) -> Flow:
    """Sends labels through a model, one operation after another.

    Args:
        model: A Functional or built Sequential model; it is not changed.
        find_rule: From an operation to its rule, or `None`.

    Raises:
        ValueError: if the model has no graph to follow.
    """
    flow = Flow(trace(model))
    for tensor in flow.graph.inputs:
        flow.values[tensor] = flow.constant(
            len(tensor.shape), "an input of the model"
        )
    for node in flow.graph.nodes:
        flow.visit(node, find_rule(node.operation))
    for tensor in flow.graph.output_tensors:
        flow.labels.freeze(flow.values[tensor].labels, "an output of the model")
    for tensor in flow.values:
        value = flow.value(tensor)
        if value.labels.size == 1:
            flow.labels.freeze(value.labels, "the only channel of a tensor")
    return flow
