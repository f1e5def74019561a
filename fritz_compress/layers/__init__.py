"""Keras layers that the package adds to `keras.layers`."""

from fritz_compress.layers.activation_range import ActivationRange
from fritz_compress.layers.binary import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    XnorConv2D,
    XnorDense,
)
from fritz_compress.layers.channel_shuffle import ChannelShuffle
from fritz_compress.layers.concatenation_range import ConcatenationRange
from fritz_compress.layers.crop_to_match import CropToMatch
from fritz_compress.layers.deprocess_stylized_image import (
    DeprocessStylizedImage,
)
from fritz_compress.layers.depth_to_space import DepthToSpace
from fritz_compress.layers.instance_normalization import InstanceNormalization
from fritz_compress.layers.low_rank import ToeplitzLikeDense
from fritz_compress.layers.pad_to_multiple import PadToMultiple
from fritz_compress.layers.quantized_layer import QuantizedLayer
from fritz_compress.layers.range_rounding import RangeRounding
from fritz_compress.layers.standardize_image import StandardizeImage

__all__ = [
    "ActivationRange",
    "BinaryConv2D",
    "BinaryDense",
    "BinaryDepthwiseConv2D",
    "ChannelShuffle",
    "ConcatenationRange",
    "CropToMatch",
    "DepthToSpace",
    "DeprocessStylizedImage",
    "InstanceNormalization",
    "PadToMultiple",
    "QuantizedLayer",
    "RangeRounding",
    "StandardizeImage",
    "ToeplitzLikeDense",
    "XnorConv2D",
    "XnorDense",
]
