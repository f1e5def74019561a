"""The penalty of regularized filters, and the step that lowers it."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from fritz_compress.compilation import compiled_update
from fritz_compress.surgery import ChannelGroup
from fritz_compress.surgery.groups import Share


class FilterPenalty:
    """The sum of `sqrt(size) * norm` over channels, and its proximal step.

    Args:
        penalized: For each channel group the shares that its norms are of.
    """

    def __init__(self, penalized: Sequence[tuple[ChannelGroup, list[Share]]]):
        self._members = [_Members(*pair) for pair in penalized]
        self._weights = list(
            {
                id(share.weight): share.weight
                for group, _ in penalized
                for share in group.shares
            }.values()
        )
        self._alive = [
            keras.Variable(np.ones(group.channels, "float32"), trainable=False)
            for group, _ in penalized
        ]
        self._update = compiled_update(
            self._shrunk, [*self._weights, *self._alive]
        )

    def read_alive(self) -> None:
        """Takes channels that are zero now for ones that shall stay zero."""
        for members, alive in zip(self._members, self._alive):
            alive.assign(~members.group.zeroed)

    def shrink(self, threshold: float) -> None:
        """Proximal step of `threshold` times the penalty, in place."""
        self._update(ops.convert_to_tensor(threshold, "float32"))

    def value(self) -> float:
        """The sum as it is now."""
        values = {
            id(weight): ops.convert_to_tensor(weight)
            for weight in self._weights
        }
        return sum(
            float(ops.sum(members.root_sizes * members.norms(values)))
            for members in self._members
        )

    def _shrunk(self, values, threshold):
        count = len(self._weights)
        old = {
            id(weight): ops.convert_to_tensor(value)
            for weight, value in zip(self._weights, values)
        }
        new, alive = dict(old), []
        for members, was_alive in zip(self._members, values[count:]):
            factors = was_alive * members.factors(old, threshold)
            members.multiply(new, factors)
            # Not `> 0`: what is not a number shall be seen, not be pruned.
            alive.append(ops.cast(factors != 0, "float32"))
        return [*new.values(), *alive]


class _Members:
    """The weights of one channel group, by channel.

    Args:
        group: The group.
        penalized: Those of its shares that norms are taken of.
    """

    def __init__(self, group: ChannelGroup, penalized: Sequence[Share]):
        self.group = group
        self.penalized = penalized
        sizes = np.zeros(group.channels)
        for share in penalized:
            own = share.channels >= 0
            each = math.prod(share.weight.shape) // len(share.channels)
            np.add.at(sizes, share.channels[own], each)
        self.root_sizes = np.sqrt(sizes).astype("float32")

    def norms(self, values):
        """L2 norm of each channel, from weights' values by `id`."""
        squares = 0.0
        for share in self.penalized:
            value = ops.cast(values[id(share.weight)], "float32")
            axes = range(len(value.shape))
            squares = squares + ops.segment_sum(
                ops.sum(
                    ops.square(value), axis=[i for i in axes if i != share.axis]
                ),
                self._positions(share),
                self.group.channels + 1,
            )
        return ops.sqrt(squares[:-1])

    def factors(self, values, threshold):
        """What block soft-thresholding multiplies each channel by."""
        norms = ops.maximum(self.norms(values), np.finfo("float32").tiny)
        return ops.maximum(1 - threshold * self.root_sizes / norms, 0)

    def multiply(self, values, factors):
        """Penalized weights times factors; in dead channels all are zero."""
        # One more factor, for what is not of this group.
        factors = ops.concatenate([factors, ops.ones((1,))])
        for share in self.group.shares:
            value = values[id(share.weight)]
            axes = range(len(value.shape))
            shape = [-1 if i == share.axis else 1 for i in axes]
            own = ops.reshape(ops.take(factors, self._positions(share)), shape)
            if share in self.penalized:
                value = value * ops.cast(own, value.dtype)
            values[id(share.weight)] = ops.where(
                own == 0, ops.zeros((), value.dtype), value
            )

    def _positions(self, share):
        outside = self.group.channels
        return np.where(share.channels < 0, outside, share.channels)
