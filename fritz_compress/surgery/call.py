"""One call of one operation, as its rule sees it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fritz_compress.graph import Node, Tensor
from fritz_compress.surgery.flow import Flow, Producer, Setting, Slot, Whole
from fritz_compress.surgery.values import Strand, Value


class Call:
    """One call of one operation, as its rule sees it.

    A rule asks for the labels of the inputs, declares what they mean for the
    operation's weights and configuration, and returns a list with one `Value`
    per output. It raises `Whole` where it has no answer. Axes may be negative
    everywhere.

    Attributes:
        operation: The layer, or the raw operation.
        node: The call in the graph.
        flow: What is known about the model so far.

    Example: a layer that multiplies every channel by a weight.

    >>> @register_rule(ChannelScale)
    ... def scale(call):
    ...     call.weight("scale", makes={0: call.channels()})
    ...     return [call.input()]
    """

    def __init__(
        self,
        flow: Flow,
        node: Node,
        owner: keras.Operation | None = None,
        weights: str = "",
        settings: tuple | None = (),
        outside: Node | None = None,
    ):
        """
        Args:
            owner: The layer of the model that holds `node.operation`, if it
                is inside another one.
            weights: Attributes that lead from the owner to the operation,
                such as `"layer."`.
            settings: Keys that lead from the owner's configuration to the
                operation's; `None` if it has none.
            outside: The call of the owner.
        """
        self.flow = flow
        self.node = node
        self.operation = node.operation
        self._owner = owner or node.operation
        self._weights = weights
        self._settings = settings
        self._outside = outside or node

    @property
    def number(self) -> int:
        """What stands for this operation in `Strand.revived`."""
        return self.flow.number(self._owner)

    @property
    def arguments(self) -> dict[str, Any]:
        """What the operation was called with, by the names of its `call`."""
        return self.node.arguments

    def input(self, index: int | Tensor = 0) -> Value:
        """What is known about one input, by its place or itself."""
        return self.flow.values[self._tensor(index)]

    def shape(self, index: int | Tensor = 0) -> tuple[int | None, ...]:
        """Shape of one input, `None` where the size is not known."""
        return self._tensor(index).shape

    def strand(self, axis: int = -1, index: int | Tensor = 0) -> Strand:
        """Labels of an input along an axis; of an axis that stays, too.

        Raises:
            Whole: if the size of the axis is not known.
        """
        value, shape = self.input(index), self.shape(index)
        axis %= len(shape)
        if axis in value.strands:
            return value.strands[axis]
        if shape[axis] is None:
            raise Whole("gets an unknown number of channels")
        labels = np.full(shape[axis], self.flow.staying(value.stays))
        return Strand(labels, np.zeros_like(labels))

    def channels(self, axis: int = -1, index: int | Tensor = 0) -> np.ndarray:
        """Labels of an input along an axis, one per position."""
        return self.strand(axis, index).labels

    def read(self, axis: int = -1, index: int | Tensor = 0) -> np.ndarray:
        """Like `channels`, for an operation that mixes these channels."""
        strand = self.strand(axis, index)
        self.reads(strand)
        return strand.labels

    def reads(self, strand: Strand) -> None:
        """Notes that the operation mixes these channels into others."""
        self.flow.readers.append((self._owner, strand.labels))
        for label, number in zip(strand.labels, strand.revived):
            if number:
                self.flow.revivals.setdefault(
                    int(label), self.flow.numbered(number)
                )

    def passing(self, *axes: int, index: int | Tensor = 0) -> dict[int, Strand]:
        """Strands along all axes of an input but those given."""
        rank = len(self.shape(index))
        taken = {axis % rank for axis in axes}
        strands = self.input(index).strands
        return {a: strand for a, strand in strands.items() if a not in taken}

    def only(self, *axes: int, index: int | Tensor = 0) -> None:
        """Keeps channels along any axis but those given."""
        for strand in self.passing(*axes, index=index).values():
            self.freeze(
                strand.labels,
                "gets channels along another axis than it works on",
            )

    def produce(self, count: int, part: str = "") -> np.ndarray:
        """Labels of the channels that this layer makes: its own, every call.

        Args:
            count: How many.
            part: Which of its channels, for a layer with several kinds.
        """
        producer = Producer(self._owner, part)
        if producer not in self.flow.produced:
            self.flow.produced[producer] = self.flow.labels.new(count)
        if len(self.flow.produced[producer]) != count:
            raise Whole("makes different numbers of channels")
        return self.flow.produced[producer]

    def weight(
        self,
        attribute: str,
        reads: Mapping[int, np.ndarray] | None = None,
        makes: Mapping[int, np.ndarray] | None = None,
        blocks: int = 1,
        scale: Callable[[Callable], float] | None = None,
    ) -> None:
        """Declares labels along axes of a weight; see `Slot`.

        A weight that the layer goes without (`bias` with `use_bias=False`) is
        ignored. Labels of several calls of a shared layer are united.

        Args:
            attribute: Its name in the layer; `"cell.kernel"` for a weight of
                a layer inside.
        """
        attribute = self._weights + attribute
        weight = self.flow.variables(self._owner).get(attribute)
        if weight is None:
            self.flow.absent.setdefault(self._owner, set()).add(attribute)
            return
        rank = len(weight.shape)
        new = Slot(
            {axis % rank: labels for axis, labels in (reads or {}).items()},
            {axis % rank: labels for axis, labels in (makes or {}).items()},
            blocks,
            scale,
        )
        self._check_sizes(attribute, weight, new)
        slots = self.flow.slots.setdefault(self._owner, {})
        old = slots.setdefault(attribute, new)
        for axis, labels in new.reads.items():
            # One call may make what another only reads.
            known = old.makes.pop(axis, labels)
            self.tie(old.reads.setdefault(axis, known), labels)
            self._declare((attribute, axis), labels)
        for axis, labels in new.makes.items():
            kind = old.reads if axis in old.reads else old.makes
            self.tie(kind.setdefault(axis, labels), labels)
            self._declare((attribute, axis), labels)

    def slot(self, attribute: str) -> Slot:
        """What has been declared about a weight."""
        return self.flow.slots[self._owner][self._weights + attribute]

    def configure(
        self,
        key: Any,
        labels: np.ndarray,
        value: Callable[[np.ndarray], Any] = len,
    ) -> None:
        """Declares a configuration entry that shrinks with `labels`.

        Args:
            key: Key in the operation's `get_config()`, or a tuple of keys and
                indices that leads to the entry.
            labels: The labels it depends on.
            value: From the indices of the labels kept to the entry. Defaults
                to their number.
        """
        if self._settings is None:
            return
        path = (*self._settings, *(key if isinstance(key, tuple) else (key,)))
        settings = self.flow.settings.setdefault(self._owner, {})
        old = settings.setdefault(path, Setting(labels, value))
        self.tie(old.labels, labels)
        self._declare(path, labels)

    def rewrite(
        self,
        function: Callable[[Callable], Callable],
        labels: Sequence[np.ndarray],
    ) -> None:
        """Declares how the new operation is called.

        Args:
            function: From `keep`, which tells the indices of the labels kept,
                to a function that is called as `call(operation, *args,
                **kwargs)` with the new operation and its arguments.
            labels: What the function depends on; without any it is not used.
        """
        if labels:
            self.flow.rewrites.setdefault(self._owner, function)
            for place, each in enumerate(labels):
                self._declare(("call", place), each)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """Declares that channels can only be removed together."""
        self.flow.labels.unite(first, second)

    def balance(self, labels: np.ndarray, groups: int) -> None:
        """Declares that equal parts of the channels must stay equal.

        Args:
            labels: One per channel, the parts one after another.
            groups: How many parts there are.
        """
        self.flow.balances.append((self._owner, labels, groups))

    def freeze(self, labels: np.ndarray, why: str) -> None:
        """Keeps channels for good; `why` is worded as for `Whole`."""
        self.flow.labels.freeze(
            labels, f"{self.flow.describe(self._owner)} {why}"
        )

    def output(self, strands: Mapping[int, Strand], index: int = 0) -> Value:
        """Value of an output with these labels by axis."""
        rank = len(self.node.outputs[index].shape)
        return Value(
            {axis % rank: strand for axis, strand in strands.items()},
            self.input().stays if self.node.inputs else Value().stays,
        )

    def inside(
        self,
        layer: keras.Layer,
        weights: str,
        settings: tuple | None,
        node: Node,
    ) -> "Call":
        """A call of a layer that this one holds; see `__init__`."""
        return Call(
            self.flow,
            node,
            self._owner,
            self._weights + weights,
            None if settings is None else (*(self._settings or ()), *settings),
            self._outside,
        )

    def _declare(self, what, labels):
        """Notes that this call of the owner depends on labels."""
        key = (self._owner, what)
        known, calls = self.flow.declared.setdefault(key, (labels, set()))
        if len(known) == len(labels):
            self.tie(known, labels)
        else:
            for each in (known, labels):
                self.freeze(each, "is called with tensors of other sizes")
        calls.add(self._outside)

    def _tensor(self, index):
        return index if isinstance(index, Tensor) else self.node.inputs[index]

    def _check_sizes(self, attribute, weight, slot):
        for axis, labels in (*slot.reads.items(), *slot.makes.items()):
            size = weight.shape[axis]
            if axis in slot.reads and slot.blocks > 1:
                size *= slot.blocks
            if len(labels) != size:
                raise ValueError(
                    f"The rule of {self.flow.describe(self._owner)} gave "
                    f"{len(labels)} labels to axis {axis} of '{attribute}', "
                    f"which needs {size}."
                )
