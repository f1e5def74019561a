"""One small rule per class of operation: what it does to channel labels."""

from fritz_compress.surgery.rules import (
    convolution,
    elementwise,
    merging,
    movement,
    normalization,
    spatial,
)
from fritz_compress.surgery.rules.table import find_rule

__all__ = [
    "convolution",
    "elementwise",
    "find_rule",
    "merging",
    "movement",
    "normalization",
    "spatial",
]
