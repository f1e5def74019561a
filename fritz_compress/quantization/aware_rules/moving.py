"""What moves numbers, picks some, or averages them: ranges stay."""

import keras

from fritz_compress import graph
from fritz_compress.layers import (
    ChannelShuffle,
    CropToMatch,
    DepthToSpace,
    PadToMultiple,
)
from fritz_compress.quantization.aware_building import Builder, Value
from fritz_compress.quantization.aware_chains import Chain

LAYERS = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Identity,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.Permute,
    keras.layers.RepeatVector,
    keras.layers.Reshape,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.UpSampling1D,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    ChannelShuffle,
    CropToMatch,
    DepthToSpace,
    PadToMultiple,
)
# Operations of `keras.ops`, by the name of their class.
OPERATIONS = (
    "DepthToSpace",
    "ExpandDims",
    "Flip",
    "GetItem",
    "Moveaxis",
    "Pad",
    "Ravel",
    "Repeat",
    "Reshape",
    "Roll",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Swapaxes",
    "Transpose",
)


def keeps_values(node: graph.Node) -> bool:
    """Whether what comes out are numbers of what went in, or zeros."""
    operation = node.operation
    if type(operation) is keras.layers.UpSampling2D:
        return operation.interpolation == "nearest"
    if type(operation) is keras.layers.Activation:
        return operation.activation is keras.activations.linear
    if isinstance(operation, keras.Layer):
        return type(operation) in LAYERS
    if node.arguments.get("constant_values"):  # What "Pad" fills with.
        return False
    return node.kind in OPERATIONS


def move(builder: Builder, chain: Chain, *args, **kwargs):
    """The result keeps the range of the one tensor that is moved."""
    values = [v for v in keras.tree.flatten((args, kwargs)) if _is_value(v)]
    args, kwargs = keras.tree.map_structure(_tensor, (args, kwargs))
    results = builder.copy(chain.first.operation)(*args, **kwargs)
    ends = values[0].range
    return keras.tree.map_structure(lambda x: Value(x, ends), results)


def average(builder: Builder, chain: Chain, inputs: Value):
    """The result is rounded to the scale of the input."""
    operation = chain.first.operation
    inputs = builder.integers(inputs, operation.name)
    outputs = builder.copy(operation)(inputs.tensor)
    return builder.rounded(outputs, inputs, operation.name)


def resize(builder: Builder, chain: Chain, inputs: Value):
    """Bilinear; nearest ones only move numbers."""
    if chain.first.operation.interpolation != "bilinear":
        return None
    return average(builder, chain, inputs)


AVERAGING = {
    keras.layers.AveragePooling1D: average,
    keras.layers.AveragePooling2D: average,
    keras.layers.UpSampling2D: resize,
}


def _is_value(value):
    return isinstance(value, Value)


def _tensor(value):
    return value.tensor if _is_value(value) else value
