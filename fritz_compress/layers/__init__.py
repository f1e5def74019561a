"""Keras layers that the package adds to `keras.layers`."""

from fritz_compress.layers.deprocess_stylized_image import (
    DeprocessStylizedImage,
)
from fritz_compress.layers.instance_normalization import InstanceNormalization

__all__ = ["DeprocessStylizedImage", "InstanceNormalization"]
