"""Keras models to `.tflite` files."""

import math
import os
from collections.abc import Iterable

import keras
import numpy as np

from fritz_compress import files
from fritz_compress.convert import export, flatbuffer, float_head, leveling
from fritz_compress.convert import samples as sampling
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.handover import (
    convertible,
    hand_over,
    keras_outputs,
)
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.convert.report import FOLDED, ConversionReport, LayerReport
from fritz_compress.silence import silenced

# Bits of a kernel, and the agreement with Keras in decibels that a sound file
# reaches: 10 to 60 below what trained style networks have, since nets differ.
QUANTIZATIONS = {
    None: (32, 60.0),
    "float16": (16, 50.0),
    "dynamic": (8, 25.0),
    "int8": (8, 20.0),
    "int16x8": (8, 30.0),
}
# Integer kinds and the sets of operations of `tf.lite.OpsSet` they use.
_INTEGER = {
    "int8": "TFLITE_BUILTINS_INT8",
    "int16x8": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
}
_HALF = "quantization='float16'"


def to_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    quantization: str | None = None,
    representative_data: np.ndarray | Iterable[np.ndarray] | None = None,
    image_size: tuple[int, int] | None = None,
    samples: np.ndarray | None = None,
    min_psnr: float | None = None,
) -> ConversionReport:
    """Writes a `.tflite` file, runs it, and compares it with Keras.

    The file works on one sample at a time, of one size. Its input and output
    are floats whatever the quantization, and are called as in Keras. What the
    runtime does not read (names of other tensors, metadata, signatures) is
    left out. The model is not changed.

    | quantization | weights | arithmetic                                   |
    |--------------|---------|----------------------------------------------|
    | `None`       | float32 | float32                                      |
    | `"float16"`  | float16 | float32                                      |
    | `"dynamic"`  | int8    | int8 kernels, scales of the inputs as it runs |
    | `"int8"`     | int8    | int8, scales from representative data        |
    | `"int16x8"`  | int8    | int16, scales from representative data; slow |

    `"dynamic"` is the best choice on a CPU. It quantizes kernels of any size
    in convolutions; those of depthwise, grouped and transposed ones and of
    dense layers only from 1,024 numbers on, as TFLite does. In integer files,
    convolutions in front of an instance normalization are leveled
    (`fritz_compress.convert.leveling`).

    Args:
        model: A Functional or built Sequential model with one input and one
            output, computing in float32.
        path: File to write, ending in `.tflite`. Replaced if it exists.
        quantization: A row of the table above. Defaults to `None`.
        representative_data: For the integer kinds: typical inputs, one array
            or many, with or without batch axis, some hundred at most. By
            default six photos, for a model that takes pictures. The other
            kinds have nothing to measure and do not read it.
        image_size: `(height, width)` in pixels, for a model of any size.
        samples: Inputs to compare the file with Keras on. By default two
            photos, for a model that takes pictures.
        min_psnr: Lowest agreement with Keras that is accepted, in decibels.
            By default 60, 50, 25, 20 and 30 in the order of the table.

    Raises:
        ValueError: for an argument that is not as described.
        ConversionError: if a layer cannot be written, or the file does not
            agree with Keras. No file is left then.

    Example:

    >>> report = to_tflite(model, "student.tflite", quantization="dynamic")
    >>> report.bytes, round(report.psnr)
    """
    path = files.check_suffix(path, [".tflite"])
    files.check_replaceable(path, folder=False)
    bits, default_psnr = _settings(quantization)
    traced = _traced(model, image_size)
    samples = sampling.samples_for(model, samples, image_size)
    expected = keras_outputs(model, samples)
    data = _representative(
        representative_data, quantization, traced, model, image_size
    )

    def write(unfinished):
        content, constants = _converted(traced, quantization, data)
        unfinished.write_bytes(content)
        return _rows(traced, constants, bits)

    return hand_over(
        model,
        path,
        samples,
        expected,
        write,
        _outputs,
        f"TFLite {quantization or 'float32'} file of model '{model.name}'",
        default_psnr if min_psnr is None else min_psnr,
    )


def _settings(quantization):
    if quantization not in list(QUANTIZATIONS):
        raise ValueError(
            f"`quantization` must be one of {list(QUANTIZATIONS)}. Received: "
            f"{quantization!r}."
        )
    return QUANTIZATIONS[quantization]


