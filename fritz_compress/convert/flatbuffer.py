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
    types = schema()
    return types.ModelT.InitFromObj(types.Model.GetRootAsModel(content, 0))


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
    types = schema()
    for operator, part in _operators(model):
        if not _is_convolution(model, operator):
            continue
        inputs, kernel = (part.tensors[i] for i in operator.inputs[:2])
        values = floats(model, kernel)
        grouped = inputs.shape[-1] != kernel.shape[-1]
        if values is None or grouped:
            continue
        if not all(  # Several for a shared layer.
            _is_convolution(model, reader) for reader in readers(part, kernel)
        ):
            continue
        codes, scales = symmetric(values.reshape(kernel.shape))
        kernel.type = types.TensorType.INT8
        kernel.quantization = types.QuantizationParametersT(
            scale=scales, zeroPoint=np.zeros(len(scales), "int64")
        )
        model.buffers.append(types.BufferT(data=codes.view("uint8").ravel()))
        kernel.buffer = len(model.buffers) - 1
        # Which introduced one scale per channel beside float inputs.
        raise_version(model, part, kernel, 5)


def multiply_scales(model: Any, node: int, factors: np.ndarray) -> None:
    """Makes the scale of a node's kernel and bias one per channel, in place.

    Args:
        model: A `ModelT` object, not stripped yet, that has one scale for all
            channels.
        node: Number of the node.
        factors: What the scale of each output channel is multiplied by.
    """
    constants = {}
    for operator, part in _operators(model):
        tensors = [
            part.tensors[i] for i in (*operator.inputs, *operator.outputs)
        ]
        if _owner(tensors, [node]):
            sources = [part.tensors[i] for i in operator.inputs if i >= 0]
            constants.update(
                {id(t): t for t in sources if _is_weight(model, t)}
            )
    for tensor in constants.values():
        quantization = tensor.quantization
        scales = np.multiply(quantization.scale[0], factors)
        quantization.scale = scales.astype("float32")
        quantization.zeroPoint = np.zeros(len(factors), "int64")
        quantization.quantizedDimension = 0


def widen_biases(model: Any) -> None:
    """Makes biases beside 16-bit activations 64-bit, in place.

    The converter writes 32 bits where it is given ranges, and TFLite's
    kernels of 16 bits refuse these.
    """
    kinds = schema().TensorType
    for operator, part in _operators(model):
        tensors = [part.tensors[i] for i in operator.inputs if i >= 0]
        if not any(tensor.type == kinds.INT16 for tensor in tensors):
            continue
        for tensor in tensors:
            if tensor.type == kinds.INT32 and _is_weight(model, tensor):
                data = model.buffers[tensor.buffer].data
                wide = np.frombuffer(bytes(bytearray(data)), "int32")
                wide = np.frombuffer(wide.astype("int64").tobytes(), "uint8")
                model.buffers.append(schema().BufferT(data=wide))
                tensor.buffer = len(model.buffers) - 1
                tensor.type = kinds.INT64


def _is_convolution(model, operator):
    code = model.operatorCodes[operator.opcodeIndex].builtinCode
    return code == schema().BuiltinOperator.CONV_2D


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
    for node, tensor, _ in weights_of_nodes(model, nodes):
        found.setdefault(node, []).append(_constant(model, tensor))
    return found


def weights_of_nodes(
    model: Any, nodes: Collection[int]
) -> Iterator[tuple[int, Any, Any]]:
    """As `constants_of_nodes`: node, tensor, and the subgraph it is in."""
    seen = set()
    for operator, part in _operators(model):
        results = [part.tensors[i] for i in operator.outputs]
        sources = [part.tensors[i] for i in operator.inputs if i >= 0]
        if len(sources) == 1 and _is_weight(model, sources[0]):
            continue  # A DEQUANTIZE: who reads its result tells more.
        constants = [_behind_dequantize(part, tensor) for tensor in sources]
        constants = [t for t in constants if _is_weight(model, t)]
        owner = _owner(results, nodes) or _owner(constants, nodes)
        for tensor in constants:
            if owner and tensor.buffer not in seen:
                seen.add(tensor.buffer)
                yield owner[0], tensor, part


def insert_dequantize(model: Any, part: Any, tensor: Any, version: int) -> Any:
    """Puts an operator in front of a constant, which then is its result.

    Args:
        model: A `ModelT` object, changed in place.
        part: The subgraph.
        tensor: A float constant. It loses its numbers.
        version: Of the DEQUANTIZE operator.

    Returns: a new tensor of the same shape, for the integers.
    """
    types = schema()
    source = types.TensorT()
    source.shape, source.name = tensor.shape, tensor.name
    source.hasRank = True
    part.tensors.append(source)
    tensor.buffer = 0
    code = types.OperatorCodeT()
    code.builtinCode = types.BuiltinOperator.DEQUANTIZE
    code.deprecatedBuiltinCode = code.builtinCode
    code.version = version
    operator = types.OperatorT()
    operator.opcodeIndex = _place(model.operatorCodes, code)
    operator.inputs = np.array([len(part.tensors) - 1], "int32")
    operator.outputs = np.array([part.tensors.index(tensor)], "int32")
    part.operators.insert(0, operator)
    return source


def raise_version(model: Any, part: Any, tensor: Any, version: int) -> None:
    """Raises the version of the operators that read a tensor, in place."""
    for reader in readers(part, tensor):
        code = model.operatorCodes[reader.opcodeIndex]
        code.version = max(code.version, version)


def _place(codes, code):
    """The index of an operator code, added if it is new."""
    for place, known in enumerate(codes):
        if vars(known) == vars(code):
            return place
    codes.append(code)
    return len(codes) - 1


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
    types = schema()
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return False
    integer = tensor.type in (types.TensorType.INT32, types.TensorType.INT64)
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


def readers(part: Any, tensor: Any) -> list[Any]:
    """The operators of a subgraph that read a tensor."""
    index = part.tensors.index(tensor)
    return [o for o in part.operators if index in list(o.inputs)]


def floats(model: Any, tensor: Any) -> np.ndarray | None:
    """The numbers of a constant of type float32, flat; else `None`."""
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema().TensorType.FLOAT32 or data is None:
        return None
    return np.frombuffer(bytes(bytearray(data)), "float32")


def dequantized(model: Any, tensor: Any) -> np.ndarray | None:
    """The numbers of a constant, be it float32 or 8-bit with scales.

    Returns: float array in the tensor's shape; `None` for other types.
    """
    values = floats(model, tensor)
    if values is None and tensor.type == schema().TensorType.INT8:
        data = bytes(bytearray(model.buffers[tensor.buffer].data))
        values = np.frombuffer(data, "int8").reshape(tensor.shape)
        scale = np.asarray(tensor.quantization.scale, "float64")
        shape = [1] * values.ndim
        shape[tensor.quantization.quantizedDimension] = len(scale)
        values = values * scale.reshape(shape)
    return None if values is None else values.reshape(tensor.shape)


def symmetric(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    types = schema()
    # By convention the first buffer is the empty one.
    buffers, places = [types.BufferT()], {b"": 0}
    for part in model.subgraphs:
        for tensor in part.tensors:
            data = model.buffers[tensor.buffer].data
            data = b"" if data is None else bytes(bytearray(data))
            if data not in places:
                places[data] = len(buffers)
                values = np.frombuffer(data, "uint8")
                buffers.append(types.BufferT(data=values))
            tensor.buffer = places[data]
    model.buffers = buffers


def _list(values):
    return [] if values is None else values


def schema() -> Any:
    """The classes of the TFLite schema."""
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
