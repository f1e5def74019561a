"""Keras models to `.tflite` files."""

import math
import os
from collections.abc import Iterable

import keras
import numpy as np

from fritz_compress import files
from fritz_compress.convert import samples as sampling
from fritz_compress.convert import tflite_aware
from fritz_compress.convert.binary_kernels import holds_levels
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.handover import (
    convertible,
    hand_over,
    keras_outputs,
)
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.convert.report import FOLDED, ConversionReport, LayerReport
from fritz_compress.convert.tflite_content import (
    INTEGER,
    SIMULATED,
    content_of,
    own_weights,
)
from fritz_compress.quantization import Ranges, apply_ranges

# Bits of a kernel, and the agreement with Keras in decibels that a sound file
# reaches: 10 to 60 below what trained style networks have, since nets differ.
QUANTIZATIONS = {
    None: (32, 60.0),
    "float16": (16, 50.0),
    "weights": (8, 25.0),
    "dynamic": (8, 25.0),
    "int8": (8, 20.0),
    "int16x8": (8, 30.0),
}
_SIMULATED_PSNR = 30.0  # Of a model that says itself which integers.
_HALF = "quantization='float16'"
ORDINARY = (
    "ordinary operations, no faster than floats; {}-bit kernels are for Core "
    "ML files, .fcz and PackedModel"
)


def to_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    quantization: str | None = None,
    representative_data: np.ndarray | Iterable[np.ndarray] | None = None,
    image_size: tuple[int, int] | None = None,
    samples: np.ndarray | None = None,
    min_psnr: float | None = None,
    ranges: Ranges | None = None,
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
    | `"weights"`  | int8    | float32                                      |
    | `"dynamic"`  | int8    | int8 kernels, scales of the inputs as it runs |
    | `"int8"`     | int8    | int8, scales from representative data        |
    | `"int16x8"`  | int8    | int16, scales from representative data; slow |

    What `fritz_compress.quantization_aware` returned is written with the
    integers that it simulates, its input and output as floats.

    `"dynamic"` is the best choice on a CPU. It quantizes kernels of any size
    in convolutions; those of depthwise, grouped and transposed ones and of
    dense layers only from 1,024 numbers on, as TFLite does. `"weights"` makes
    floats of all kernels when the file is loaded: it is as small, but as slow
    as float32, and outputs change by the rounding of the kernels alone.

    With both of them, a kernel that holds evenly spaced codes per channel or
    tensor already, of up to 8 bits, is stored in these, however few they are;
    codes of 4 bits and less take 4 where LiteRT's operator knows them. TFLite
    has no form for codebooks: the report says so. In integer files, channels
    of normalized convolutions are leveled (`fritz_compress.convert.leveling`),
    and a `layers.StandardizeImage` at the input computes in floats.

    Layers with kernels of one bit, or few, become ordinary operations, which
    saves no time: signs are floats, and a number of the kernel takes 32 bits,
    or 4 with `"dynamic"` and `"weights"` (8 in a depthwise one).

    Args:
        model: A Functional or built Sequential model with one input and one
            output, computing in float32.
        path: File to write, ending in `.tflite`. Replaced if it exists.
        quantization: A row of the table above. Defaults to `None`; leave it
            out for a model with simulated integers.
        representative_data: For the integer kinds: typical inputs, one array
            or many, with or without batch axis, some hundred at most. By
            default six photos, for a model that takes pictures. The other
            kinds have nothing to measure and do not read it.
        image_size: `(height, width)` in pixels, for a model of any size.
        samples: Inputs to compare the file with Keras on. By default two
            photos, for a model that takes pictures.
        min_psnr: Lowest agreement with Keras that is accepted, in decibels.
            By default 60, 50, 25, 25, 20 and 30 in the order of the table, and
            30 for a model with simulated integers.
        ranges: For `"int8"`: what `quantization.calibrate` returned, in place
            of representative data.

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
    traced = _traced(_with_ranges(model, ranges, quantization), image_size)
    if tflite_aware.is_aware(traced):
        tflite_aware.check_quantization(traced, quantization)
        quantization = SIMULATED
        if ranges is None:
            bits, default_psnr = 8, _SIMULATED_PSNR
    samples = sampling.samples_for(model, samples, image_size)
    expected = keras_outputs(model, samples)
    data = _representative(
        representative_data, quantization, traced, model, image_size
    )

    def write(unfinished):
        content = content_of(traced, quantization, data)
        unfinished.write_bytes(content.data)
        return _rows(traced, content, bits)

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


def _with_ranges(model, ranges, quantization):
    """The model to write: that of the user, or one with simulated integers."""
    if ranges is None:
        return model
    if quantization != "int8":
        raise ValueError(
            "`ranges` are for quantization='int8'. Received: quantization="
            f"{quantization!r}. Leave them out."
        )
    return apply_ranges(model, ranges)


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
    if quantization not in INTEGER:
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


def _outputs(path, samples):
    try:
        return LiteRTModel(path)(samples)
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"The file was written but LiteRT cannot run it: {error} Try "
            "another quantization."
        ) from error


def _rows(traced, content, bits):
    """One report per layer with weights."""
    by_layer: dict[keras.Layer, list] = {}
    reasons: dict[keras.Layer, list[str]] = {}
    for node in traced.nodes:
        if own_weights(node):
            found = by_layer.setdefault(node.operation, [])
            found.extend(content.constants.get(node, []))
            noted = content.notes.get(node, [])
            reasons.setdefault(node.operation, []).extend(noted)
    for layer, found in by_layer.items():
        largest = max(found, key=lambda constant: constant.size, default=None)
        yield LayerReport(
            name=layer.name,
            kind=type(layer).__name__,
            bits=largest.bits if largest else 0,
            parameters=layer.count_params(),
            bytes=sum(constant.bytes for constant in found),
            note="; ".join(
                dict.fromkeys([*reasons[layer], *_notes(layer, largest, bits)])
            ),
        )


def _notes(layer, largest, bits):
    if largest is None:
        return [FOLDED]
    if holds_levels(layer):
        return [ORDINARY.format(layer.kernel_bits)]
    if largest.bits <= bits:
        return []
    if all(len(weight.shape) < 2 for weight in layer.weights):
        return ["only kernels are quantized"]
    kernel = max(math.prod(weight.shape) for weight in layer.weights)
    return [f"TFLite leaves kernels like this one ({kernel:,} numbers) alone"]
