"""A Keras model as a Core ML program, the content of a `.mlpackage`.

The traced graph is replayed into one frozen TensorFlow graph, which
coremltools converts to MIL. There kernels are replaced by constant expressions
of their codes, before and after coremltools folds operations into kernels.
Instance normalization and nearest upsampling are one operation each, see
`ml_program_replay`.
"""

import contextlib
import io
import os
import re
import shutil

import keras

from fritz_compress.convert.binary_kernels import has_steps
from fritz_compress.convert.dense_kernels import traced_for_files
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.mil_kernels import node_in
from fritz_compress.convert.mil_storage import COMPRESSED
from fritz_compress.convert.ml_program_quantization import (
    KernelCoder,
    holds_codes,
)
from fritz_compress.convert.ml_program_replay import replayed
from fritz_compress.convert.ml_program_report import (
    check_operations,
    report_program,
)
from fritz_compress.convert.names import shorten_names
from fritz_compress.convert.report import LayerReport
from fritz_compress.convert.samples import input_shape
from fritz_compress.silence import silenced

PRECISIONS = ("float32", "float16")
OLDEST_TARGET = "iOS15"  # The first with programs.
# coremltools' passes that fold what follows a convolution into its kernel.
FOLDING = {"common::fuse_conv_scale", "common::fuse_conv_batchnorm"}
# The one that makes a normalization of a product and a sum, which adds 1e-5 to
# a variance of 1: five millionths off, where signs may turn.
FUSING = {"common::fuse_elementwise_to_batchnorm"}


@silenced()
def write_program(
    model: keras.Model,
    path: str | os.PathLike,
    nbits: int | None = None,
    mode: str = "linear",
    image_size: tuple[int, int] | None = None,
    image_input: bool | None = None,
    image_output: bool | None = None,
    compute_precision: str = "float32",
    minimum_target: str | None = None,
    output_name: str = "output",
) -> tuple[LayerReport, ...]:
    """Writes a `.mlpackage` without checking what it computes.

    Arrays have Keras' shape with batch size 1.

    Kernels of convolutions and dense layers that hold codes of up to `nbits`
    bits (of up to 8 with `None`) are stored in these, which changes no number;
    a batch normalization behind them stays an operation of its own. The others
    get codes of `nbits` bits, see `KernelCoder`, or are stored without their
    zeros where that is smaller. All other weights stay in the precision of the
    arithmetic; so do scales and codebooks.

    Args:
        model: A Functional or built Sequential model with one input and one
            output.
        path: Folder to write; the name ends in `.mlpackage`.
        nbits: 8, 6, 4, 2 or 1, 16 for float16, or `None`.
        mode: "linear" or "kmeans".
        image_size: `(height, width)` where the model leaves them open.
        image_input: Whether the phone passes a picture (RGB, values in
            `[0, 255]`) in place of an array. By default if the model turns
            pictures of three channels into such pictures.
        image_output: The same for what it gets back.
        compute_precision: "float32", or "float16", which halves the weights
            that are not compressed and runs on the Neural Engine.
        minimum_target: Oldest system that must run it, such as "iOS16". By
            default the oldest that stores the codes and zeros that kernels
            hold in hardly more bits than the newest does, and at least
            "iOS16" with `nbits` of 8 and less. Codes that it does not know
            stay floats, or take more bits, and the note of the layer says so.
        output_name: Name of the output. The input has its name in the model.

    Returns: one row for each Keras layer with weights.

    Raises:
        ConversionError: if coremltools cannot convert the model, or our
            interpreter cannot check what it becomes.
        ValueError: for an argument that is not as described.
    """
    graph = traced_for_files(model, [(1, *input_shape(model, image_size)[1:])])
    oldest = check_target(minimum_target, nbits)
    coder = KernelCoder(
        graph,
        nbits=None if nbits == 16 else nbits,
        mode=mode,
        float_bits=16 if compute_precision == "float16" else 32,
    )
    with contextlib.ExitStack() as stack:
        # For the progress bars: notebooks have a standard error of their own.
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        features = _features(graph, output_name, image_input, image_output)
        frozen = replayed(graph, *features)
        # Folded later, normalizations are some digits less exact.
        unfused = FUSING if has_steps(graph) else set()
        left = unfused | FOLDING if holds_codes(graph) else unfused
        program = _mil(frozen, graph, oldest, *features, left)
        check_operations(program, graph)
        if minimum_target is None:
            needed = coder.oldest_target(program)
            if needed > oldest:
                oldest = needed
                program = _mil(frozen, graph, oldest, *features, left)
        coder.store_held(program, oldest)
        program = _converted(program, graph, oldest, unfused)
        coder.store_others(program, oldest)
        check_operations(program, graph)
        package = _converted(program, graph, oldest, unfused, compute_precision)
        _discard_later(package, stack)
        _save(package, path, stack)
        return report_program(package._mil_program, graph, coder.notes)


