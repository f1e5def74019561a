"""From a model to a new model of one bit, and what computes with the bits."""

from fritz_compress.binarization.binarizing import binarize
from fritz_compress.binarization.config import BinarizationConfig
from fritz_compress.binarization.converting import convert_to_binary
from fritz_compress.binarization.design import design_warnings
from fritz_compress.binarization.packed_model import PackedModel
from fritz_compress.binarization.report import (
    BinarizationReport,
    BinarizedLayer,
)
from fritz_compress.surgery.config_by_layer import ConfigByLayer

__all__ = [
    "BinarizationConfig",
    "BinarizationReport",
    "BinarizedLayer",
    "ConfigByLayer",
    "PackedModel",
    "binarize",
    "convert_to_binary",
    "design_warnings",
]
