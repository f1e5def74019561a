"""What happens during `model.fit`."""

from fritz_compress.callbacks.codebooks import CodebookFineTuning
from fritz_compress.callbacks.filter_pruning import FilterPruning
from fritz_compress.callbacks.filter_regularization import (
    FilterRegularization,
)
from fritz_compress.callbacks.flip_rate import FlipRate
from fritz_compress.callbacks.gradual_binarization import GradualBinarization
from fritz_compress.callbacks.iterative_pruning import IterativePruning
from fritz_compress.callbacks.lottery_ticket import LotteryTicketRewinding
from fritz_compress.callbacks.magnitude_pruning import MagnitudePruning
from fritz_compress.ops.schedules import ConstantSparsity, PolynomialDecay

__all__ = [
    "CodebookFineTuning",
    "ConstantSparsity",
    "FilterPruning",
    "FilterRegularization",
    "FlipRate",
    "GradualBinarization",
    "IterativePruning",
    "LotteryTicketRewinding",
    "MagnitudePruning",
    "PolynomialDecay",
]
