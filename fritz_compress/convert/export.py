"""The operations that each layer becomes in a TFLite file.

Most layers are written as Keras calls them. Those in `FORMS`, and with 16-bit
integers those in `FORMS_OF_16_BITS`, are written in another form, which
computes the same and suits TFLite better. The graph is replayed with the
user's own layers; nothing is cloned or changed.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from fritz_compress import graph
from fritz_compress.convert.errors import ConversionError
from fritz_compress.layers import DepthToSpace, InstanceNormalization

# Called like the layer, with the layer itself in front of the arguments.
Form = Callable[..., tf.Tensor]

_SCOPE = "fcnode{}"


def instance_normalization(
    layer: InstanceNormalization,
    x: tf.Tensor,
    gain: float | np.ndarray = 1.0,
) -> tf.Tensor:
    """Nine operations that also run on 8- and 16-bit integers.

    `d * d` in place of `squared_difference`, which integers do not have, and
    no division.

    Args:
        layer: The layer.
        x: Its input, multiplied by `gain`.
        gain: Factor per channel that the normalization undoes, exactly.
    """
    axes = list(range(1, len(x.shape) - 1))
    difference = x - tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(difference * difference, axes, keepdims=True)
    scale = tf.math.rsqrt(variance + np.float32(layer.epsilon * gain**2))
    return difference * (scale * layer.gamma) + layer.beta


def upsampling(layer: keras.layers.UpSampling2D, x: tf.Tensor) -> tf.Tensor:
    """One RESIZE_NEAREST_NEIGHBOR, where Keras repeats and transposes."""
    if (layer.interpolation, layer.data_format) != (
        "nearest",
        "channels_last",
    ):
        return layer(x)
    size = [side * by for side, by in zip(x.shape[1:3], layer.size)]
    return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size)


def depth_to_space(layer: DepthToSpace, x: tf.Tensor) -> tf.Tensor:
    """A transpose, where TFLite has no DEPTH_TO_SPACE of 16-bit integers."""
    batch, height, width, _ = x.shape
    side = layer.block_size
    x = tf.reshape(x, (batch * height, width, side, -1))
    x = tf.transpose(x, (0, 2, 1, 3))
    return tf.reshape(x, (batch, side * height, side * width, -1))


def grouped_convolution(
    layer: keras.layers.Conv2D, x: tf.Tensor, kernel: tf.Tensor
) -> tf.Tensor:
    """One operation, where Keras calls a compiled function."""
    return tf.nn.conv2d(
        x,
        kernel,
        layer.strides,
        layer.padding.upper(),
        dilations=layer.dilation_rate,
    )


FORMS: dict[type, Form] = {
    InstanceNormalization: instance_normalization,
    keras.layers.UpSampling2D: upsampling,
}
FORMS_OF_16_BITS: dict[type, Form] = {DepthToSpace: depth_to_space}


def forms_of(
    traced: graph.Graph, quantization: str | None = None
) -> dict[graph.Node, Form]:
    """The nodes that are written in another form than Keras calls them."""
    forms = FORMS
    if quantization == "int16x8":
        forms = FORMS | FORMS_OF_16_BITS
    return {
        node: forms[type(node.operation)]
        for node in traced.nodes
        if type(node.operation) in forms
    }


def frozen_function(
    traced: graph.Graph, forms: Mapping[graph.Node, Form]
) -> tf.types.experimental.ConcreteFunction:
    """The graph as one TensorFlow function with its weights as constants.

    The operations of node number `i` have names in a scope of their own, from
    which `nodes_in` reads `i`. Weights must be constants: TFLite writes
    variables to a small file that computes nonsense.

    Args:
        traced: A graph traced with every axis known.
        forms: What replaces the call of a node.

    Raises:
        ConversionError: if TensorFlow cannot replay a layer.
    """
    from tensorflow.python.framework import convert_to_constants

    numbers = {node: i for i, node in enumerate(traced.nodes)}

    def call(node, *args, **kwargs):
        form = forms.get(node)
        with tf.name_scope(_SCOPE.format(numbers[node])):
            try:
                if form is None:
                    return call_layer(node, *args, **kwargs)
                return form(node.operation, *args, **kwargs)
            except Exception as error:
                raise cannot_convert(node, error) from error

    signature = [tf.TensorSpec(t.shape, t.dtype) for t in traced.inputs]
    function = tf.function(
        lambda *inputs: traced.run(inputs, call),
        input_signature=signature,
        autograph=False,
    )
    with any_layer_names():
        concrete = function.get_concrete_function()
    return convert_to_constants.convert_variables_to_constants_v2(concrete)


def call_layer(node: graph.Node, *args, **kwargs):
    """Calls the layer as Keras does in `model(inputs, training=False)`."""
    if "training" in kwargs:
        kwargs["training"] = False
    return node.operation(*args, **kwargs)


@contextlib.contextmanager
def any_layer_names() -> Iterator[None]:
    """Lets TensorFlow replay layers whose names it does not allow.

    Keras opens a scope of TensorFlow with the name of each layer, and of each
    layer inside it. TensorFlow refuses a space or a colon in it, and Keras
    then forgets to leave its own scope: all layers built later would bear the
    name of this one.
    """
    name_scope = tf.name_scope

    def allowed(name):
        return name_scope(re.sub(r"[^A-Za-z0-9_./-]", "_", name))

    tf.name_scope = allowed
    try:
        yield
    finally:
        tf.name_scope = name_scope


def nodes_in(name: str) -> list[int]:
    """Numbers of the nodes that an operation of this name belongs to.

    >>> nodes_in("fcnode5/relu/Relu;fcnode4/add/Add")
    [5, 4]
    """
    return [int(i) for i in re.findall(_SCOPE.format(r"(\d+)/"), name)]


def blamed_node(
    traced: graph.Graph,
    function: tf.types.experimental.ConcreteFunction,
    message: str,
) -> graph.Node | None:
    """The node that an error of the converter is about, if it tells.

    Told from the name of an operation, or else from its kind.

    Args:
        traced: The graph converted.
        function: What `frozen_function` made of it.
        message: Text of the error.
    """
    numbers = nodes_in(message)
    found = re.findall(r"'tf\.(\w+)' op|op: '(\w+)'", message)
    kinds = {"".join(kind).replace("_", "").lower() for kind in found}
    for operation in function.graph.get_operations():
        if operation.type.lower() in kinds:
            numbers += nodes_in(operation.name)
    return traced.nodes[numbers[0]] if numbers else None


def cannot_convert(node: graph.Node, error: Exception) -> ConversionError:
    """The error that names the layer that could not be written."""
    return ConversionError(
        f"Layer '{node.operation.name}' ({node.kind}) cannot be written to a "
        f"TFLite file: {reason_of(error)} Replace the layer by ones of "
        "simpler operations."
    )


def reason_of(error: Exception) -> str:
    """The one line that tells why, of the many that TensorFlow writes."""
    message = str(error)
    unknown = sorted(set(re.findall(r"'(tf\.\w+)' op is neither", message)))
    if unknown:
        return f"TFLite has no operation for {', '.join(unknown)}."
    lines = re.sub(r"\x1b\[\d*m", "", message).splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    if lines and lines[0].startswith("Exception encountered when calling"):
        del lines[0]  # Keras' own line in front of the reason.
    return lines[0] if lines else "TensorFlow gave no reason."
