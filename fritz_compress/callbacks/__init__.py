"""What happens during `model.fit`."""

from fritz_compress.callbacks.filter_regularization import (
    FilterRegularization,
)
from fritz_compress.callbacks.pruning import FilterPruning

__all__ = ["FilterPruning", "FilterRegularization"]
