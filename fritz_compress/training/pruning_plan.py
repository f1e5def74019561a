"""Which channel groups lose how many filters, one step after another."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import keras

from fritz_compress.surgery import ChannelGroup, ChannelGroups, channel_groups
from fritz_compress.surgery.names import find_layer
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
        ValueError: for a fraction out of range, an unknown layer, one whose
            channels must stay, or if there is no step at all.
    """
    _check_steps(step_fraction, round_to)
    groups = channel_groups(model)
    ignored = _ignored(model, ignored_layers)
    ladders, skipped = [], []
    for group, fraction in _chosen(model, groups, fractions):
        _check_fraction(fraction)
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
            f"Model '{model.name}' has no filters to remove. "
            + "; ".join(f"{names}: {why}" for names, why in skipped)
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
        for group in _made_by(model, groups, name):
            first, other = found.setdefault(id(group), (name, fraction))
            if other != fraction:
                raise ValueError(
                    f"Layers '{first}' and '{name}' shrink together and must "
                    f"have one fraction. Received: {other} and {fraction}. "
                    "Leave one of them out."
                )
            if first == name:
                yield group, fraction


def _made_by(model, groups, name):
    """The groups of a layer that may shrink."""
    made = [g for g in groups if name in (*g.producers, *g.makers)]
    if not made:
        find_layer(model, name)
    free = [group for group in made if not group.frozen]
    if not free:
        reason = made[0].note if made else "it makes no channels"
        raise ValueError(
            f"Layer '{name}' cannot lose filters: {reason}. "
            "`surgery.channel_groups(model)` lists the layers that can."
        )
    return free


def _check_steps(step_fraction, round_to):
    if not 0 < step_fraction <= 1:
        raise ValueError(
            "`step_fraction` must be a fraction in (0, 1], not a percent. "
            f"Received: step_fraction={step_fraction}."
        )
    if round_to < 1:
        raise ValueError(
            f"`round_to` must be at least 1. Received: round_to={round_to}."
        )


def _check_fraction(fraction):
    if not 0 <= fraction < 1:
        raise ValueError(
            "`fractions` must be fractions in [0, 1), not percents. "
            f"Received: {fraction}."
        )


def _ignored(model, ignored_layers):
    if isinstance(ignored_layers, str):
        raise ValueError(
            "`ignored_layers` must be a list of layer names. Received: "
            f"the string '{ignored_layers}'. Pass ['{ignored_layers}']."
        )
    return names_inside(model, ignored_layers)
