"""Which filters callbacks may zero, how they are zeroed, how many are zero."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np

from fritz_compress.surgery import ChannelGroup, channel_groups
from fritz_compress.surgery.names import (
    find_layer,
    layers_inside,
    listed_reasons,
    name_layers,
)


def network_of(model: keras.Model) -> keras.Model:
    """The network that is trained: the student if `model` is a distiller."""
    if isinstance(model, keras.distillation.Distiller):
        return model.student
    return model


def select_groups(
    model: keras.Model, ignored_layers: Sequence[str] = ()
) -> tuple[list[ChannelGroup], tuple[tuple[str, str], ...]]:
    """The groups whose filters may be zeroed, and why the others may not.

    Args:
        model: A Functional or built Sequential model.
        ignored_layers: Names of layers, or of models inside the model, whose
            groups are left alone.

    Returns: the groups in the order of the model's layers; and for each group
        that is left alone the names of its layers and the reason.

    Raises:
        ValueError: for an unknown name, or if no group is left.
    """
    names = name_layers(model)
    ignored = {
        names[layer]
        for layer in layers_inside(
            find_layer(model, name) for name in ignored_layers
        )
    }
    frozen = {name for layer, name in names.items() if not layer.trainable}
    groups, skipped = [], []
    for group in channel_groups(model):
        reason = _reason_to_skip(group, ignored, frozen)
        if reason is None:
            groups.append(group)
        else:
            skipped.append((", ".join(group.producers), reason))
    if not groups:
        raise ValueError(
            f"Model '{model.name}' has no filters that can be pruned."
            f"{listed_reasons(skipped)}"
        )
    return groups, tuple(skipped)


def masks_of(
    groups: Sequence[ChannelGroup], zeroed: Sequence[np.ndarray]
) -> Iterator[tuple[keras.Variable, np.ndarray]]:
    """For each weight with a zeroed channel, where it may be non-zero.

    Args:
        groups: Channel groups.
        zeroed: For each of them which channels are zeroed, as booleans.

    Returns: pairs of a weight and a boolean mask that broadcasts to it.
    """
    masks: dict[int, tuple[keras.Variable, np.ndarray]] = {}
    for group, gone in zip(groups, zeroed, strict=True):
        for share in group.shares:
            own = (share.channels >= 0) & gone[share.channels]
            if own.any():
                shape = [1] * len(share.weight.shape)
                shape[share.axis] = -1
                weight, mask = masks.get(id(share.weight), (share.weight, True))
                mask = np.logical_and(mask, ~own.reshape(shape))
                masks[id(weight)] = (weight, mask)
    return iter(masks.values())


def zeroed_fraction(groups: Sequence[ChannelGroup]) -> float:
    """Fraction of the filters of the groups' layers that are zero now."""
    zeroed = total = 0
    for group in groups:
        gone = group.zeroed
        for channels in group.producers.values():
            own = channels[channels >= 0]
            zeroed += int(gone[own].sum())
            total += len(own)
    return zeroed / total


def _reason_to_skip(group, ignored, frozen):
    if not group.keeps_zero:
        return group.note
    named = ignored.intersection((*group.makers, *group.followers))
    if named:
        return f"'{min(named)}' is in ignored_layers"
    for share in group.shares:
        fixed = share.is_kernel and not share.weight.trainable
        if fixed or share.layer in frozen:
            return f"'{share.layer}' is not trainable"
    return None
