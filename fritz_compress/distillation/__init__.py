"""A small network taught by a large one, on top of `keras.distillation`."""

from fritz_compress.distillation.building import distiller
from fritz_compress.distillation.distiller import Distiller
from fritz_compress.distillation.features import AttentionTransfer, Hint
from fritz_compress.distillation.pixels import (
    PixelDistillation,
    pixel_distiller,
)
from fritz_compress.distillation.recorded import RecordedTeacher
from fritz_compress.distillation.soft_targets import SoftTargets

__all__ = [
    "AttentionTransfer",
    "Distiller",
    "Hint",
    "PixelDistillation",
    "RecordedTeacher",
    "SoftTargets",
    "distiller",
    "pixel_distiller",
]
