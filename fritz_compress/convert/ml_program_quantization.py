"""Weights of a Core ML program in fewer bits, and what each layer takes."""

import dataclasses
import re
from typing import Any

import keras
import numpy as np

from fritz_compress import graph as graphs
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.mil_operations import OPERATIONS
from fritz_compress.convert.report import FOLDED, LayerReport
from fritz_compress.ops.codebooks import kmeans_codebook
from fritz_compress.ops.quantization import linear_quantize

# Operations of MIL whose weights are kernels.
KERNEL_OPERATIONS = ("conv", "conv_transpose", "linear", "matmul")
SCOPE = "n{}"  # In which node number `i` of the graph names its operations.


def node_in(graph: graphs.Graph, name: str) -> graphs.Node | None:
    """The node in whose scope an operation was named, if any."""
    match = re.search(r"(?<![A-Za-z0-9])n(\d+)[/_]", name)
    if match and int(match[1]) < len(graph.nodes):
        return graph.nodes[int(match[1])]
    return None


def check_operations(program: Any, graph: graphs.Graph) -> None:
    """Raises a ConversionError for what our interpreter does not know.

    Args:
        program: `coremltools.models.MLModel` as converted, its operations
            named in the scopes of their nodes.
        graph: What it was converted from.
    """
    for operation in program._mil_program.functions["main"].operations:
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


def compress_program(program: Any, nbits: int, mode: str) -> Any:
    """Stores the kernels in codes of `nbits` bits.

    Args:
        program: `coremltools.models.MLModel`; not changed.
        nbits: 8, 6, 4, 2 or 1.
        mode: "linear" or "kmeans".

    Returns: a new `MLModel`.
    """
    from coremltools.optimize import coreml as optimize

    if nbits == 8 and mode == "linear":
        config = optimize.OpLinearQuantizerConfig(
            mode="linear", dtype="uint8", weight_threshold=0
        )
        compress = optimize.linear_quantize_weights
    else:
        lut = _kmeans if mode == "kmeans" else _evenly_spaced
        config = optimize.OpPalettizerConfig(
            mode="custom",
            lut_function=lambda values: lut(values, nbits),
            weight_threshold=0,
        )
        compress = optimize.palettize_weights
    return compress(
        program,
        optimize.OptimizationConfig(
            op_type_configs=dict.fromkeys(KERNEL_OPERATIONS, config)
        ),
    )


def _kmeans(values, nbits):
    codebook, codes = kmeans_codebook(values, 2**nbits)
    return codebook.astype(values.dtype), codes.reshape(-1)


def _evenly_spaced(values, nbits):
    coded = linear_quantize(values, nbits, ranges="least_squares")
    codebook = np.arange(2**nbits) * coded.scale.item() + coded.offset.item()
    return codebook.astype(values.dtype), coded.codes.reshape(-1)


@dataclasses.dataclass
class _Stored:
    bits: int
    count: int
    bytes: int


def report_program(
    program: Any, graph: graphs.Graph
) -> tuple[LayerReport, ...]:
    """One row for each layer with weights, shared layers once.

    Args:
        program: `coremltools.models.MLModel` as converted, its operations
            named in the scopes of their nodes.
        graph: What it was converted from.
    """
    found: dict[keras.Layer, list[_Stored]] = {
        node.operation: [] for node in graph.nodes if _has_weights(node)
    }
    seen = set()
    for operation in program._mil_program.functions["main"].operations:
        values = [v for v in _constants(operation) if v not in seen]
        node = _owner(graph, operation) if values else None
        if node is not None and _has_weights(node):
            seen.update(values)
            found[node.operation].extend(map(_stored, values))
    return tuple(_row(layer, stored) for layer, stored in found.items())


def _row(layer, stored):
    largest = max(stored, key=lambda constant: constant.count, default=None)
    return LayerReport(
        name=layer.name,
        kind=type(layer).__name__,
        bits=largest.bits if largest else 0,
        parameters=layer.count_params(),
        bytes=sum(constant.bytes for constant in stored),
        note="" if largest else FOLDED,
    )


def _has_weights(node):
    return bool(getattr(node.operation, "weights", []))


def _owner(graph, operation):
    """The node that an operation belongs to.

    coremltools gives an operation that it makes of several the name of the
    last, and its own name to the one that makes the output. The strides tell
    better; what neither tells belongs to the last layer with weights.
    """
    made = [v for v in operation.inputs.values() if _is_constant(v)]
    for name in (*(value.name for value in made), operation.name):
        if node := node_in(graph, name):
            return node
    weighted = list(filter(_has_weights, graph.nodes))
    return weighted[-1] if weighted else None


def _constants(operation):
    """The floats of more than one number that an operation reads."""
    for value in operation.inputs.values():
        if _is_constant(value) and value.rank:
            if any(map(value.is_tensor_or_scalar_of, ("fp32", "fp16"))):
                yield value


def _is_constant(value):
    made_by = getattr(value, "op", None)
    return made_by is not None and made_by.op_type.startswith("const")


def _stored(value):
    count = int(np.prod(value.shape))
    operation = value.op
    if operation.op_type == "const":
        return _Stored(8 * value.val.itemsize, count, value.val.nbytes)
    parts = [v.val for v in operation.inputs.values() if v.rank or v.val.size]
    total = sum(part.nbytes for part in parts)
    bits = 8
    if "lut" in operation.inputs:
        bits = len(operation.inputs["lut"].val).bit_length() - 1
    return _Stored(bits, count, total)
