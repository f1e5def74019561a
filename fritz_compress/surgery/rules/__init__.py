"""One small rule per class of operation: what it does to channel labels."""

from fritz_compress.surgery.rules import (
    attention,
    binary,
    convolution,
    dense,
    elementwise,
    embedding,
    hub,
    merging,
    movement,
    normalization,
    recurrent,
    spatial,
    wrappers,
)
from fritz_compress.surgery.rules.registration import register_rule
from fritz_compress.surgery.rules.table import find_rule

__all__ = [
    "attention",
    "binary",
    "convolution",
    "dense",
    "elementwise",
    "embedding",
    "find_rule",
    "hub",
    "merging",
    "movement",
    "normalization",
    "recurrent",
    "register_rule",
    "spatial",
    "wrappers",
]
