"""Losses of `fit`: pictures, and what a teacher knows."""

from fritz_compress.losses.attention import AttentionTransferLoss
from fritz_compress.losses.pictures import PerceptualLoss, PixelLoss
from fritz_compress.losses.soft_targets import SoftTargetLoss

__all__ = [
    "AttentionTransferLoss",
    "PerceptualLoss",
    "PixelLoss",
    "SoftTargetLoss",
]