def _save(package, path, stack):
    """Writes a package with short names."""
    import coremltools

    spec = package.get_spec()
    shorten_names(spec.mlProgram)
    short = coremltools.models.MLModel(
        spec, weights_dir=package.weights_dir, skip_model_load=True
    )
    _discard_later(short, stack)
    short.save(os.fspath(path))


def check_target(minimum_target: str | None, nbits: int | None) -> str:
    """The oldest system to write for.

    Raises:
        ValueError: for a name that is none, or a system that does not know
            compressed weights.
    """
    compressed = nbits is not None and nbits <= 8
    oldest = COMPRESSED if compressed else OLDEST_TARGET
    name = oldest if minimum_target is None else minimum_target
    known = isinstance(name, str) and re.fullmatch(r"iOS\d\d", name)
    if not known or name < oldest:
        raise ValueError(
            f"`minimum_target` must be '{oldest}' or newer for nbits={nbits}. "
            f"Received: {minimum_target!r}."
        )
    return name


def _target(name):
    import coremltools

    if not hasattr(coremltools.target, name):
        known = [t for t in dir(coremltools.target) if t.startswith("iOS")]
        raise ValueError(
            f"coremltools {coremltools.__version__} knows {', '.join(known)}. "
            f"Received: minimum_target='{name}'."
        )
    return getattr(coremltools.target, name)


def _discard_later(program, stack):
    """coremltools keeps each program in a temporary folder until exit."""
    stack.callback(shutil.rmtree, program.package_path, ignore_errors=True)


# TensorFlow to MIL


def _is_picture(tensor):
    return len(tensor.shape) == 4 and tensor.shape[-1] == 3


def _features(graph, output_name, image_input, image_output):
    """What coremltools needs to know about the input and the output."""
    import coremltools as ct

    (source,), (result,) = graph.inputs, graph.output_tensors
    pictures = _is_picture(source) and _is_picture(result)
    image_input = pictures if image_input is None else image_input
    image_output = pictures if image_output is None else image_output
    rgb = {"color_layout": ct.colorlayout.RGB}
    input_name = re.sub(r"\W", "_", graph.model.inputs[0].name)
    if output_name == input_name or not re.fullmatch(
        r"[A-Za-z_]\w*", output_name, re.ASCII
    ):
        raise ValueError(
            "`output_name` must be of letters, digits and underscores, and "
            "differ from the name of the input. Received: "
            f"output_name={output_name!r}, the input is '{input_name}'."
        )
    arguments = {"name": input_name, "shape": source.shape}
    return (
        (
            ct.ImageType(**arguments, **rgb)
            if image_input
            else ct.TensorType(**arguments)
        ),
        (
            ct.ImageType(name=output_name, **rgb)
            if image_output
            else ct.TensorType(name=output_name)
        ),
    )


def _mil(frozen, graph, target, source, result, left):
    """The graph as a MIL program of float32, without the passes of `left`."""
    import coremltools as ct

    target = _target(target)
    with _explained(graph):
        return ct.convert(
            frozen,
            source="tensorflow",
            convert_to="milinternal",
            inputs=[source],
            outputs=[result],
            minimum_deployment_target=target,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=_passes(left),
        )


def _converted(program, graph, target, left, precision=None):
    """A MIL program after all other passes, or with a precision a package."""
    import coremltools as ct

    with _explained(graph):
        return ct.convert(
            program,
            source="milinternal",
            convert_to="mlprogram" if precision else "milinternal",
            minimum_deployment_target=_target(target),
            compute_precision=getattr(
                ct.precision, (precision or "float32").upper()
            ),
            pass_pipeline=_passes(left),
            skip_model_load=True,
        )


def _passes(left):
    """coremltools' passes without some."""
    import coremltools

    pipeline = coremltools.PassPipeline.DEFAULT
    pipeline.remove_passes(left)
    return pipeline


@contextlib.contextmanager
def _explained(graph):
    """Turns errors of coremltools into ours."""
    try:
        yield
    except Exception as error:  # Of any class, as coremltools has none.
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        node = node_in(graph, str(error))
        where = (
            f"Layer '{node.operation.name}' ({node.kind}) of model"
            if node
            else "Model"
        )
        raise ConversionError(
            f"{where} '{graph.model.name}' cannot be written as a Core ML "
            f"program: {reason} Replace the layer by ones of simpler "
            "operations."
        ) from error
