"""What happens during `model.fit`."""

from fritz_compress.callbacks.pruning import FilterPruning

__all__ = ["FilterPruning"]
