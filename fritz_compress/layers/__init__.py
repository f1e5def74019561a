"""Keras layers that the package adds to `keras.layers`."""

from fritz_compress.layers.deprocess_stylized_image import (
    DeprocessStylizedImage,
)
from fritz_compress.layers.instance_normalization import InstanceNormalization
from fritz_compress.layers.standardize_image import StandardizeImage

__all__ = [
    "DeprocessStylizedImage",
    "InstanceNormalization",
    "StandardizeImage",
]
