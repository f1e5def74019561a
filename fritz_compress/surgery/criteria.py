"""How much each channel of a group matters, over all that is tied to it."""

import keras
import numpy as np

from fritz_compress.ops.importance import l1_norms
from fritz_compress.surgery.groups import ChannelGroup


def l1(group: ChannelGroup) -> np.ndarray:
    """L1 norm of every channel's filters, summed over the producers.

    The norms of each producer are divided by their mean first. Otherwise, in
    a residual trunk, the layer with the largest kernels would decide alone.

    Returns: one score per channel of the group. A layer of zeros adds
        nothing; a channel scores 0 only if all its filters are zero.

    Raises:
        ValueError: if a weight is NaN.
    """
    group.check_numbers()
    scores = np.zeros(group.channels)
    for share in group.shares:
        if not share.is_kernel:
            continue
        norms = l1_norms(keras.ops.convert_to_numpy(share.weight), share.axis)
        own = share.channels >= 0
        mean = norms[own].mean()
        if mean > 0:
            np.add.at(scores, share.channels[own], norms[own] / mean)
    return scores
