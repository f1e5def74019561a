"""The table of costs: `@rule(SomeLayer)` enters one."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import keras

from fritz_compress.graph import Node, Tensor, is_graph, trace
from fritz_compress.rule_table import RuleTable


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one call computes; `None` stands for what is not known.

    Attributes:
        macs: Multiply-accumulates: products of two numbers that are summed
            up.
        others: All other products and quotients.
        binary_macs: Multiply-accumulates of two signs, which are neither of
            these: an XNOR of words of bits and a population count.
    """

    macs: int | None = 0
    others: int | None = 0
    binary_macs: int | None = 0

    @property
    def multiplications(self) -> int | None:
        """All products and quotients, but those of signs."""
        return _sum(self.macs, self.others)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*map(_sum, self._counts(), other._counts()))

    def __mul__(self, times: int) -> "Cost":
        return Cost(*(n if n is None else n * times for n in self._counts()))

    def _counts(self):
        return self.macs, self.others, self.binary_macs


FREE = Cost()
UNKNOWN = Cost(None, None, None)


class Call:
    """One call of one operation, as the rule of its cost sees it.

    Attributes:
        node: The call in the graph.
        operation: The layer, or the raw operation.
    """

    def __init__(self, node: Node):
        self.node = node
        self.operation = node.operation

    @property
    def arguments(self) -> dict[str, Any]:
        """What the operation was called with, by the names of its `call`."""
        return self.node.arguments

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first input, batch included."""
        return self.known(self.node.inputs[0].shape)

    @functools.cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the first output, batch included."""
        return self.known(self.node.outputs[0].shape)

    @property
    def inputs(self) -> int:
        """Numbers in the first input."""
        return math.prod(self.shape)

    @property
    def outputs(self) -> int:
        """Numbers in the first output."""
        return math.prod(self.output_shape)

    def argument(self, name: str) -> tuple[int, ...] | None:
        """Shape of a tensor or an array among the arguments."""
        value = self.arguments.get(name)
        shape = getattr(value, "shape", None)
        return None if shape is None else self.known(shape)

    def known(self, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        """The shape, if all of it is known.

        Raises:
            ValueError: if it is not.
        """
        if None in shape:
            raise ValueError(
                f"Layer '{self.operation.name}' sees inputs of any size, shape "
                f"{self.node.inputs[0].shape}, and its multiply-accumulates "
                "depend on it. Pass `input_size=(height, width)`."
            )
        return tuple(map(int, shape))

    def inside(
        self,
        layer: keras.Layer,
        shape: tuple[int, ...],
        output_shape: tuple[int, ...] | None = None,
    ) -> Cost:
        """Cost of a layer, or a model, that this one calls once.

        Args:
            layer: What is called.
            shape: Shape of its input.
            output_shape: Shape of its output; not needed for a model, and
                for recurrent layers and cells.
        """
        if is_graph(layer):
            nodes = trace(layer, [shape]).nodes
            return sum(map(cost_of, nodes), FREE)
        shapes = [shape] if output_shape is None else [shape, output_shape]
        inputs, *outputs = (
            Tensor(each, self.node.inputs[0].dtype) for each in shapes
        )
        return cost_of(Node(layer, (inputs,), {}, tuple(outputs)))


Rule = Callable[[Call], Cost]

_COSTS = RuleTable()
rule = _COSTS.rule
find_rule = _COSTS.find


def cost_of(node: Node) -> Cost:
    """What one call costs, of a graph traced with a known batch size.

    Raises:
        ValueError: if it depends on a size that is not known.
    """
    found = find_rule(type(node.operation))
    return UNKNOWN if found is None else found(Call(node))


def _sum(*numbers):
    return None if None in numbers else sum(numbers)
