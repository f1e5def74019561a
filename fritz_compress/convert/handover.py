"""What every converter does before and after it writes a file."""

import pathlib
from collections.abc import Callable, Iterable

import keras
import numpy as np

from fritz_compress import files, graph
from fritz_compress.convert.check import check_agreement
from fritz_compress.convert.dense_kernels import traced_for_files
from fritz_compress.convert.report import ConversionReport, LayerReport


def convertible(
    model: keras.Model,
    kind: str,
    half_precision: str,
    input_shapes: list[tuple[int | None, ...]] | None = None,
) -> graph.Graph:
    """The trace of a model that a converter can write.

    Args:
        model: A Functional or built Sequential model.
        kind: `"TFLite"` or `"Core ML"`, for the errors.
        half_precision: The argument that makes small files, for the errors.
        input_shapes: Shapes to trace with, as in `graph.trace`.

    Raises:
        ValueError: if Keras does not run on TensorFlow, the model has no
            graph or several outputs, or a layer computes in half precision
            or has weights that are not finite.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{kind} files are written from TensorFlow, so Keras must run on "
            f"it. Received: the '{keras.backend.backend()}' backend. Save the "
            "model, and convert it where KERAS_BACKEND is tensorflow."
        )
    traced = traced_for_files(model, input_shapes)
    if len(traced.output_tensors) != 1:
        raise ValueError(
            "Only models with one output can be converted. Received: model "
            f"'{model.name}' with {len(traced.output_tensors)}."
        )
    for node in traced.nodes:
        computes_in = getattr(node.operation, "compute_dtype", "float32")
        if computes_in in ("float16", "bfloat16"):
            raise ValueError(
                f"Layer '{node.operation.name}' computes in {computes_in}. "
                "Build the model with the dtype policy 'float32' and copy the "
                f"weights with `set_weights`; for a small file use "
                f"{half_precision}."
            )
        _check_finite(node)
    return traced


def _check_finite(node):
    for weight in getattr(node.operation, "weights", []):
        values = np.asarray(keras.ops.cast(weight, "float32"))
        wrong = np.count_nonzero(~np.isfinite(values))
        if wrong:
            raise ValueError(
                f"Layer '{node.operation.name}' ({node.kind}): all weights "
                f"must be finite. Received: {wrong:,} of {values.size:,} "
                f"numbers of '{weight.name}' that are NaN or infinite. Train "
                "the model with a lower learning rate, or load sound weights."
            )


def keras_outputs(model: keras.Model, samples: np.ndarray) -> np.ndarray:
    """What Keras computes, one by one: in a batch TensorFlow rounds otherwise.

    Args:
        model: A model with one output, be it in a list or a dictionary.
        samples: Inputs with a batch axis.

    Raises:
        ValueError: if a model of any size returns pictures a little larger
            than those it takes, since it rounds their size up.
    """
    calls = [model(sample[None], training=False) for sample in samples]
    outputs = np.concatenate(
        [np.asarray(keras.tree.flatten(call)[0]) for call in calls]
    )
    _check_size(model, samples.shape, outputs.shape)
    return outputs


def _check_size(model, taken, returned):
    if None not in model.inputs[0].shape[1:3]:
        return
    if any(len(shape) != 4 or shape[-1] != 3 for shape in (taken, returned)):
        return
    sizes = taken[1:3], returned[1:3]
    if any(0 < after - before < 4 for before, after in zip(*sizes)):
        raise ValueError(
            "`image_size` must be a size that the model keeps. Received: "
            f"image_size={sizes[0]}, for which model '{model.name}' returns "
            f"pictures of (height, width) {sizes[1]}. Pass "
            f"image_size={sizes[1]}."
        )


def hand_over(
    model: keras.Model,
    path: pathlib.Path,
    samples: np.ndarray,
    expected: np.ndarray,
    write: Callable[[pathlib.Path], Iterable[LayerReport]],
    run: Callable[[pathlib.Path, np.ndarray], np.ndarray],
    label: str,
    min_psnr: float,
) -> ConversionReport:
    """Writes a file, runs it, compares it with Keras, and only then keeps it.

    Args:
        model: The model converted.
        path: Where the file goes.
        samples: Inputs to compare on, with a batch axis.
        expected: What `keras_outputs` returns for them.
        write: Writes to the path given and reports on each layer.
        run: Output of the file at a path on inputs.
        label: What is written, for the error.
        min_psnr: Lowest agreement that is accepted, in decibels.

    Raises:
        ConversionError: if the file does not agree with Keras; `path` is then
            as it was.
    """
    with files.whole_file(path) as unfinished:
        layers = tuple(write(unfinished))
        psnr, difference = check_agreement(
            expected,
            run(unfinished, samples),
            label,
            min_psnr,
        )
    return ConversionReport(
        path=path,
        format=path.suffix[1:].lower(),
        bytes=files.size_in_bytes(path),
        parameters=model.count_params(),
        layers=layers,
        psnr=psnr,
        max_difference=difference,
        samples=len(samples),
    )
