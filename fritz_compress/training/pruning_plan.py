"""Which channel groups lose how many filters, one step after another."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import keras

from fritz_compress.checks import (
    check_count,
    check_fraction,
    check_fractions,
    check_names,
)
from fritz_compress.surgery import ChannelGroup, ChannelGroups, channel_groups
from fritz_compress.surgery.names import find_layer, listed_reasons
from fritz_compress.surgery.pruning import names_inside
from fritz_compress.surgery.rounding import kept_channels


@dataclasses.dataclass(frozen=True)
class Ladder:
    """The steps of one channel group.

    Attributes:
        producers: Names of the layers that make its channels.
        rungs: Channels to keep after each step, from many to few.
    """

    producers: tuple[str, ...]
    rungs: tuple[int, ...]


def plan_ladders(
    model: keras.Model,
    fractions: float | Mapping[str, float],
    step_fraction: float,
    round_to: int,
    ignored_layers: Sequence[str] = (),
) -> tuple[list[Ladder], tuple[tuple[str, str], ...]]:
    """The steps of every group, and the layers that have none, with reasons.

    Args: as in `training.prune_layer_by_layer`.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a fraction out of range, fractions that are all 0, an
            unknown layer, one whose channels must stay, or if there is no
            step at all.
    """
    check_fraction("step_fraction", step_fraction, "(0, 1]")
    round_to = check_count("round_to", round_to)
    fractions = check_fractions("fractions", fractions)
    ignored_layers = check_names("ignored_layers", ignored_layers)
    groups = channel_groups(model)
    ignored = names_inside(model, ignored_layers)
    ladders, skipped = [], []
    for group, fraction in _chosen(model, groups, fractions):
        rungs = tuple(_rungs(group.channels, fraction, step_fraction, round_to))
        named = ignored.intersection((*group.makers, *group.followers))
        if group.frozen:
            reason = group.note
        elif named:
            reason = f"'{min(named)}' is in ignored_layers"
        elif not rungs:
            reason = (
                f"a fraction of {fraction} of {group.channels} filters is "
                f"nothing with round_to={round_to}"
            )
        else:
            ladders.append(Ladder(tuple(group.producers), rungs))
            continue
        skipped.append((", ".join(group.producers), reason))
    if not ladders:
        raise ValueError(
            f"Model '{model.name}' has no filters to remove."
            f"{listed_reasons(skipped)}"
        )
    return ladders, tuple(skipped)


def group_of(groups: ChannelGroups, producers: Sequence[str]) -> ChannelGroup:
    """The group that exactly these layers make."""
    return next(
        group
        for group in groups
        if tuple(group.producers) == tuple(producers) and not group.frozen
    )


def _rungs(
    channels: int, fraction: float, step_fraction: float, round_to: int
) -> Iterator[int]:
    lowest = kept_channels(channels, (1 - fraction) * channels, round_to)
    stride = max(round_to, step_fraction * channels)
    kept = channels
    while kept > lowest:
        wanted = max(kept - stride, 0)
        kept = max(lowest, kept_channels(kept, wanted, round_to))
        yield kept


def _chosen(model, groups, fractions):
    """Groups to try with the fraction of each, in their order."""
    if not isinstance(fractions, Mapping):
        yield from ((group, fractions) for group in groups)
        return
    found: dict[int, tuple[str, float]] = {}
    for name, fraction in fractions.items():
        for group in _made_by(model, groups, name, fraction):
            first, other = found.setdefault(id(group), (name, fraction))
            if other != fraction:
                raise ValueError(
                    f"Layers '{first}' and '{name}' shrink together and must "
                    f"have one fraction. Received: {other} and {fraction}. "
                    "Leave one of them out."
                )
            if first == name:
                yield group, fraction


def _made_by(model, groups, name, fraction):
    """The groups of a layer that may shrink."""
    made = [g for g in groups if name in (*g.producers, *g.makers)]
    if not made:
        find_layer(model, name)
    free = [group for group in made if not group.frozen]
    if not free and fraction > 0:
        reason = made[0].note if made else "it makes no channels"
        raise ValueError(
            f"Layer '{name}' cannot lose filters: {reason}. "
            "`surgery.channel_groups(model)` lists the layers that can."
        )
    return free
