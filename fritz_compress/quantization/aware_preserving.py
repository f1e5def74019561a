"""What earlier compression left in a kernel, for training to keep."""

import dataclasses

import keras
import numpy as np

MOST_ENTRIES = 256
# A kernel of fewer weights per entry has few values by chance, if at all.
LEAST_SHARED = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Clusters:
    """Which weights of a kernel share a value.

    Attributes:
        members: Number of its cluster for each weight, int32.
        count: How many clusters there are.
        per_channel: Whether each output channel has a codebook of its own.
    """

    members: np.ndarray
    count: int
    per_channel: bool


def clusters_of(kernel: np.ndarray) -> Clusters | None:
    """The clusters of a kernel, `None` if it has none.

    Args:
        kernel: With its output channels on the last axis.
    """
    whole = _clusters(kernel)
    if whole is not None:
        return Clusters(whole[0].reshape(kernel.shape), whole[1], False)
    members, count = [], 0
    for channel in np.moveaxis(kernel, -1, 0):
        own = _clusters(channel)
        if own is None:
            return None
        members.append(own[0].reshape(channel.shape) + count)
        count += own[1]
    return Clusters(np.stack(members, axis=-1).astype("int32"), count, True)


def has_zeros(layer: keras.layers.Layer) -> bool:
    """Whether a kernel has weights that were pruned."""
    return not np.all(keras.ops.convert_to_numpy(layer.kernel))


def _clusters(values):
    entries, members = np.unique(values, return_inverse=True)
    if len(entries) > min(MOST_ENTRIES, values.size // LEAST_SHARED):
        return None
    return members.astype("int32"), len(entries)
