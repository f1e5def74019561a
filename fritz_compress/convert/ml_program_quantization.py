"""Weights of a Core ML program in fewer bits, and what each layer takes."""

import dataclasses
import re
from typing import Any

import numpy as np

from fritz_compress import graph as graphs
from fritz_compress.convert.report import LayerReport
from fritz_compress.ops.codebooks import kmeans_codebook
from fritz_compress.ops.quantization import dequantize, linear_quantize

# Operations of MIL whose weights are kernels.
KERNEL_OPERATIONS = ("conv", "conv_transpose", "linear", "matmul")
SCOPE = "n{}"  # In which node number `i` of the graph names its operations.


def node_in(graph: graphs.Graph, name: str) -> graphs.Node | None:
    """The node in whose scope an operation was named, if any."""
    match = re.search(r"(?<![A-Za-z0-9])n(\d+)[/_]", name)
    if match and int(match[1]) < len(graph.nodes):
        return graph.nodes[int(match[1])]
    return None


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
    codes, scale, offset = linear_quantize(values, nbits, narrow=True)
    codebook = dequantize(np.arange(2**nbits), scale, offset)
    return codebook.astype(values.dtype), codes.reshape(-1)


@dataclasses.dataclass
class _Stored:
    bits: int
    count: int
    bytes: int


def report_program(
    program: Any, graph: graphs.Graph
) -> tuple[LayerReport, ...]:
    """One row for each layer whose weights are in the program.

    Args:
        program: `coremltools.models.MLModel` as converted, its operations
            named in the scopes of their nodes.
        graph: What it was converted from.
    """
    found: dict[graphs.Node, list[_Stored]] = {}
    for operation in program._mil_program.functions["main"].operations:
        node = node_in(graph, operation.name)
        if node is None or not getattr(node.operation, "weights", []):
            continue
        constants = [_stored(v) for v in _constants(operation)]
        found.setdefault(node, []).extend(constants)
    return tuple(
        LayerReport(
            name=node.operation.name,
            kind=node.kind,
            bits=max(constants, key=lambda c: c.count).bits,
            parameters=sum(constant.count for constant in constants),
            bytes=sum(constant.bytes for constant in constants),
        )
        for node, constants in found.items()
        if constants
    )


def _constants(operation):
    """The floats of more than one number that an operation reads."""
    for value in operation.inputs.values():
        made_by = getattr(value, "op", None)
        if made_by is None or not made_by.op_type.startswith("const"):
            continue
        floats = any(map(value.is_tensor_or_scalar_of, ("fp32", "fp16")))
        if value.rank and floats:
            yield value


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
