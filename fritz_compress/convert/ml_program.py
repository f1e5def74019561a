"""A Keras model as a Core ML program, the content of a `.mlpackage`.

The traced graph is replayed into one frozen TensorFlow graph, which
coremltools converts; weights are then compressed by its optimizer with our
codebooks. Instance normalization and nearest upsampling are one operation
each, see `_replayed`.
"""

import contextlib
import io
import os
import re
import shutil

import keras

from fritz_compress import graph as graphs
from fritz_compress.convert import export
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.ml_program_quantization import (
    SCOPE,
    check_operations,
    compress_program,
    node_in,
    report_program,
)
from fritz_compress.convert.names import shorten_names
from fritz_compress.convert.report import LayerReport
from fritz_compress.convert.samples import input_shape
from fritz_compress.silence import silenced

PRECISIONS = ("float32", "float16")
OLDEST_TARGET = "iOS15"  # The first with programs.
OLDEST_COMPRESSED = "iOS16"  # The first with compressed weights.


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

    Kernels of convolutions and dense layers get codes of `nbits` bits; all
    other weights stay in the precision of the arithmetic:

    - 8, "linear": a scale and an offset per output channel.
    - "kmeans": one codebook per kernel, the optimal one.
    - 6, 4, 2 or 1, "linear": one codebook of evenly spaced numbers per kernel,
      over the range of least squared error.

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
            default "iOS15", or "iOS16" with compressed weights.
        output_name: Name of the output. The input has its name in the model.

    Returns: one row for each Keras layer with weights.

    Raises:
        ConversionError: if coremltools cannot convert the model, or our
            interpreter cannot check what it becomes.
        ValueError: for an argument that is not as described.
    """
    import coremltools

    graph = graphs.trace(model, [(1, *input_shape(model, image_size)[1:])])
    target = _target(minimum_target, nbits)
    with contextlib.ExitStack() as stack:
        # For the progress bars: notebooks have a standard error of their own.
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        features = _features(graph, output_name, image_input, image_output)
        program = _converted(graph, target, compute_precision, *features)
        _discard_later(program, stack)
        check_operations(program, graph)
        if nbits is not None and nbits <= 8:
            program = compress_program(program, nbits, mode)
            _discard_later(program, stack)
        spec = program.get_spec()
        shorten_names(spec.mlProgram)
        short = coremltools.models.MLModel(
            spec, weights_dir=program.weights_dir, skip_model_load=True
        )
        _discard_later(short, stack)
        short.save(os.fspath(path))
        return report_program(program, graph)


def check_target(minimum_target: str | None, nbits: int | None) -> str:
    """The oldest system to write for.

    Raises:
        ValueError: for a name that is none, or a system that does not know
            compressed weights.
    """
    compressed = nbits is not None and nbits <= 8
    oldest = OLDEST_COMPRESSED if compressed else OLDEST_TARGET
    name = oldest if minimum_target is None else minimum_target
    known = isinstance(name, str) and re.fullmatch(r"iOS\d\d", name)
    if not known or name < oldest:
        raise ValueError(
            f"`minimum_target` must be '{oldest}' or newer for nbits={nbits}. "
            f"Received: {minimum_target!r}."
        )
    return name


def _target(minimum_target, nbits):
    import coremltools

    name = check_target(minimum_target, nbits)
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


# Keras to TensorFlow to MIL


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


def _converted(graph, target, precision, source, result):
    import coremltools as ct

    try:
        return ct.convert(
            _replayed(
                graph,
                source.name,
                result.name,
                isinstance(result, ct.ImageType),
            ),
            source="tensorflow",
            convert_to="mlprogram",
            inputs=[source],
            outputs=[result],
            minimum_deployment_target=target,
            compute_precision=getattr(ct.precision, precision.upper()),
            skip_model_load=True,
        )
    except ConversionError:
        raise
    except Exception as error:  # Of any class, as coremltools has none.
        raise ConversionError(_explained(graph, error)) from error


def _replayed(graph, input_name, output_name, channels_first):
    """The graph as a frozen TensorFlow `GraphDef` at batch size 1.

    coremltools recognizes our InstanceNormalization as it is. Keras' nearest
    upsampling would become repeats and transposes: one operation replaces it.
    A picture that leaves the program has its channels first.
    """
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    _know_erfc()
    forms = {
        keras.layers.Conv2D: _convolution,
        keras.layers.UpSampling2D: export.upsampling,
    }
    numbers = {node: i for i, node in enumerate(graph.nodes)}

    def call(node, *args, **kwargs):
        form = forms.get(type(node.operation))
        with tf.name_scope(SCOPE.format(numbers[node])):
            if form is None:
                return export.call_layer(node, *args, **kwargs)
            return form(node.operation, *args, **kwargs)

    def replay(x):
        (result,) = keras.tree.flatten(graph.run([x], call))
        if channels_first:
            result = tf.transpose(result, (0, 3, 1, 2))
        return tf.identity(result, name=output_name)

    (source,) = graph.inputs
    signature = [tf.TensorSpec(source.shape, source.dtype, name=input_name)]
    function = tf.function(replay, input_signature=signature, autograph=False)
    with export.any_layer_names():
        concrete = function.get_concrete_function()
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        concrete,
        lower_control_flow=False,
        aggressive_inlining=True,
    )
    return frozen.graph.as_graph_def(add_shapes=True)


def _know_erfc():
    """Teaches coremltools the operation in Keras' gelu."""
    from coremltools.converters.mil import Builder, register_tf_op

    @register_tf_op(override=True)
    def Erfc(context, node):
        value = Builder.erf(x=context[node.inputs[0]])
        context.add(node.name, Builder.sub(x=1.0, y=value, name=node.name))


def _convolution(layer, x):
    """Grouped ones without the compiled function that Keras puts them in."""
    import tensorflow as tf

    if layer.groups == 1 or layer.data_format != "channels_last":
        return layer(x)
    padding, dilation = layer.padding.upper(), layer.dilation_rate
    x = tf.nn.conv2d(
        x, layer.kernel, layer.strides, padding, dilations=dilation
    )
    return layer.activation(x + layer.bias if layer.use_bias else x)


def _explained(graph, error):
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    node = node_in(graph, str(error))
    where = (
        f"Layer '{node.operation.name}' ({node.kind}) of model"
        if node
        else "Model"
    )
    return (
        f"{where} '{graph.model.name}' cannot be written as a Core ML "
        f"program: {reason} Replace the layer by ones of simpler operations."
    )
