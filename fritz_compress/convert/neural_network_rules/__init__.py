"""One rule per class of layer: how it is written as Core ML layers.

Core ML holds values as `[batch, channels, height, width]`, Keras as `(batch,
height, width, channels)`; `(batch, features)` are channels of height and width
1. A rule is called as `rule(writer, node, sources, target)` with the names of
the blobs that it reads and of the one that it must make. The layers are
described in Core ML's NeuralNetwork.proto,
https://github.com/apple/coremltools/blob/main/mlmodel/format.
"""

import functools

import keras
from keras import layers

from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.neural_network_rules import (
    activations,
    binary,
    convolutions,
    merging,
    movement,
    normalization,
    shapes,
)
from fritz_compress.convert.neural_network_rules.common import (
    channels_first,
    refuse,
)
from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    ChannelShuffle,
    CropToMatch,
    DeprocessStylizedImage,
    DepthToSpace,
    InstanceNormalization,
    PadToMultiple,
    XnorConv2D,
    XnorDense,
)


def write(writer, node, sources, target) -> None:
    """Writes one node with the rule of its class.

    Raises:
        ConversionError: if there is no rule, or the rule cannot express the
            node's arguments.
    """
    if node.kind in writer.custom_layers:
        rule = _custom
    elif is_identity(node):
        rule = _identity
    else:
        rule = _rule(node)
    rule(writer, node, sources, target)


def check_shapes(nodes) -> None:
    """Raises a ConversionError at the first shape that Core ML cannot hold."""
    for node in nodes:
        for tensor in (*node.inputs, *node.outputs):
            channels_first(tensor.shape, node.operation.name)


def is_identity(node) -> bool:
    """Whether the layer only matters in training, or does nothing."""
    if type(node.operation) is layers.Activation:
        return node.operation.activation is keras.activations.linear
    if type(node.operation) in (CropToMatch, PadToMultiple):
        return node.inputs[0].shape == node.outputs[0].shape
    return type(node.operation) in IDENTITIES


def _rule(node):
    operation = node.operation
    rule = RULES.get(type(operation))
    if rule is None and not isinstance(operation, keras.Layer):
        rule = OPERATIONS.get(node.kind)
    if rule is None:
        raise ConversionError(
            f"Layer '{operation.name}' of class {node.kind} has no counterpart "
            "in a Core ML neural network that this package knows. Write a "
            ".mlpackage, replace the layer, or, if it has no weights, name "
            f"its class in `custom_layers` and implement '{node.kind}' in the "
            "app."
        )
    return rule


def _custom(writer, node, sources, target):
    from coremltools.proto import NeuralNetwork_pb2

    if getattr(node.operation, "weights", []):
        refuse(node, "a custom layer must not have weights.")
    params = NeuralNetwork_pb2.CustomLayerParams()
    params.className = node.kind
    writer.builder.add_custom(writer.layer(), sources, [target], params)


def _identity(writer, node, sources, target):
    normalization.add_linear(writer, 1, 0, sources[0], target)


IDENTITIES = frozenset(
    {
        layers.ActivityRegularization,
        layers.AlphaDropout,
        layers.Dropout,
        layers.GaussianDropout,
        layers.GaussianNoise,
        layers.Identity,
        layers.SpatialDropout2D,
    }
)

_add = functools.partial(merging.elementwise, mode="ADD")
_multiply = functools.partial(merging.elementwise, mode="MULTIPLY")

RULES = {
    BinaryConv2D: binary.conv2d,
    BinaryDense: binary.dense,
    BinaryDepthwiseConv2D: binary.depthwise_conv2d,
    ChannelShuffle: movement.channel_shuffle,
    CropToMatch: shapes.crop_to_match,
    DepthToSpace: shapes.depth_to_space,
    DeprocessStylizedImage: normalization.deprocess,
    InstanceNormalization: normalization.instance_normalization,
    layers.Activation: activations.activation,
    layers.Add: _add,
    layers.Average: functools.partial(merging.elementwise, mode="AVE"),
    layers.AveragePooling2D: functools.partial(
        shapes.pooling2d, kind="AVERAGE"
    ),
    layers.BatchNormalization: normalization.batch_normalization,
    layers.Concatenate: merging.concatenate,
    layers.Conv2D: convolutions.conv2d,
    layers.Conv2DTranspose: convolutions.conv2d_transpose,
    layers.Cropping2D: shapes.cropping2d,
    layers.Dense: convolutions.dense,
    layers.DepthwiseConv2D: convolutions.depthwise_conv2d,
    layers.ELU: activations.elu,
    layers.Flatten: shapes.flatten,
    layers.GlobalAveragePooling2D: functools.partial(
        shapes.global_pooling2d, kind="AVERAGE"
    ),
    layers.GlobalMaxPooling2D: functools.partial(
        shapes.global_pooling2d, kind="MAX"
    ),
    layers.LeakyReLU: activations.leaky_relu,
    layers.Maximum: functools.partial(merging.elementwise, mode="MAX"),
    layers.MaxPooling2D: functools.partial(shapes.pooling2d, kind="MAX"),
    layers.Minimum: functools.partial(merging.elementwise, mode="MIN"),
    layers.Multiply: _multiply,
    PadToMultiple: shapes.pad_to_multiple,
    layers.PReLU: activations.prelu,
    layers.ReLU: activations.relu,
    layers.Rescaling: normalization.rescaling,
    layers.Reshape: shapes.reshape,
    layers.SeparableConv2D: convolutions.separable_conv2d,
    layers.Softmax: activations.softmax,
    layers.Subtract: merging.subtract,
    layers.UpSampling2D: shapes.up_sampling2d,
    layers.ZeroPadding2D: shapes.zero_padding2d,
    XnorConv2D: binary.xnor_conv2d,
    XnorDense: binary.xnor_dense,
}

# Raw operations, `x + y` in place of `Add()([x, y])`, by the class in Keras.
# In `with_number`: (scale, offset) for a number, and whether it comes first.
OPERATIONS = {
    "Add": functools.partial(
        merging.arithmetic, mode=_add, with_number=lambda n, first: (1, n)
    ),
    "GetItem": movement.get_item,
    "Multiply": functools.partial(
        merging.arithmetic, mode=_multiply, with_number=lambda n, first: (n, 0)
    ),
    "Pad": movement.pad,
    "Subtract": functools.partial(
        merging.arithmetic,
        mode=merging.subtract,
        with_number=lambda n, first: (-1, n) if first else (1, -n),
    ),
}
