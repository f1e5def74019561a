"""Keras models of numbers of few bits."""

from fritz_compress.quantization.aware import freeze, quantization_aware

__all__ = ["freeze", "quantization_aware"]
