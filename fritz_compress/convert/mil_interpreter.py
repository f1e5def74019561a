"""Runs a Core ML program (`.mlpackage`) without Apple's runtime.

coremltools reads the program from the files; what the operations compute is
in `mil_operations`, what stored codes stand for in `mil_constants`. Both are
written from coremltools' descriptions of the operations,
https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

import json
import os
import pathlib
from typing import Any

import numpy as np

from fritz_compress.convert.channels_first import as_batch
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.mil_constants import constant
from fritz_compress.convert.mil_operations import OPERATIONS
from fritz_compress.silence import silenced

UNPACKED = {"float16": "float32", "float64": "float32"}


class MLProgram:
    """A Core ML program that can be called.

    Computes in float32, also where the program asks for float16; float16
    weights are what the file holds. A picture that is returned is not rounded
    to 8 bits, as a phone would.

    Attributes:
        input_shape: Shape of the input, `None` for the batch. Pictures have
            their channels last: `(None, height, width, 3)`.

    Call arguments:
        inputs: float32 array of that shape; pictures have values in
            `[0, 255]`. Samples run one by one, as the program is written for
            one.

    Returns: float32 array; pictures have their channels last.
    """

    def __init__(self, spec: Any, weights_folder: str | os.PathLike = ""):
        from coremltools.converters.mil.frontend.milproto import load

        program = load.load(
            spec, spec.specificationVersion, os.fspath(weights_folder)
        )
        self._function = program.functions["main"]
        ends = (spec.description.input, spec.description.output)
        if [len(end) for end in ends] != [1, 1]:
            raise ConversionError(
                "Expected a program with one input and one output. Received: "
                f"{len(ends[0])} and {len(ends[1])}."
            )
        self._pictures = [
            end[0].type.WhichOneof("Type") == "imageType" for end in ends
        ]
        (self._input,) = self._function.inputs.values()
        shape = tuple(self._input.shape)
        if shape[0] != 1:
            raise ConversionError(
                f"Expected an input of batch size 1. Received: shape {shape}."
            )
        if self._pictures[0]:
            shape = (*shape[:1], *shape[2:], shape[1])
        self.input_shape = (None, *shape[1:])
        self._constants: dict[Any, np.ndarray] = {}

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        inputs = as_batch(inputs, self.input_shape)
        return np.concatenate([self._run(sample[None]) for sample in inputs])

    def _run(self, x):
        if self._pictures[0]:
            x = np.transpose(x, (0, 3, 1, 2))
        values = {self._input: x}
        for operation in self._function.operations:
            if not operation.op_type.startswith("const"):
                results = self._results(operation, values)
                values.update(zip(operation.outputs, results))
        (output,) = self._function.outputs
        result = self._value(output, values)
        if self._pictures[1]:
            result = np.transpose(result, (0, 2, 3, 1))
        return result

    def _results(self, operation, values):
        if operation.op_type not in OPERATIONS:
            raise ConversionError(
                f"Operation '{operation.name}': kind '{operation.op_type}' is "
                "not known to this interpreter."
            )
        inputs = {
            name: self._value(value, values)
            for name, value in operation.inputs.items()
            if value is not None
        }
        try:
            results = OPERATIONS[operation.op_type](**inputs)
        except (ConversionError, TypeError) as error:
            raise ConversionError(
                f"Operation '{operation.name}' of kind '{operation.op_type}': "
                f"{error}"
            ) from error
        results = results if isinstance(results, list) else [results]
        return [_float32(result) for result in results]

    def _value(self, value, values):
        if isinstance(value, (list, tuple)):
            return [self._value(item, values) for item in value]
        if value in values:
            return values[value]
        if value not in self._constants:
            self._constants[value] = _float32(constant(value))
        return self._constants[value]


@silenced()
def load(path: str | os.PathLike) -> MLProgram:
    """Reads a `.mlpackage` for running.

    Raises:
        ConversionError: if the folder is not a Core ML program with one input
            and one output.

    Example:

    >>> program = load("starry_night.mlpackage")
    >>> program(photos).shape
    (2, 256, 256, 3)
    """
    from coremltools.proto import Model_pb2

    path = pathlib.Path(path)
    try:
        manifest = json.loads((path / "Manifest.json").read_text())
        items = manifest["itemInfoEntries"]
        root = path / "Data" / items[manifest["rootModelIdentifier"]]["path"]
        spec = Model_pb2.Model.FromString(root.read_bytes())
    except (OSError, KeyError, ValueError) as error:
        raise ConversionError(
            f"'{path}' is no Core ML package: {error}"
        ) from error
    if spec.WhichOneof("Type") != "mlProgram":
        raise ConversionError(
            f"'{path}' holds no Core ML program. Received: "
            f"{spec.WhichOneof('Type') or 'an empty model'}."
        )
    return MLProgram(spec, root.parent / "weights")


def _float32(value):
    kind = getattr(value, "dtype", None)
    name = UNPACKED.get(str(kind))
    return value.astype(name) if name else value
