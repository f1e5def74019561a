"""Photos and recipes around `model.fit`."""

from fritz_compress.training.photos import Photos, read_photo
from fritz_compress.training.recipes import (
    distill,
    train_perceptual,
    warmup_cosine,
)

__all__ = [
    "Photos",
    "distill",
    "read_photo",
    "train_perceptual",
    "warmup_cosine",
]
