"""Criteria that look at the normalizations of a group."""

from collections.abc import Sequence

import keras
import numpy as np

from fritz_compress.surgery.criteria.base import (
    Criterion,
    check_none_is_missing,
)
from fritz_compress.surgery.groups import ChannelGroup
from fritz_compress.surgery.names import name_layers


class BatchNormalizationScale(Criterion):
    """Absolute scale of the batch normalizations, averaged over the group.

    Network Slimming trains with an L1 penalty on these scales; without it
    they say less. Scales of different layers are compared as they are.

    A group without a batch normalization that has a scale is an error, since
    no number stands for it: put its layers into `ignored_layers`, or choose
    another criterion.

    Reference: Liu et al., "Learning Efficient Convolutional Networks through
    Network Slimming", https://arxiv.org/abs/1708.06519, section 3.
    """

    comparable = True

    def scores(
        self, model: keras.Model, groups: Sequence[ChannelGroup]
    ) -> list[np.ndarray]:
        """Mean absolute scales; see `Criterion.scores`.

        Raises:
            ValueError: if a weight is NaN, or groups have no scale.
        """
        for group in groups:
            group.check_numbers()
        layers = {name: layer for layer, name in name_layers(model).items()}
        found = [_scales(layers, group) for group in groups]
        check_none_is_missing(
            model,
            [group for group, scales in zip(groups, found) if not scales],
            "Criterion 'bn_scale' needs a BatchNormalization with `scale=True`",
        )
        return [_means(g.channels, s) for g, s in zip(groups, found)]


def _scales(layers, group):
    """Channel numbers and absolute scales of a group's normalizations."""
    found = []
    for share in group.shares:
        layer = layers[share.layer]
        if (
            isinstance(layer, keras.layers.BatchNormalization)
            and share.weight is layer.gamma
        ):
            scale = np.abs(keras.ops.convert_to_numpy(layer.gamma))
            own = share.channels >= 0
            found.append((share.channels[own], scale[own]))
    return found


def _means(count, scales):
    channels = np.concatenate([channels for channels, _ in scales])
    values = np.concatenate([values for _, values in scales])
    sums = np.bincount(channels, values, count)
    return sums / np.maximum(np.bincount(channels, minlength=count), 1)
