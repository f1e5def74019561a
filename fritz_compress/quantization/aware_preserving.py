"""What earlier compression left in a kernel, for training to keep."""

import dataclasses

import numpy as np

from fritz_compress.ops.codes import CodebookCodes, group_numbers
from fritz_compress.ops.recognition import recognize


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
    """The clusters of a kernel whose weights are entries of a codebook.

    Args:
        kernel: With its output channels on the last axis.

    Returns: `None` for weights that are on a grid, or quantized in no way.
    """
    codes = recognize(kernel)
    if not isinstance(codes, CodebookCodes):
        return None
    size = codes.codebooks.shape[-1]
    entries = group_numbers(codes.groups, codes.shape) * size + codes.codes
    used, members = np.unique(entries, return_inverse=True)
    return Clusters(
        members.reshape(kernel.shape).astype("int32"),
        len(used),
        per_channel=codes.groups[-1] == kernel.shape[-1],
    )
