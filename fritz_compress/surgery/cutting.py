"""Weights cut to the channels that are kept."""

from collections.abc import Callable

import numpy as np

from fritz_compress.surgery.flow import Flow, Slot

Keep = Callable[[np.ndarray], np.ndarray]
Cut = Callable[[np.ndarray], np.ndarray]


def cutters(flow: Flow, keep: Keep) -> dict[int, Cut]:
    """How the arrays of a model are cut, by the `id` of each variable.

    What belongs to a weight, such as an optimizer's momentum, is cut in the
    same way. Variables that are missing stay as they are.

    Args:
        flow: The labelled model.
        keep: From labels to the indices of those that are kept.
    """
    return {
        id(variable): _cutter(slot, keep)
        for variable, slot in labelled_variables(flow)
    }


def scales(flow: Flow, keep: Keep) -> dict[int, float]:
    """Factors for what is left of some weights, by the `id` of the variable."""
    return {
        id(variable): slot.scale(keep)
        for variable, slot in labelled_variables(flow)
        if slot.scale is not None
    }


def labelled_variables(flow: Flow):
    """Every variable with labels, and its slot."""
    for layer, slots in flow.slots.items():
        weights = flow.variables(layer)
        for attribute, slot in slots.items():
            yield weights[attribute], slot


def _cutter(slot: Slot, keep: Keep) -> Cut:
    def cut(value):
        if slot.blocks > 1:
            return _cut_blocks(value, slot, keep)
        for axis, labels in (*slot.reads.items(), *slot.makes.items()):
            kept = keep(labels)
            if len(kept) < len(labels):
                value = np.take(value, kept, axis)
        return value

    return cut


def _cut_blocks(value, slot, keep):
    """A grouped kernel: each group of filters reads channels of its own."""
    ((axis, read),) = slot.reads.items()
    (made,) = slot.makes.values()
    parts = zip(
        np.split(value, slot.blocks, -1),
        np.split(read, slot.blocks),
        np.split(made, slot.blocks),
    )
    return np.concatenate(
        [
            np.take(np.take(part, keep(own), axis), keep(new), -1)
            for part, own, new in parts
        ],
        axis=-1,
    )
