"""How many filters of which channel group shall go."""

import collections
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from fritz_compress.surgery import ChannelGroup
from fritz_compress.surgery.names import find_layer
from fritz_compress.surgery.rounding import kept_channels


class Target:
    """A channel group, how many channels it shall keep, and which it has.

    Args:
        group: The group.
        fraction: Of its channels to zero, rounded so that a multiple of
            `round_to` stays.
        round_to: See `kept_channels`.

    Attributes:
        zeroed: Which channels are zero, as booleans: none until `read`.
    """

    def __init__(self, group: ChannelGroup, fraction: float, round_to: int):
        self.group = group
        self.name = ", ".join(group.producers)
        self.round_to = round_to
        wanted = (1 - fraction) * group.channels
        self.final = kept_channels(group.channels, wanted, round_to)
        self.zeroed = np.zeros(group.channels, bool)

    def read(self) -> None:
        """Finds the channels that are zero now."""
        self.zeroed = self.group.zeroed

    @property
    def kept(self) -> int:
        """How many channels are not zeroed."""
        return int(np.count_nonzero(~self.zeroed))

    @property
    def reached(self) -> bool:
        """Whether no more channels need to go."""
        return self.kept <= self.final

    @property
    def next_kept(self) -> int:
        """How many channels to keep after one more step."""
        wanted = max(self.kept - self.round_to, 0)
        fewer = kept_channels(self.group.channels, wanted, self.round_to)
        return max(fewer, self.final)


def targets_of(
    network: keras.Model,
    groups: Sequence[ChannelGroup],
    fractions: float | Mapping[str, float],
    round_to: int,
    skipped: Mapping[str, str],
) -> list[Target]:
    """A target for each group that shall lose channels.

    Args:
        network: The model.
        groups: Those of its channel groups that may be pruned.
        fractions: One for all, or by the name of a layer. A layer that makes
            the channels of several groups may have them apart: its second
            group is called `"name#2"`.
        round_to: See `Target`.
        skipped: Why other groups may not be pruned, by their layers' names.

    Returns: the targets in the order of `groups` or of the mapping.

    Raises:
        ValueError: for an unknown name, for a layer that cannot be pruned, or
            for tied layers with different fractions.
    """
    if not isinstance(fractions, Mapping):
        return [Target(group, fractions, round_to) for group in groups]
    targets: dict[int, Target] = {}
    asked: dict[int, tuple[str, float]] = {}
    for name, fraction in fractions.items():
        named = _groups_named(name, groups, fractions)
        if not named and fraction > 0:
            raise _cannot_be_pruned(network, name, skipped)
        for group in named:
            other, before = asked.setdefault(id(group), (name, fraction))
            if before != fraction:
                raise ValueError(
                    "Layers that are tied must have one fraction, since their "
                    f"filters go together. Received: {before} for '{other}' "
                    f"and {fraction} for '{name}'."
                )
            targets[id(group)] = Target(group, fraction, round_to)
    return list(targets.values())


def _groups_named(name, groups, fractions):
    labels = _labels(groups)
    if name in labels.values():
        exact = [group for group in groups if labels[id(group)] == name]
        if "#" in name or f"{name}#2" in fractions:
            return exact
    return [group for group in groups if name in group.producers]


def _labels(groups):
    """The first layer of each group, numbered where it is that of several."""
    used = collections.Counter()
    labels = {}
    for group in groups:
        first = next(iter(group.producers))
        used[first] += 1
        suffix = f"#{used[first]}" if used[first] > 1 else ""
        labels[id(group)] = first + suffix
    return labels


def _cannot_be_pruned(network, name, skipped):
    find_layer(network, name.split("#")[0])
    reasons = [
        why for names, why in skipped.items() if name in names.split(", ")
    ]
    why = reasons[0] if reasons else "it makes no channels"
    return ValueError(
        f"Layer '{name}' in `fractions` cannot be pruned: {why}. Leave it out, "
        "or give it the fraction 0."
    )
