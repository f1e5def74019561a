"""What the layers of a Core ML program take, and what it is made of."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress import graph as graphs
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.mil_kernels import (
    has_weights,
    is_constant,
    node_in,
    owner,
)
from fritz_compress.convert.mil_operations import OPERATIONS
from fritz_compress.convert.mil_storage import NO_WEIGHTS
from fritz_compress.convert.report import FOLDED, LayerReport

# Arguments that hold numbers or their codes; the others are tables and masks.
CODES = (
    "val",
    "quantized_data",
    "data",
    "indices",
    "indices_nonzero_data",
    "nonzero_data",
)


def check_operations(program: Any, graph: graphs.Graph) -> None:
    """Raises a ConversionError for what our interpreter does not know.

    Args:
        program: MIL program, its operations named in the scopes of their
            nodes.
        graph: What it was converted from.
    """
    for operation in program.functions["main"].operations:
        kind = operation.op_type
        if kind in OPERATIONS or kind.startswith("const"):
            continue
        node = node_in(graph, operation.name)
        where = f"Layer '{node.operation.name}' ({node.kind})" if node else "It"
        raise ConversionError(
            f"Model '{graph.model.name}' cannot be checked as a Core ML "
            f"program. {where} became an operation of kind '{kind}', which "
            "the interpreter of this package does not know. Replace the layer "
            "by ones of simpler operations, or write a .tflite."
        )


@dataclasses.dataclass
class _Stored:
    bits: int
    count: int
    bytes: int


def report_program(
    program: Any,
    graph: graphs.Graph,
    notes: Mapping[keras.Layer | None, str],
) -> tuple[LayerReport, ...]:
    """One row for each layer with weights, shared layers once.

    Args:
        program: MIL program, its operations named in the scopes of their
            nodes.
        graph: What it was converted from.
        notes: What is worth noting about a layer.
    """
    found: dict[keras.Layer, list[_Stored]] = {
        node.operation: [] for node in graph.nodes if has_weights(node)
    }
    seen = set()
    for operation in program.functions["main"].operations:
        if operation.op_type.startswith("const"):
            continue
        values = [v for v in _constants(operation) if v not in seen]
        node = owner(graph, operation) if values else None
        if node is not None and has_weights(node):
            seen.update(values)
            found[node.operation].extend(map(_stored, values))
    return tuple(
        _row(layer, stored, notes.get(layer, ""))
        for layer, stored in found.items()
    )


def _row(layer, stored, note):
    largest = max(stored, key=lambda constant: constant.count, default=None)
    return LayerReport(
        name=layer.name,
        kind=type(layer).__name__,
        bits=largest.bits if largest else 0,
        parameters=layer.count_params(),
        bytes=sum(constant.bytes for constant in stored),
        note=note if largest else FOLDED,
    )


def _constants(operation) -> Iterator[Any]:
    """The floats of more than one number that an operation reads."""
    for value in operation.inputs.values():
        if is_constant(value) and value.rank:
            if any(map(value.is_tensor_or_scalar_of, ("fp32", "fp16"))):
                yield value


def _stored(value):
    parts = _parts(value.op)
    total = sum(_bits(part) * part.val.size for part in parts.values())
    return _Stored(_code_bits(parts), int(np.prod(value.shape)), -(-total // 8))


def _parts(operation):
    """By name the arrays that a constant is made of."""
    if operation.op_type == "const":
        return {"val": operation.outputs[0]}
    parts = {}
    for name, value in operation.inputs.items():
        if value.val is None:  # Another operation makes it.
            parts |= _parts(value.op)
        elif name not in NO_WEIGHTS:
            parts[name] = value
    return parts


def _code_bits(parts):
    if "lut" in parts and parts["lut"].rank == 1:  # Codes packed in bytes.
        return len(parts["lut"].val).bit_length() - 1
    codes = [part for name, part in parts.items() if name in CODES]
    return _bits(codes[0])


def _bits(value):
    return value.dtype.get_bitwidth()
