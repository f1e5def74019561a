"""From a model to a new model whose numbers take fewer bits."""

from fritz_compress.quantization.aware import freeze, quantization_aware

__all__ = ["freeze", "quantization_aware"]
