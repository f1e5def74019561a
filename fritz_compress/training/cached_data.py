"""Cached outputs as data sets for `fit`."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fritz_compress.checks import check_count
from fritz_compress.training.output_cache import OutputCache


class CachedDataset(keras.utils.PyDataset):
    """Batches of what is looked up by the number of a sample.

    Works with `fit` of every backend. The order of an epoch depends on the
    seed and the epoch alone, if `fit` is told `shuffle=False`: by default it
    shuffles the batches of every data set of this kind once more.

    Args:
        cache: The cache that tells a good order.
        rows: From numbers of samples to a batch.
        batch_size: Samples per batch; the last one may have fewer.
        shuffle: Whether each epoch has an order of its own.
        seed: Seed of the orders.
        first_epoch: Number of epochs to pass over.
        indices: Numbers of the samples; all by default.

    Raises:
        TypeError, ValueError: for a count that is none, or no samples.
    """

    def __init__(
        self,
        cache: OutputCache,
        rows: Callable[[np.ndarray], Any],
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        first_epoch: int = 0,
        indices: Any = None,
    ):
        super().__init__()
        self._cache = cache
        self._rows = rows
        self._batch_size = check_count("batch_size", batch_size)
        self._shuffle = shuffle
        self._seed = check_count("seed", seed, 0)
        self._epoch = check_count("first_epoch", first_epoch, 0)
        self._indices = _checked_indices(indices, cache.count)
        self._arrange()

    def __len__(self) -> int:
        return math.ceil(len(self._indices) / self._batch_size)

    def __getitem__(self, index: int) -> Any:
        start = index * self._batch_size
        return self._rows(self._order[start : start + self._batch_size])

    def on_epoch_end(self) -> None:
        """Puts the samples into the order of the next epoch."""
        self._epoch += 1
        self._arrange()

    def _arrange(self):
        self._order = self._indices
        if self._shuffle:
            rng = np.random.default_rng([self._seed, self._epoch])
            self._order = self._cache.order(self._indices, rng)


def _checked_indices(indices, count):
    if indices is None:
        return np.arange(count)
    indices = np.asarray(indices)
    whole = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    if not whole or not len(indices):
        raise ValueError(
            "`indices` must be numbers of samples, one at least. Received: an "
            f"array of shape {indices.shape} and type {indices.dtype}."
        )
    if indices.min() < 0 or indices.max() >= count:
        raise ValueError(
            f"`indices` must be numbers of samples, from 0 to {count - 1}. "
            f"Received: {indices.min()} to {indices.max()}."
        )
    return indices
