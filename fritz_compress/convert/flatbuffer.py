"""Reading, shrinking and writing `.tflite` files.

Field names are those of the TFLite schema, `tensorflow/compiler/mlir/lite/
schema/schema.fbs`.
"""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

import flatbuffers
import numpy as np

from fritz_compress.convert import export

_MAGIC = b"TFL3"


@dataclasses.dataclass(frozen=True)
class Constant:
    """Numbers stored in the file.

    Attributes:
        bits: Bits of one number.
        size: How many numbers.
        bytes: Size in the file, quantization scales included. (Zero points of
            weights are all zero, and such vectors are written once.)
    """

    bits: int
    size: int
    bytes: int


def read(content: bytes) -> Any:
    """The `ModelT` object of a file."""
    schema = _schema()
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))


def write(model: Any) -> bytes:
    """The bytes of a `ModelT` object, equal vectors written once."""
    builder = _SharingBuilder(1024)
    builder.Finish(model.Pack(builder), _MAGIC)
    return bytes(builder.Output())


def strip(model: Any, input_name: str, output_name: str) -> None:
    """Removes what the runtime does not read, in place.

    Metadata, descriptions, signatures, the names of everything but the input
    and the output, ranges seen in calibration, and all but one of equal
    constants. The results stay the same, bit by bit; a converter could no
    longer import the file.

    Args:
        model: A `ModelT` object with one input and one output.
        input_name, output_name: Names to give them.
    """
    model.description = model.metadata = model.metadataBuffer = None
    model.signatureDefs = None
    for part in model.subgraphs:
        part.name = None
        for tensor in part.tensors:
            tensor.name = tensor.shapeSignature = None
            # Only tells a scalar from a tensor of unknown rank.
            tensor.hasRank = not len(_list(tensor.shape))
            _strip_quantization(tensor)
    main = model.subgraphs[0]
    main.tensors[main.inputs[0]].name = input_name
    main.tensors[main.outputs[0]].name = output_name
    _share_buffers(model)


def join(model: Any, other: Any) -> None:
    """Lets another network work on what a network returns, in place.

    Args:
        model: A `ModelT` object with one output.
        other: A `ModelT` object with one input, used up.
    """
    part, more = model.subgraphs[0], other.subgraphs[0]
    (output,), (start,) = part.outputs, more.inputs
    first = len(part.tensors)
    places = [first + i for i in range(len(more.tensors))]
    places[start] = output
    for tensor in more.tensors:
        tensor.buffer += len(model.buffers)
    for operator in more.operators:
        operator.opcodeIndex += len(model.operatorCodes)
        # -1 stands for an input that is left out.
        operator.inputs = [places[i] if i >= 0 else i for i in operator.inputs]
        operator.outputs = [places[i] for i in operator.outputs]
    part.tensors += more.tensors
    part.operators += more.operators
    part.outputs = [places[i] for i in more.outputs]
    model.buffers += other.buffers
    model.operatorCodes += other.operatorCodes


def quantize_convolutions(model: Any) -> None:
    """Makes the float kernels of CONV_2D 8-bit, in place.

    For dynamic-range files: TFLite's own quantizer leaves kernels of fewer
    than 1,024 numbers as they are, which is most of a small network. One
    symmetric scale per output channel, as TFLite has it.
    """
    schema = _schema()
    for operator, part in _operators(model):
        if not _is_convolution(model, operator):
            continue
        inputs, kernel = (part.tensors[i] for i in operator.inputs[:2])
        values = _values(model, kernel)
        grouped = inputs.shape[-1] != kernel.shape[-1]
        readers = _readers(part, kernel)  # Several for a shared layer.
        if values is None or grouped:
            continue
        if not all(_is_convolution(model, reader) for reader in readers):
            continue
        codes, scales = _symmetric(values.reshape(kernel.shape))
        kernel.type = schema.TensorType.INT8
        kernel.quantization = schema.QuantizationParametersT(
            scale=scales, zeroPoint=np.zeros(len(scales), "int64")
        )
        model.buffers.append(schema.BufferT(data=codes.view("uint8").ravel()))
        kernel.buffer = len(model.buffers) - 1
        for reader in readers:
            code = model.operatorCodes[reader.opcodeIndex]
            # It introduced one scale per channel beside float inputs.
            code.version = max(code.version, 5)


def _is_convolution(model, operator):
    code = model.operatorCodes[operator.opcodeIndex].builtinCode
    return code == _schema().BuiltinOperator.CONV_2D


