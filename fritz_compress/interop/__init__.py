"""Bridges to libraries that know Keras 2 only."""

from fritz_compress.interop import tfmot
from fritz_compress.interop.bridge import from_tf_keras, to_tf_keras

__all__ = ["from_tf_keras", "tfmot", "to_tf_keras"]