def _traced(model, image_size):
    """The graph at batch size 1 and a known size."""
    convertible(model, "TFLite", _HALF)  # Before its inputs are looked at.
    shape = sampling.input_shape(model, image_size)
    return convertible(model, "TFLite", _HALF, [(1, *shape[1:])])


def _representative(data, quantization, traced, model, image_size):
    """Typical inputs, one float32 array with a batch axis, or `None`."""
    if quantization not in _INTEGER:
        return None
    shape = traced.inputs[0].shape
    if data is None:
        if len(shape) != 4 or shape[-1] != 3:
            raise ValueError(
                f"Model '{model.name}' takes inputs of shape {shape}, not RGB "
                "pictures, so there are no photos to measure ranges on. Pass "
                "`representative_data=`, some hundred typical inputs."
            )
        return sampling.calibration_pictures(*shape[1:3])
    arrays = [np.asarray(array, "float32") for array in data]
    arrays = [a[np.newaxis] if a.ndim < len(shape) else a for a in arrays]
    pieces = [
        sampling.checked(array, shape, model.name, "representative_data")
        for array in arrays
    ]
    if not pieces:
        raise ValueError("`representative_data` must not be empty.")
    return np.concatenate(pieces)


def _converted(traced, quantization, data):
    """The bytes of the file, and the constants of each node in it."""
    head, body = None, traced
    if data is not None:
        head, body = float_head.split(traced)
    if head is not None:
        data = float_head.standardized(head, data)
    model = _model_of(body, quantization, data)
    if quantization == "dynamic":
        flatbuffer.quantize_convolutions(model)
    weighted = [i for i, node in enumerate(body.nodes) if _weights(node)]
    constants = flatbuffer.constants_of_nodes(model, weighted)
    if head is not None:
        integers, model = model, _model_of(head, None, None)
        flatbuffer.join(model, integers)
    flatbuffer.strip(model, traced.model.inputs[0].name, _output_name(traced))
    return flatbuffer.write(model), {
        body.nodes[i]: found for i, found in constants.items()
    }


def _model_of(traced, quantization, data):
    """What the converter makes of a graph."""
    forms = export.forms_of(traced)
    if data is not None:
        forms |= leveling.leveled_forms(traced, data)
    with silenced():
        function = export.frozen_function(traced, forms)
        return flatbuffer.read(
            _run_converter(traced, function, quantization, data)
        )


def _output_name(traced):
    """Name of the layer that makes the output; the input's if none does."""
    (output,) = traced.output_tensors
    for node in traced.nodes:
        if output in node.outputs:
            return node.operation.name
    return traced.model.inputs[0].name


def _run_converter(traced, function, quantization, data):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    if quantization is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization in _INTEGER:
        converter.representative_dataset = lambda: (
            [sample[np.newaxis]] for sample in data
        )
        converter.target_spec.supported_ops = [
            getattr(tf.lite.OpsSet, _INTEGER[quantization])
        ]
    try:
        return converter.convert()
    except Exception as error:  # The converter has no common class of errors.
        node = export.blamed_node(traced, function, str(error))
        if node is not None:
            raise export.cannot_convert(node, error) from error
        raise ConversionError(
            f"Model '{traced.model.name}' cannot be converted to TFLite with "
            f"quantization={quantization!r}: {export.reason_of(error)}"
        ) from error


def _outputs(path, samples):
    try:
        return LiteRTModel(path)(samples)
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"The file was written but LiteRT cannot run it: {error} Try "
            "another quantization."
        ) from error


def _rows(traced, constants, bits):
    """One report per layer with weights."""
    by_layer: dict[keras.Layer, list] = {}
    for node in traced.nodes:
        if _weights(node):
            found = by_layer.setdefault(node.operation, [])
            found.extend(constants.get(node, []))
    for layer, found in by_layer.items():
        largest = max(found, key=lambda constant: constant.size, default=None)
        yield LayerReport(
            name=layer.name,
            kind=type(layer).__name__,
            bits=largest.bits if largest else 0,
            parameters=layer.count_params(),
            bytes=sum(constant.bytes for constant in found),
            note=_note(layer, largest, bits),
        )


def _note(layer, largest, bits):
    if largest is None:
        return FOLDED
    if largest.bits <= bits:
        return ""
    if all(len(weight.shape) < 2 for weight in layer.weights):
        return "only kernels are quantized"
    kernel = max(math.prod(weight.shape) for weight in layer.weights)
    return f"TFLite leaves kernels like this one ({kernel:,} numbers) alone"


def _weights(node):
    return getattr(node.operation, "weights", [])
