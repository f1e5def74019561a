"""Keras models to files for phones, checked against Keras."""

from fritz_compress.convert.coreml import to_coreml
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.latency import (
    Timing,
    latency,
    latency_by_setting,
)
from fritz_compress.convert.report import ConversionReport, LayerReport
from fritz_compress.convert.runner import Runner, load
from fritz_compress.convert.samples import sample_pictures
from fritz_compress.convert.tflite import to_tflite

__all__ = [
    "ConversionError",
    "ConversionReport",
    "LayerReport",
    "Runner",
    "Timing",
    "latency",
    "latency_by_setting",
    "load",
    "sample_pictures",
    "to_coreml",
    "to_tflite",
]
