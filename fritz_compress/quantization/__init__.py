"""From a model to a new model whose numbers take fewer bits."""

from fritz_compress.quantization.aware import freeze, quantization_aware
from fritz_compress.quantization.aware_config import AwareConfig
from fritz_compress.quantization.calibration import (
    Ranges,
    apply_ranges,
    calibrate,
)
from fritz_compress.quantization.config import WeightConfig
from fritz_compress.quantization.correction import error_corrected_codes
from fritz_compress.quantization.importance import (
    second_moments,
    squared_gradients,
)
from fritz_compress.quantization.integers import Integers, integers
from fritz_compress.quantization.plain import plain_model
from fritz_compress.quantization.report import (
    QuantizationReport,
    QuantizedWeight,
)
from fritz_compress.quantization.weights import quantize_weights
from fritz_compress.surgery.config_by_layer import ConfigByLayer

__all__ = [
    "AwareConfig",
    "ConfigByLayer",
    "Integers",
    "QuantizationReport",
    "QuantizedWeight",
    "Ranges",
    "WeightConfig",
    "apply_ranges",
    "calibrate",
    "error_corrected_codes",
    "freeze",
    "integers",
    "plain_model",
    "quantization_aware",
    "quantize_weights",
    "second_moments",
    "squared_gradients",
]
