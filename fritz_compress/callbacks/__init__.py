"""What happens during `model.fit`."""

from fritz_compress.callbacks.filter_pruning import FilterPruning
from fritz_compress.callbacks.filter_regularization import (
    FilterRegularization,
)
from fritz_compress.callbacks.lottery_ticket import LotteryTicketRewinding

__all__ = ["FilterPruning", "FilterRegularization", "LotteryTicketRewinding"]
