"""The criterion that every other one has to beat."""

from collections.abc import Sequence

import keras
import numpy as np

from fritz_compress.surgery.criteria.base import Criterion
from fritz_compress.surgery.groups import ChannelGroup


class Random(Criterion):
    """Uniform random scores, the same ones at every call.

    Args:
        seed: A non-negative int.
    """

    comparable = True

    def __init__(self, seed: int = 0):
        self.seed = seed

    def scores(
        self, model: keras.Model, groups: Sequence[ChannelGroup]
    ) -> list[np.ndarray]:
        """Scores in `[0, 1)`; see `Criterion.scores`."""
        for group in groups:
            group.check_numbers()
        rng = np.random.default_rng(self.seed)
        return [rng.random(group.channels) for group in groups]
