"""The kernels of a Core ML program in MIL: where they are, what they hold."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fritz_compress import graph as graphs
from fritz_compress.convert.mil_storage import Stored
from fritz_compress.ops.codes import (
    CodebookCodes,
    Codes,
    LinearCodes,
    ProductCodes,
)

SCOPE = "n{}"  # In which node number `i` of the graph names its operations.
# Operations whose weights are kernels, and the names of these.
WEIGHTS = {
    "conv": ("weight",),
    "conv_transpose": ("weight",),
    "linear": ("weight",),
    "matmul": ("x", "y"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel that is a constant of a program.

    Attributes:
        constant: MIL's variable.
        order: Its axes in Keras' order: the last two are inputs and outputs,
            or for a transposed convolution outputs and inputs.
        channels: The axis of the output channels in that order.
        layer: The Keras layer it belongs to, if that can be told.
    """

    constant: Any
    order: tuple[int, ...]
    channels: int
    layer: keras.Layer | None

    @property
    def values(self) -> np.ndarray:
        """The numbers, axes in Keras' order."""
        return self.constant.val.transpose(self.order)

    def codes_in_mil(self, codes: Codes) -> Codes:
        """Codes of `values` as codes of the constant."""
        axes = tuple(np.argsort(self.order).tolist())
        moved = codes.codes.transpose(axes)
        if isinstance(codes, LinearCodes):
            scale, offset = (
                part.transpose(axes) for part in (codes.scale, codes.offset)
            )
            return LinearCodes(moved, scale, offset, codes.nbits)
        rest = range(len(axes), codes.codebooks.ndim)
        books = codes.codebooks.transpose(*axes, *rest)
        if isinstance(codes, CodebookCodes):
            return CodebookCodes(moved, books, codes.nbits)
        return ProductCodes(moved, books, self.order[codes.axis], codes.nbits)


def kernels(program: Any, graph: graphs.Graph) -> Iterator[Kernel]:
    """The constant kernels of convolutions and dense layers, each once.

    Args:
        program: MIL program of float32, its operations named in the scopes of
            their nodes. It may change while one iterates.
        graph: What it was converted from.
    """
    seen = set()
    for operation in list(program.functions["main"].operations):
        for name in WEIGHTS.get(operation.op_type, ()):
            constant = operation.inputs[name]
            if constant in seen or not _is_kernel(constant):
                continue
            seen.add(constant)
            node = owner(graph, operation)
            layer = None if node is None else node.operation
            yield Kernel(constant, *_layout(operation, constant), layer)


def replace(program: Any, kernel: Kernel, stored: Stored) -> None:
    """Makes the operations that read a kernel read its stored form."""
    from coremltools.converters.mil import Builder

    function = program.functions["main"]
    old, new = kernel.constant, None
    with function:
        for kind, arguments in stored.operations:
            inputs = {n: _typed(part) for n, part in arguments.items()}
            if not arguments:  # What the first operation made.
                inputs = {"mask": new[0], "nonzero_data": new[1]}
            new = getattr(Builder, kind)(
                **inputs, before_op=old.op, name=f"{old.name}_{kind}"
            )
        function.replace_uses_of_var_after_op(old.op, old, new)
        function.remove_ops([old.op])


def node_in(graph: graphs.Graph, name: str) -> graphs.Node | None:
    """The node in whose scope an operation was named, if any."""
    match = re.search(r"(?<![A-Za-z0-9])n(\d+)[/_]", name)
    if match and int(match[1]) < len(graph.nodes):
        return graph.nodes[int(match[1])]
    return None


def owner(graph: graphs.Graph, operation: Any) -> graphs.Node | None:
    """The node that an operation belongs to.

    coremltools gives an operation that it makes of several the name of the
    last, and its own name to the one that makes the output. The strides tell
    better; what neither tells belongs to the last layer with weights.
    """
    made = [v for v in operation.inputs.values() if is_constant(v)]
    for name in (*(value.name for value in made), operation.name):
        if node := node_in(graph, name):
            return node
    weighted = list(filter(has_weights, graph.nodes))
    return weighted[-1] if weighted else None


def has_weights(node: graphs.Node) -> bool:
    """Whether what a node calls is a layer with weights."""
    return bool(getattr(node.operation, "weights", []))


def is_constant(value: Any) -> bool:
    """Whether a variable of MIL is known before the program runs."""
    made_by = getattr(value, "op", None)
    return made_by is not None and made_by.op_type.startswith("const")


def _is_kernel(value):
    return (
        is_constant(value)
        and value.op.op_type == "const"
        and value.rank > 1
        and value.is_tensor_or_scalar_of("fp32")
    )


def _layout(operation, constant):
    """Keras' order of the axes, and the axis of the output channels."""
    axes = range(constant.rank)
    if operation.op_type.startswith("conv"):
        transposed = operation.op_type == "conv_transpose"
        return (*axes[2:], 1, 0), axes[-2 if transposed else -1]
    swapped = operation.op_type == "linear" or _is_swapped(operation, constant)
    order = (*axes[:-2], axes[-1], axes[-2]) if swapped else tuple(axes)
    return order, axes[-1]


def _is_swapped(matmul, constant):
    first = matmul.x is constant
    flag = matmul.transpose_x if first else matmul.transpose_y
    # The outputs of a constant on the left are its rows.
    return bool(flag.val) != first


def _typed(argument):
    from coremltools.converters.mil.mil import types

    builtin = types.string_to_builtin(argument.type)
    return argument.values.astype(types.nptype_from_builtin(builtin))
