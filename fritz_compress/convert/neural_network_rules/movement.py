"""What shuffles, slices and pads channels and positions as Core ML layers."""

import math

import numpy as np

from fritz_compress.convert.neural_network_rules.common import (
    channels_first,
    refuse,
)
from fritz_compress.convert.neural_network_rules.normalization import (
    add_linear,
)

# What Core ML calls the axes of Keras after the batch, by their number.
_AXES = {1: ("channel",), 3: ("height", "width", "channel")}
# Permutations of [sequence, channels, height, width].
_SWAP_CHANNELS_AND_HEIGHT = (0, 2, 1, 3)
_SWAP_CHANNELS_AND_WIDTH = (0, 3, 2, 1)
_PADDINGS = {"constant": "constant", "reflect": "reflection"}


def channel_shuffle(writer, node, sources, target):
    """Rows of channels that become columns, each with all positions."""
    groups = node.operation.groups
    shape = channels_first(node.inputs[0].shape, node.operation.name)
    channels, *positions = (*shape, 1, 1)[:3]
    rows = (groups, channels // groups, math.prod(positions))
    split, swapped = writer.blob(), writer.blob()
    writer.builder.add_reshape(writer.layer(), sources[0], split, rows, 0)
    writer.builder.add_permute(
        writer.layer(), _SWAP_CHANNELS_AND_HEIGHT, split, swapped
    )
    writer.builder.add_reshape(
        writer.layer(), swapped, target, (channels, *positions), 0
    )


def get_item(writer, node, sources, target):
    """Slices such as `x[:, ::2, ::2]` and `x[..., :8]`, axis by axis."""
    sizes = node.inputs[0].shape[1:]
    slices = [
        (axis, range(*chosen.indices(size)))
        for axis, chosen, size in zip(_AXES[len(sizes)], _slices(node), sizes)
        if chosen != slice(None)
    ]
    if not slices:
        return add_linear(writer, 1, 0, sources[0], target)
    targets = [*(writer.blob() for _ in slices[1:]), target]
    for (axis, chosen), before, after in zip(
        slices, [sources[0], *targets], targets
    ):
        if chosen.step < 0:
            refuse(node, "it reverses an axis.")
        ends = (chosen.start, chosen.stop, chosen.step)
        writer.builder.add_slice(writer.layer(), before, after, axis, *ends)


def pad(writer, node, sources, target):
    """Edges of pictures; those of channels while channels are the width."""
    rank, mode = len(node.inputs[0].shape), node.operation.mode
    widths = np.broadcast_to(node.operation.pad_width, (rank, 2)).tolist()
    if rank != 4 or any(widths[0]):
        refuse(node, "it does not pad heights, widths and channels alone.")
    if mode not in _PADDINGS:
        refuse(node, f"mode '{mode}' is none of {', '.join(_PADDINGS)}.")
    value = node.arguments.get("constant_values") or 0

    def write(edges, source, target):
        writer.builder.add_padding(
            writer.layer(), *edges, value, source, target, _PADDINGS[mode]
        )

    _, rows, columns, channels = widths
    if not any(channels):
        return write([*columns, *rows], sources[0], target)
    padded, swapped, wider = (writer.blob() for _ in range(3))
    order = _SWAP_CHANNELS_AND_WIDTH
    write([*columns, *rows], sources[0], padded)
    writer.builder.add_permute(writer.layer(), order, padded, swapped)
    write([*channels, 0, 0], swapped, wider)
    writer.builder.add_permute(writer.layer(), order, wider, target)


def _slices(node):
    """A slice for every axis but that of the batch."""
    key = node.arguments["key"]
    key = tuple(key) if isinstance(key, (tuple, list)) else (key,)
    if not all(isinstance(item, slice) or item is ... for item in key):
        refuse(node, "it picks by numbers, arrays or new axes, not slices.")
    place = key.index(...) if ... in key else len(key)
    before, after = key[:place], key[place + 1 :]
    missing = len(node.inputs[0].shape) - len(before) - len(after)
    batch, *others = (*before, *[slice(None)] * missing, *after)
    if batch != slice(None):
        refuse(node, "it picks samples.")
    return others
