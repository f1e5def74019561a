"""The groups of a kernel that share a scale or a codebook."""

import math

import keras

from fritz_compress.quantization.config import WeightConfig
from fritz_compress.surgery.kernel_axes import channel_axes, summed_axes


def groups_of(
    layer: keras.Layer,
    attribute: str,
    shape: tuple[int, ...],
    config: WeightConfig,
) -> tuple[tuple[int, ...], str]:
    """The shape of the groups of a kernel, as `ops.codes` defines them.

    Args:
        layer: The layer that has the kernel.
        attribute: Which of its kernels.
        shape: Shape of the kernel.
        config: Its granularity, block and group size.

    Returns: the groups, and a note where they are not quite as asked for.
    """
    rank = len(shape)
    groups = [1] * rank
    if config.granularity == "per_tensor":
        return tuple(groups), ""
    channels = channel_axes(layer, rank, attribute)
    for axis in channels:
        groups[axis] = shape[axis]
    if config.granularity == "per_grouped_channel":
        axis = channels[-1]
        size = largest_divisor(shape[axis], config.group_size)
        groups[axis] = shape[axis] // size
        asked = min(config.group_size, shape[axis])
        return tuple(groups), _note("groups", size, asked, "channels")
    if config.granularity == "per_block":
        inputs = summed_axes(layer, rank, attribute)
        if not inputs:
            return tuple(groups), "per channel, as it has no axis of inputs"
        axis = inputs[-1]
        size = largest_divisor(shape[axis], config.block_size)
        groups[axis] = shape[axis] // size
        asked = min(config.block_size, shape[axis])
        return tuple(groups), _note("blocks", size, asked, "inputs")
    return tuple(groups), ""


def vectors_of(
    layer: keras.Layer,
    attribute: str,
    shape: tuple[int, ...],
    config: WeightConfig,
) -> tuple[int, int, tuple[int, ...], str]:
    """How a kernel is cut into sub-vectors.

    Args:
        layer, attribute, shape, config: As in `groups_of`.

    Returns: axis and length of the sub-vectors, the groups of the codes, and
    a note where the length is not as asked for.
    """
    rank = len(shape)
    axes = summed_axes(layer, rank, attribute)
    if config.vectors == "outputs" or not axes:
        axes = channel_axes(layer, rank, attribute)
    axis = axes[-1]
    length = largest_divisor(shape[axis], config.dimension)
    groups = [1] * rank
    if config.granularity == "per_block":
        groups[axis] = shape[axis] // length
    note = _note("sub-vectors", length, config.dimension, "numbers")
    return axis, length, tuple(groups), note


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is not above `most`.

    >>> largest_divisor(48, 32)
    24
    """
    return next(
        size
        for size in range(min(number, most), 0, -1)
        if math.gcd(number, size) == size
    )


def _note(what, size, asked, of):
    if size == asked:
        return ""
    return f"{what} of {size} {of}, as {asked} does not divide"
