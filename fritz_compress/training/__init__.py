"""Photos and recipes around `model.fit`."""

from fritz_compress.training.classification import distill_classifier
from fritz_compress.training.feature_cache import (
    FeatureCache,
    cache_features,
    join_head,
)
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
from fritz_compress.training.teacher_cache import TeacherCache, cache_teacher

__all__ = [
    "FeatureCache",
    "Photos",
    "PruningAttempt",
    "PruningReport",
    "TeacherCache",
    "cache_features",
    "cache_teacher",
    "distill",
    "distill_classifier",
    "join_head",
    "prune_layer_by_layer",
    "read_photo",
    "train_perceptual",
    "warmup_cosine",
]