def constants_of_nodes(
    model: Any, nodes: Collection[int]
) -> dict[int, list[Constant]]:
    """The weights in the file that belong to each of the given nodes.

    Told from the names that `export.frozen_function` gives to operations, so
    the file must not be stripped yet. Every constant is listed once. What was
    folded into an earlier operation belongs to that one's node.

    Args:
        model: A `ModelT` object.
        nodes: Numbers of the nodes that have weights in Keras.
    """
    found: dict[int, list[Constant]] = {}
    seen = set()
    for operator, part in _operators(model):
        results = [part.tensors[i] for i in operator.outputs]
        sources = [part.tensors[i] for i in operator.inputs if i >= 0]
        constants = [_behind_dequantize(part, tensor) for tensor in sources]
        constants = [t for t in constants if _is_weight(model, t)]
        owner = _owner(results, nodes) or _owner(constants, nodes)
        for tensor in constants:
            if owner and tensor.buffer not in seen:
                seen.add(tensor.buffer)
                found.setdefault(owner[0], []).append(_constant(model, tensor))
    return found


def _owner(tensors, nodes):
    """The first node that the tensors are named after, if any, as a list."""
    named = [
        node
        for tensor in tensors
        for node in export.nodes_in((tensor.name or b"").decode())
    ]
    return sorted(set(named) & set(nodes))[:1]


def _constant(model, tensor):
    quantization = tensor.quantization
    scales = [] if quantization is None else _list(quantization.scale)
    size = int(np.prod(_list(tensor.shape)))  # A scalar has no shape.
    data = len(model.buffers[tensor.buffer].data)
    return Constant(8 * data // size, size, data + 4 * len(scales))


def _is_weight(model, tensor):
    """Stored numbers, but not the shapes and axes among them."""
    schema = _schema()
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return False
    integer = tensor.type in (schema.TensorType.INT32, schema.TensorType.INT64)
    quantization = tensor.quantization
    return not integer or (
        quantization is not None and len(_list(quantization.scale)) > 0
    )


def _behind_dequantize(part, tensor):
    """The 16-bit constant of a float16 file that becomes this tensor."""
    for operator in part.operators:
        if part.tensors[operator.outputs[0]] is tensor:
            if len(operator.inputs) == 1:
                return part.tensors[operator.inputs[0]]
    return tensor


def _operators(model) -> Iterator[tuple[Any, Any]]:
    for part in model.subgraphs:
        for operator in part.operators:
            yield operator, part


def _readers(part, tensor):
    index = part.tensors.index(tensor)
    return [o for o in part.operators if index in list(o.inputs)]


def _values(model, tensor):
    data = model.buffers[tensor.buffer].data
    if tensor.type != _schema().TensorType.FLOAT32 or data is None:
        return None
    return np.frombuffer(bytes(bytearray(data)), "float32")


def _symmetric(kernel):
    """8-bit codes and one scale per entry of the first axis."""
    axes = tuple(range(1, kernel.ndim))
    scales = np.abs(kernel).max(axes, keepdims=True) / 127
    scales[scales == 0] = 1
    codes = np.round(kernel / scales).astype("int8")
    return codes, scales.astype("float32").ravel()


def _strip_quantization(tensor):
    quantization = tensor.quantization
    if quantization is None:
        return
    quantization.min = quantization.max = None
    if not len(_list(quantization.scale)):
        tensor.quantization = None


def _share_buffers(model):
    schema = _schema()
    # By convention the first buffer is the empty one.
    buffers, places = [schema.BufferT()], {b"": 0}
    for part in model.subgraphs:
        for tensor in part.tensors:
            data = model.buffers[tensor.buffer].data
            data = b"" if data is None else bytes(bytearray(data))
            if data not in places:
                places[data] = len(buffers)
                values = np.frombuffer(data, "uint8")
                buffers.append(schema.BufferT(data=values))
            tensor.buffer = places[data]
    model.buffers = buffers


def _list(values):
    return [] if values is None else values


def _schema():
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


class _SharingBuilder(flatbuffers.Builder):
    """Writes vectors of the same numbers, such as equal shapes, once."""

    def __init__(self, size):
        super().__init__(size)
        self._places = {}

    def CreateNumpyVector(self, x):
        key = (x.dtype.str, x.tobytes())
        if key not in self._places:
            self._places[key] = super().CreateNumpyVector(x)
        return self._places[key]
