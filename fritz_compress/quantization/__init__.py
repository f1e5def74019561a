"""From a model to a new model whose numbers take fewer bits."""

from fritz_compress.quantization.config import ConfigByLayer, WeightConfig
from fritz_compress.quantization.correction import (
    ProductSettings,
    error_corrected_codes,
)
from fritz_compress.quantization.importance import (
    second_moments,
    squared_gradients,
)
from fritz_compress.quantization.report import (
    QuantizationReport,
    QuantizedWeight,
)
from fritz_compress.quantization.weights import quantize_weights

__all__ = [
    "ConfigByLayer",
    "ProductSettings",
    "QuantizationReport",
    "QuantizedWeight",
    "WeightConfig",
    "error_corrected_codes",
    "quantize_weights",
    "second_moments",
    "squared_gradients",
]
