"""Constants of a `.mlpackage`, read from its bytes without coremltools.

Only the protocol buffers are parsed by their generated classes. The layout of
the weights' file is that of coremltools' `mlmodel/src/MILBlob/Blob/
StorageFormat.hpp`.
"""

import pathlib
import struct

import numpy as np
from coremltools.proto import MIL_pb2, Model_pb2

SENTINEL = 0xDEADBEEF


def constant_operations(path):
    """Kind and arguments of each `constexpr` of a package, in its order.

    Arguments that other operations make are missing.
    """
    (root,) = pathlib.Path(path).rglob("*.mlmodel")
    (blobs,) = pathlib.Path(path).rglob("weight.bin")
    blobs = blobs.read_bytes()
    spec = Model_pb2.Model.FromString(root.read_bytes())
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    return [
        (operation.type, dict(_arguments(operation, blobs)))
        for operation in block.operations
        if operation.type.startswith("constexpr_")
    ]


def specification_version(path):
    (root,) = pathlib.Path(path).rglob("*.mlmodel")
    spec = Model_pb2.Model.FromString(root.read_bytes())
    return spec.specificationVersion


def _arguments(operation, blobs):
    for name, value in operation.attributes.items():
        if name != "name":
            yield name, _numbers(value, blobs)
    for name, argument in operation.inputs.items():
        (binding,) = argument.arguments
        if binding.HasField("value"):
            yield name, _numbers(binding.value, blobs)


def _numbers(value, blobs):
    tensor = value.type.tensorType
    kind = MIL_pb2.DataType.Name(tensor.dataType).lower()
    shape = [side.constant.size for side in tensor.dimensions]
    if value.HasField("blobFileValue"):
        raw = _blob(blobs, value.blobFileValue.offset)
        return _decoded(raw, kind, shape)
    content = value.immediateValue.tensor
    field = content.WhichOneof("value")
    values = getattr(content, field).values
    if field == "bytes":
        return _decoded(values, kind, shape)
    return np.array(list(values)).reshape(shape)


def _blob(blobs, at):
    sentinel, _, size, offset = struct.unpack_from("<IIQQ", blobs, at)
    assert sentinel == SENTINEL
    return blobs[offset : offset + size]


def _decoded(raw, kind, shape):
    """Numbers of 1 to 32 bits, the lowest bit first."""
    bits = int(kind.lstrip("uintfloat"))
    if bits >= 8:
        return np.frombuffer(raw, kind).reshape(shape)
    count = int(np.prod(shape))
    whole = int.from_bytes(raw, "little")
    numbers = [whole >> (bits * i) & (2**bits - 1) for i in range(count)]
    numbers = np.array(numbers)
    if not kind.startswith("u"):
        numbers = np.where(
            numbers < 2 ** (bits - 1), numbers, numbers - 2**bits
        )
    return numbers.reshape(shape)
