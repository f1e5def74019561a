"""What is known about the channels of a whole model."""

import collections
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress.graph import Graph, Node, Tensor, weights_by_attribute
from fritz_compress.surgery.balance import balance
from fritz_compress.surgery.labels import Labels
from fritz_compress.surgery.names import name_layers
from fritz_compress.surgery.values import Value


class Whole(Exception):
    """Raised by a rule for an operation that needs all of its channels.

    The message says why, as the end of a sentence that starts with the
    operation's name: "mixes channels".
    """


@dataclasses.dataclass(frozen=True)
class Producer:
    """A layer that makes channels.

    Attributes:
        operation: The layer.
        part: Which of its channels, where it has several kinds: the `heads`
            of an attention layer. Empty for its output channels.
    """

    operation: keras.Operation
    part: str = ""


@dataclasses.dataclass
class Slot:
    """Labels along the axes of one weight.

    Attributes:
        reads: Axes that follow channels from elsewhere: cut with them.
        makes: Axes that decide what a channel is: cut with it, and zero in a
            channel that is pruned.
        blocks: Number of equal parts of the last axis, each of which reads
            labels of its own: the b-th part the b-th share of `reads[-2]`.
        scale: From the labels kept to a factor for what is left, `None` for 1.
    """

    reads: dict[int, np.ndarray]
    makes: dict[int, np.ndarray]
    blocks: int = 1
    scale: Callable[[Callable], float] | None = None


@dataclasses.dataclass
class Setting:
    """A configuration entry that depends on which labels are kept."""

    labels: np.ndarray
    value: Callable[[np.ndarray], Any]


class Flow:
    """Labels of all tensors and weights of a model.

    Made by `label_channels`. The attributes are filled by the rules through
    `Call`; nothing here knows any layer.

    Attributes:
        graph: The model's calls.
        nested: For every model inside the tensors it is called with; see
            `Graph.nested`.
        opened: For layers that run a model of their own at every time step:
            the calls of that model.
        names: Name of every operation, unique in the model.
        prune_normalized: Whether channels may go that a normalization takes
            its statistics over.
        labels: The classes of labels.
        values: What is known about every tensor.
        slots: For every layer with labelled weights, by attribute.
        settings: Configuration entries that shrink, by operation and by the
            path of keys and indices that leads to the entry.
        rewrites: For operations called with sizes or constants: from the
            labels kept to a function that calls the new operation.
        produced: Labels of the channels that a layer makes anew.
        readers: Operations that mix channels, with the labels they read.
        revivals: For labels that some operation reads as non-zero though
            their weights are zeroed: the operation that makes them so.
        declared: What each operation depends on: labels, and the calls that
            said so.
        balances: Operations that need parts of their channels to stay equal,
            with the labels and the number of parts.
        absent: Weights that the rule of an operation names and the operation
            goes without.
        whole: Operations that no rule covers, with the reason.
    """

    def __init__(self, graph: Graph, prune_normalized: bool = False):
        self.graph = graph
        self.nested = {m: list(calls) for m, calls in graph.nested.items()}
        self.opened: dict[keras.Layer, Graph] = {}
        self.names = name_layers(graph.model)
        self.prune_normalized = prune_normalized
        self.labels = Labels()
        self.values: dict[Tensor, Value] = {}
        self.slots: dict[keras.Operation, dict[str, Slot]] = {}
        self.settings: dict[keras.Operation, dict[tuple, Setting]] = {}
        self.rewrites: dict[keras.Operation, Callable] = {}
        self.produced: dict[Producer, np.ndarray] = {}
        self.readers: list[tuple[keras.Operation, np.ndarray]] = []
        self.revivals: dict[int, keras.Operation] = {}
        self.declared: dict[tuple, tuple[np.ndarray, set[Node]]] = {}
        self.balances: list[tuple[keras.Operation, np.ndarray, int]] = []
        self.absent: dict[keras.Operation, set[str]] = {}
        self.whole: dict[keras.Operation, str] = {}
        self._variables: dict[keras.Layer, Mapping[str, keras.Variable]] = {}
        self._numbered: list[keras.Operation] = []
        self._staying: dict[str, int] = {}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All calls, those of opened models at the end."""
        graphs = (self.graph, *self.opened.values())
        return tuple(node for graph in graphs for node in graph.nodes)

    def name(self, operation: keras.Operation, part: str = "") -> str:
        """An operation's name in the model, with the part of a producer."""
        name = self.names.get(operation, operation.name)
        return f"{name}:{part}" if part else name

    def describe(self, operation: keras.Operation) -> str:
        """An operation's name and class, for messages."""
        return f"'{self.name(operation)}' ({type(operation).__name__})"

    def variables(self, layer: keras.Layer) -> Mapping[str, keras.Variable]:
        """The weights of a layer by attribute, looked up once."""
        if layer not in self._variables:
            self._variables[layer] = weights_by_attribute(layer)
        return self._variables[layer]

    def number(self, operation: keras.Operation) -> int:
        """The number, above zero, that stands for an operation in `revived`."""
        if operation not in self._numbered:
            self._numbered.append(operation)
        return self._numbered.index(operation) + 1

    def numbered(self, number: int) -> keras.Operation:
        """The inverse of `number`."""
        return self._numbered[number - 1]

    def staying(self, reason: str) -> int:
        """The label of channels that stay for a reason."""
        if reason not in self._staying:
            label = self.labels.new(1)
            self.labels.freeze(label, reason)
            self._staying[reason] = int(label[0])
        return self._staying[reason]

    def freeze(self, value: Value, reason: str) -> None:
        """Keeps all channels of a tensor."""
        for strand in value.strands.values():
            self.labels.freeze(strand.labels, reason)

    def finish(self) -> None:
        """Keeps what the model returns, and what nothing would be left of."""
        self._freeze_outputs()
        self._freeze_unless_all_calls_agree()
        # Last, when it is known which channels are tied by others.
        for operation, labels, groups in self.balances:
            reason = f"{self.describe(operation)} has groups of unequal size"
            balance(self.labels, labels, groups, reason)
        for value in self.values.values():
            for strand in value.strands.values():
                roots = self.labels.roots(strand.labels)
                if len(roots) and (roots == roots[0]).all():
                    self.labels.freeze(
                        roots[:1], "the only channel of a tensor"
                    )

    def _freeze_outputs(self):
        """Whatever else keeps them: of all reasons this tells a user most."""
        # A label of what stays stands for channels of other tensors as well.
        others = self.labels.roots(list(self._staying.values()))
        for tensor in self.graph.output_tensors:
            for strand in self.values[tensor].strands.values():
                shared = np.isin(self.labels.roots(strand.labels), others)
                self.labels.freeze(
                    strand.labels[~shared],
                    "an output of the model",
                    overrule=True,
                )

    def _freeze_unless_all_calls_agree(self):
        """An operation that is called more than once has one configuration."""
        calls = collections.Counter(node.operation for node in self.nodes)
        for (operation, _), (labels, declared) in self.declared.items():
            if len(declared) < calls[operation]:
                reason = f"{self.describe(operation)} is used where they stay"
                self.labels.freeze(labels, reason)
