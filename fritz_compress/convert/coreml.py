"""Keras models to Core ML files, `.mlmodel` and `.mlpackage`."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fritz_compress import files
from fritz_compress import graph as graphs
from fritz_compress.convert import (
    mil_interpreter,
    ml_program,
    neural_network,
    neural_network_interpreter,
    neural_network_quantization,
)
from fritz_compress.convert import samples as sampling
from fritz_compress.convert.check import are_pictures
from fritz_compress.convert.handover import (
    convertible,
    hand_over,
    keras_outputs,
)
from fritz_compress.convert.report import ConversionReport, LayerReport

MODES = neural_network_quantization.MODES
SUFFIXES = (".mlmodel", ".mlpackage")
# Bits, and the agreement with Keras in decibels below which a file is taken
# for broken. A sound style network of random weights has 106, 66, 38, 25, 16,
# 9 and 7: with 2 bits or 1 there is little left to tell it from a broken one.
MIN_PSNR = {None: 60.0, 16: 40.0, 8: 25.0, 6: 15.0, 4: 8.0, 2: 3.0, 1: 3.0}


@dataclasses.dataclass(frozen=True)
class _Settings:
    """Arguments of `to_coreml` that decide what is written."""

    nbits: int | None
    mode: str
    image_size: tuple[int, int] | None
    custom_layers: tuple[str, ...]
    compute_precision: str | None
    minimum_target: str | None
    output_name: str
    image_input: bool = False
    image_output: bool = False


def to_coreml(
    model: keras.Model,
    path: str | os.PathLike,
    nbits: int | None = None,
    mode: str = "linear",
    image_size: tuple[int, int] | None = None,
    custom_layers: Sequence[str] = (),
    compute_precision: str | None = None,
    minimum_target: str | None = None,
    output_name: str = "output",
    samples: np.ndarray | None = None,
    min_psnr: float | None = None,
    image_output: bool | None = None,
) -> ConversionReport:
    """Writes a Core ML file, runs it, and compares it with Keras.

    The ending of `path` decides. A `.mlmodel` is a neural network: a third of
    the size for a small network, for iOS 12 and later, custom layers possible,
    but only the layers of `neural_network_rules`. A `.mlpackage` is a program,
    for iOS 15 and later: whatever coremltools converts.

    A model from pictures to pictures takes and returns RGB pictures of 8 bits
    on the phone; any other takes and returns arrays. Pictures have three
    channels, and values within `[0, 255]` that leave `[0, 1]`, in `samples`
    and in what Keras makes of them. `nbits` is for kernels of
    convolutions and dense layers; vectors stay at 16 bits in a `.mlmodel` and
    at the precision of the arithmetic in a `.mlpackage`. Kernels that hold
    codes of no more bits, as those of `quantize_weights` do, are stored in
    exactly these, with nbits=None too; in a `.mlpackage` also those of blocks,
    groups and vectors, and pruned ones without their zeros. The file as written
    runs in an interpreter of this package, in float32: a phone that computes
    in float16 differs from it by up to a few grey levels. The model is not
    changed.

    Args:
        model: A Functional or built Sequential model with one input and one
            output, computing in float32.
        path: File (`.mlmodel`) or folder (`.mlpackage`) to write. Replaced if
            it exists.
        nbits: Bits of one number of a kernel: 8, 6, 4, 2 or 1; 16 for float16;
            `None` (the default) for float32. Any other number, 3 say, after
            `quantize_weights`, whose codes are kept.
        mode: "linear" for evenly spaced numbers, or "kmeans" for a codebook
            per kernel, which is mostly better below 8 bits; with 8 bits its
            256 numbers are more than a small kernel has. Defaults to "linear".
        image_size: `(height, width)` in pixels, for a model of any size.
        custom_layers: For a `.mlmodel`: classes of layers without weights, such
            as `"DeprocessStylizedImage"`, that the app implements.
        compute_precision: For a `.mlpackage`: "float32" or "float16". By
            default "float16" with nbits=16, else "float32".
        minimum_target: For a `.mlpackage`: the oldest system, such as "iOS16".
            By default "iOS15", or "iOS16" with 8 bits and less, or newer if
            codes or zeros that the kernels hold would take over a tenth more
            bits there: 3 bits, blocks, groups, vectors and pruned codes need
            "iOS18". What a given system does not know is stored in more bits
            or as floats, and the note of the layer says so.
        output_name: Name of the output. Defaults to "output"; the input has
            its name in the model.
        samples: Inputs to compare the file with Keras on. By default two
            photos, for a model that takes pictures.
        min_psnr: Lowest agreement with Keras that is accepted, in decibels.
            By default 60 for float32, 40 for 16 bits, and 25, 15, 8, 3 and 3
            for 8, 6, 4, 2 and 1 bits.
        image_output: Whether the phone gets a picture of 8 bits, in which all
            of `[0, 1]` is black, or an array. By default a picture if Keras'
            outputs on `samples` are pictures.

    Raises:
        ValueError: for an argument that is not as described.
        ConversionError: if a layer cannot be written, or the file does not
            agree with Keras. No file is left then.

    Example:

    >>> report = to_coreml(student, "student.mlmodel", nbits=8)
    >>> report.bytes < 15_000
    True
    """
    path = files.check_suffix(path, SUFFIXES)
    files.check_replaceable(path, folder=path.suffix.lower() == ".mlpackage")
    settings = _Settings(
        nbits,
        mode,
        image_size,
        _custom_names(custom_layers),
        compute_precision,
        minimum_target,
        output_name,
    )
    _check(path, settings)
    traced = convertible(model, "Core ML", "nbits=16")
    custom = _custom_functions(traced, settings.custom_layers)
    samples = sampling.samples_for(model, samples, image_size)
    expected = keras_outputs(model, samples)
    settings = dataclasses.replace(
        settings, **_pictures(samples, expected, image_output)
    )
    return hand_over(
        model,
        path,
        samples,
        expected,
        lambda unfinished: _write(model, unfinished, settings),
        lambda unfinished, inputs: _load(unfinished, custom)(inputs),
        f"Core ML {path.suffix} with {nbits or 32} bits of model "
        f"'{model.name}'",
        _min_psnr(settings) if min_psnr is None else min_psnr,
    )


def _custom_names(custom_layers):
    if isinstance(custom_layers, str):
        raise ValueError(
            "`custom_layers` must be several names. Received: the text "
            f"{custom_layers!r}. Pass a tuple: ({custom_layers!r},)."
        )
    return tuple(custom_layers)


def _pictures(samples, expected, image_output):
    """Which of input and output are pictures on the phone."""
    if image_output is None:
        image_output = are_pictures(expected)
    if image_output and (expected.ndim != 4 or expected.shape[-1] != 3):
        raise ValueError(
            "image_output=True is for models that return three channels. "
            f"Received: a model that returns shape {expected.shape}. Leave it "
            "out."
        )
    both = expected.shape[3:] == samples.shape[3:] == (3,)
    return {
        "image_input": both and are_pictures(samples),
        "image_output": image_output,
    }


def _check(path, settings):
    """Raises a ValueError for arguments that do not go together."""
    nbits, mode = settings.nbits, settings.mode
    if isinstance(nbits, (bool, float)) or nbits not in list(MIN_PSNR):
        raise ValueError(
            f"`nbits` must be one of {list(MIN_PSNR)}. Received: {nbits!r}."
        )
    if mode not in MODES:
        raise ValueError(
            f"`mode` must be one of {list(MODES)}. Received: {mode!r}."
        )
    if mode != "linear" and nbits in (None, 16):
        raise ValueError(
            f"mode='{mode}' makes codebooks of nbits 8, 6, 4, 2 or 1. "
            f"Received: nbits={nbits}. Leave `mode` out, or pass fewer bits."
        )
    if path.suffix.lower() == ".mlmodel":
        _check_unused(settings, ".mlmodel", "compute_precision minimum_target")
        return
    _check_unused(settings, ".mlpackage", "custom_layers")
    ml_program.check_target(settings.minimum_target, nbits)
    precision = settings.compute_precision
    if precision not in (None, *ml_program.PRECISIONS):
        raise ValueError(
            "`compute_precision` must be 'float32' or 'float16'. Received: "
            f"{precision!r}."
        )
    if precision == "float32" and nbits == 16:
        raise ValueError(
            "nbits=16 stores the weights in the precision of the arithmetic. "
            "Received: compute_precision='float32'. Leave it out."
        )


def _check_unused(settings, suffix, names):
    for name in names.split():
        if getattr(settings, name):
            other = next(s for s in SUFFIXES if s != suffix)
            raise ValueError(
                f"`{name}` is for a {other}; a {suffix} has no such thing. "
                f"Received: {name}={getattr(settings, name)!r}."
            )


def _custom_functions(
    traced: graphs.Graph, custom_layers: Sequence[str]
) -> Mapping[str, Callable[..., Any]]:
    """What computes each custom layer in the check: the Keras layer itself."""
    functions = {}
    for kind in custom_layers:
        found = {n.operation for n in traced.nodes if n.kind == kind}
        configs = [{**o.get_config(), "name": None} for o in found]
        if any(config != configs[0] for config in configs):
            raise ValueError(
                f"The layers of class '{kind}' have different arguments, which "
                "a Core ML custom layer cannot tell apart. Make a class for "
                "each."
            )
        functions |= {kind: layer for layer in found}
    for kind in neural_network_interpreter.CUSTOM_LAYERS:
        functions.pop(kind, None)  # Computed independently of Keras.
    return functions


def _write(
    model: keras.Model, path: pathlib.Path, settings: _Settings
) -> tuple[LayerReport, ...]:
    if path.suffix.lower() == ".mlpackage":
        return ml_program.write_program(
            model,
            path,
            nbits=settings.nbits,
            mode=settings.mode,
            image_size=settings.image_size,
            image_input=settings.image_input,
            image_output=settings.image_output,
            compute_precision=_precision(settings),
            minimum_target=settings.minimum_target,
            output_name=settings.output_name,
        )
    network = neural_network.build_network(
        model,
        image_size=settings.image_size,
        image_input=settings.image_input,
        image_output=settings.image_output,
        output_name=settings.output_name,
        custom_layers=settings.custom_layers,
    )
    rows = neural_network_quantization.quantize_network(
        network, settings.nbits, settings.mode
    )
    path.write_bytes(network.spec.SerializeToString())
    return rows


def _precision(settings):
    default = "float16" if settings.nbits == 16 else "float32"
    return settings.compute_precision or default


def _min_psnr(settings):
    if settings.nbits is None and settings.compute_precision == "float16":
        return MIN_PSNR[16]
    return MIN_PSNR[settings.nbits]


def _load(path, custom):
    if path.suffix.lower() == ".mlpackage":
        return mil_interpreter.load(path)
    return neural_network_interpreter.load(path, custom)
