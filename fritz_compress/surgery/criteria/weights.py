"""Criteria that look at the kernels of a group."""

from collections.abc import Callable, Iterator

import keras
import numpy as np

from fritz_compress.ops import importance
from fritz_compress.surgery.criteria.base import Criterion
from fritz_compress.surgery.groups import ChannelGroup


class KernelCriterion(Criterion):
    """Scores of every producer's filters, summed over the group.

    Those of each producer are divided by their mean first. Otherwise, in a
    residual trunk, the layer with the largest kernels would decide alone. A
    layer of zeros adds nothing.

    Subclasses set `filter_scores`: from a kernel and the axis that counts its
    filters to one number, not negative, per filter.
    """

    filter_scores: Callable[[np.ndarray, int], np.ndarray]

    def group_scores(self, group: ChannelGroup) -> np.ndarray:
        """The sum over the producers, shape `(group.channels,)`."""
        scores = np.zeros(group.channels)
        for kernel, axis, channels in kernels(group):
            own = channels >= 0
            found = self.filter_scores(kernel, axis)[own]
            mean = found.mean()
            if mean > 0:
                np.add.at(scores, channels[own], found / mean)
        return scores


class L1(KernelCriterion):
    """Sum of absolute weights of each filter.

    Reference: Li et al., "Pruning Filters for Efficient ConvNets",
    https://arxiv.org/abs/1608.08710, section 3.1.
    """

    filter_scores = staticmethod(importance.l1_norms)


class L2(KernelCriterion):
    """Euclidean length of each filter.

    Reference: He et al., "Soft Filter Pruning for Accelerating Deep
    Convolutional Neural Networks", https://arxiv.org/abs/1808.06866,
    section 3.2.
    """

    filter_scores = staticmethod(importance.l2_norms)


class GeometricMedian(KernelCriterion):
    """Sum of the distances to the other filters of the layer (FPGM).

    Filters near the geometric median go first, since the others can stand in
    for them; a small norm alone does not make a filter go.

    Reference: He et al., "Filter Pruning via Geometric Median for Deep
    Convolutional Neural Networks Acceleration",
    https://arxiv.org/abs/1811.00250, section 3.3.
    """

    filter_scores = staticmethod(importance.summed_distances)


class LayerAdaptiveMagnitude(KernelCriterion):
    """Squared norm over the sum of those at least as large (LAMP).

    The paper scores single weights of one layer. Here, as in Torch-Pruning,
    the unit is a channel of a group: the squared norms of its filters, each
    divided by its layer's mean and summed over the group's layers. Within a
    group the order is that of the sums; between groups, the score tells how
    much of what is left of the group would go.

    Reference: Lee et al., "Layer-adaptive Sparsity for the Magnitude-based
    Pruning", https://arxiv.org/abs/2010.07611, equation 1.
    """

    comparable = True
    filter_scores = staticmethod(importance.squared_norms)

    def group_scores(self, group: ChannelGroup) -> np.ndarray:
        """Scores in `[0, 1]`, shape `(group.channels,)`."""
        return importance.layer_adaptive(super().group_scores(group))


def kernels(
    group: ChannelGroup,
) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
    """The kernels that make the channels: value, axis, channel numbers."""
    for share in group.shares:
        if share.is_kernel:
            kernel = keras.ops.convert_to_numpy(share.weight)
            yield kernel, share.axis, share.channels
