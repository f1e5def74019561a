"""Photos and recipes around `model.fit`."""

from fritz_compress.training.layer_by_layer import prune_layer_by_layer
from fritz_compress.training.photos import Photos, read_photo
from fritz_compress.training.pruning_journal import (
    PruningAttempt,
    PruningReport,
)
from fritz_compress.training.recipes import (
    distill,
    train_perceptual,
    warmup_cosine,
)

__all__ = [
    "Photos",
    "PruningAttempt",
    "PruningReport",
    "distill",
    "prune_layer_by_layer",
    "read_photo",
    "train_perceptual",
    "warmup_cosine",
]
