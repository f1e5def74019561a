"""From a model to a new model whose numbers take fewer bits."""

from fritz_compress.quantization.aware import freeze, quantization_aware
from fritz_compress.quantization.calibration import (
    Ranges,
    apply_ranges,
    calibrate,
)
from fritz_compress.quantization.integers import Integers, integers

__all__ = [
    "Integers",
    "Ranges",
    "apply_ranges",
    "calibrate",
    "freeze",
    "integers",
    "quantization_aware",
]
