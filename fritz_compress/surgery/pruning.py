"""The filters that matter least removed, in one call."""

import bisect
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from fritz_compress.checks import (
    check_count,
    check_fractions,
    check_names,
)
from fritz_compress.surgery import criteria
from fritz_compress.surgery.choosing import lowest
from fritz_compress.surgery.criteria.base import name_of
from fritz_compress.surgery.groups import ChannelGroup, groups_of
from fritz_compress.surgery.labelling import label_channels
from fritz_compress.surgery.names import (
    find_layer,
    layers_inside,
    listed_reasons,
    name_layers,
)
from fritz_compress.surgery.removal import remove_channels
from fritz_compress.surgery.rounding import kept_channels, whole_channels
from fritz_compress.surgery.rules import find_rule


def prune_filters(
    model: keras.Model,
    fraction: float | Mapping[str, float],
    criterion: (
        str | criteria.Criterion | Callable[[ChannelGroup], np.ndarray]
    ) = "l1",
    *,
    scope: str = "layer",
    round_to: int = 4,
    ignored_layers: Sequence[str] = (),
    min_filters: int = 4,
    prune_normalized: bool = False,
    optimizer_state: bool = False,
) -> keras.Model:
    """A new model without the filters that matter least.

    Layers that can only shrink together (`channel_groups` lists them) are
    scored together. With `scope="layer"` the same fraction of every group
    goes, with `scope="global"` that fraction of all channels, more from
    groups whose scores are low. The rest computes what it would if the
    readers of a removed channel were deaf to it: accuracy drops, and comes
    back, or most of it, with training.

    Groups are left as they are where channels must stay (outputs of the
    model, layers without a rule) and where a layer is ignored.

    Args:
        model: A Functional or built Sequential model. It is not changed.
        fraction: Fraction of the channels to remove, in `[0, 1)`, not a
            percent; or one for each layer by name, and nothing else shrinks
            but what is tied to these. A layer of fraction 0 stays whole. A
            layer with several kinds of channels may have a fraction for each,
            as `{"attention:heads": 0.25}`.
        criterion: What makes a filter matter: `"l1"`, `"l2"`, `"bn_scale"`,
            `"fpgm"`, `"lamp"`, `"random"`, an object of
            `surgery.criteria` such as `Taylor(x, y)`, or a function from a
            `ChannelGroup` to one score per channel.
        scope: `"layer"` or `"global"`. Scores of different groups are
            compared as they are if the criterion says so (`comparable`),
            otherwise divided by the mean of their group.
        round_to: The number of filters kept is rounded up to a multiple of
            this. With 1 it is the integer below `filters * (1 - fraction)`.
            Units of recurrent layers count as filters do; attention heads
            go one by one, whatever `round_to` and `min_filters` say.
        ignored_layers: Names of layers, or of models inside the model, whose
            groups keep all channels.
        min_filters: Layers keep at least so many filters, or all they have.
        prune_normalized: As in `remove_filters`.
        optimizer_state: As in `remove_filters`.

    Returns: a model with the same names, compiled as `model` is; see
        `remove_filters` for what is carried over.

    Raises:
        TypeError: for an argument of the wrong type, such as a layer that is
            not given by its name.
        ValueError: for a value out of range, fractions that are all 0, an
            unknown name (with the nearest), a named layer whose channels must
            stay, NaN among the weights, a model without a graph, or if
            nothing would be removed, with the reasons.

    References: Li et al., "Pruning Filters for Efficient ConvNets",
    https://arxiv.org/abs/1608.08710; the criteria name theirs.

    Example:

    >>> smaller = prune_filters(model, 0.25, "l2", ignored_layers=["stem"])
    >>> print(removal_report(model, smaller))
    """
    fraction = check_fractions("fraction", fraction)
    ignored_layers = check_names("ignored_layers", ignored_layers)
    _check_options(scope, round_to, min_filters)
    criterion = criteria.get(criterion)
    flow = label_channels(model, find_rule, prune_normalized)
    fractions = _fractions(model, groups_of(flow), fraction, ignored_layers)
    groups = list(fractions)
    scores = checked_scores(criterion, model, groups)
    quotas = [_Quota.of(group, round_to, min_filters) for group in groups]
    if scope == "layer":
        kept = _kept_per_group(fractions, quotas)
    else:
        comparable = [
            found if criterion.comparable else _over_mean(found)
            for found in scores
        ]
        kept = _kept_over_all(fractions, quotas, comparable)
    _check_something_goes(groups, kept, round_to, min_filters)
    counts = [group.channels - k for group, k in zip(groups, kept)]
    gone = lowest(flow, groups, scores, counts)
    return remove_channels(flow, gone, optimizer_state)


def checked_scores(
    criterion: criteria.Criterion,
    model: keras.Model,
    groups: Sequence[ChannelGroup],
) -> list[np.ndarray]:
    """What a criterion says, if that is one finite number per channel.

    Raises:
        ValueError: if it is not, with the layer.
    """
    found = [np.asarray(s) for s in criterion.scores(model, groups)]
    for group, scores in zip(groups, found, strict=True):
        if scores.shape != (group.channels,) or not np.isfinite(scores).all():
            problem = f"shape {scores.shape}"
            if scores.shape == (group.channels,):
                problem = f"{scores[~np.isfinite(scores)][0]} among them"
            raise ValueError(
                f"Criterion '{name_of(criterion)}' must give one "
                f"finite score to each of the {group.channels} channels of "
                f"layer '{_name(group)}'. Received: {problem}."
            )
    return found


def names_inside(model: keras.Model, layers: Sequence[str]) -> set[str]:
    """Names of layers, and of all layers of the models among them."""
    names = name_layers(model)
    found = [find_layer(model, name) for name in layers]
    return {names[layer] for layer in layers_inside(found)}


@dataclasses.dataclass(frozen=True)
class _Quota:
    """How many channels a group may keep.

    Attributes:
        channels: How many there are.
        step: The number kept is a multiple of this, or all.
        fewest: It is at least this, or all.
    """

    channels: int
    step: int
    fewest: int

    @classmethod
    def of(cls, group, round_to, min_filters):
        if any(name.endswith(":heads") for name in group.producers):
            return cls(group.channels, step=1, fewest=1)
        # A channel of a group is several filters of a grouped convolution.
        filters = np.unique(
            np.concatenate(
                [np.bincount(c[c >= 0]) for c in group.producers.values()]
            )
        )
        filters = [int(count) for count in filters if count]
        steps = [round_to // math.gcd(round_to, count) for count in filters]
        fewest = math.ceil(min_filters / min(filters))
        return cls(group.channels, math.lcm(*steps), fewest)

    def kept(self, wanted: int) -> int:
        wanted = min(max(wanted, self.fewest), self.channels)
        return kept_channels(self.channels, wanted, self.step)


def _kept_per_group(fractions, quotas):
    return [
        quota.kept(whole_channels(quota.channels, fraction))
        for fraction, quota in zip(fractions.values(), quotas)
    ]


def _kept_over_all(fractions, quotas, scores):
    """Channels kept of each group if all compete with each other.

    As many of the lowest scores go as can, before rounding leaves fewer than
    the fraction asks for.
    """
    sizes = [quota.channels for quota in quotas]
    overall = np.average(list(fractions.values()), weights=sizes)
    enough = whole_channels(sum(sizes), overall)
    ranked = np.repeat(np.arange(len(sizes)), sizes)
    ranked = ranked[np.argsort(np.concatenate(scores), kind="stable")]

    def kept(gone):
        counts = np.bincount(ranked[:gone], minlength=len(sizes))
        return [q.kept(q.channels - int(n)) for q, n in zip(quotas, counts)]

    # The sum falls as more go: the last number for which it is enough.
    gone = bisect.bisect_right(
        range(1, len(ranked) + 1), -enough, key=lambda n: -sum(kept(n))
    )
    return kept(gone)


def _over_mean(scores):
    mean = scores.mean()
    return scores / mean if mean > 0 else scores


def _fractions(model, groups, fraction, ignored_layers):
    """The fraction for each group that is to shrink."""
    parts = {part for group in groups for part in group.producers}
    ignored = parts.intersection(ignored_layers) | names_inside(
        model, [name for name in ignored_layers if name not in parts]
    )
    reasons = {group: _reason_to_stay(group, ignored) for group in groups}
    if isinstance(fraction, Mapping):
        return _named_fractions(model, reasons, fraction)
    free = [group for group, reason in reasons.items() if reason is None]
    if not free:
        listed = listed_reasons((_name(g), why) for g, why in reasons.items())
        raise ValueError(f"Model '{model.name}' has nothing to prune.{listed}")
    return dict.fromkeys(free, fraction)


def _named_fractions(model, reasons, fractions):
    found = {}
    for path, fraction in fractions.items():
        own = {g: why for g, why in reasons.items() if path in g.producers}
        if not own:
            name = name_layers(model)[find_layer(model, path)]
            own = {g: why for g, why in reasons.items() if name in g.makers}
        if not own:
            raise ValueError(
                f"Layer '{path}' makes no channels, so none can be removed. "
                "Name the layer that does, such as the convolution before it."
            )
        if fraction and all(own.values()):
            raise ValueError(
                f"Layer '{path}' must keep its channels: "
                f"{'; '.join(own.values())}. `channel_groups(model)` lists the "
                "layers that can shrink."
            )
        for group in (group for group, why in own.items() if why is None):
            if found.setdefault(group, fraction) != fraction:
                raise ValueError(
                    f"Layers {list(group.producers)} shrink together, so that "
                    "they need one fraction. Received: "
                    f"{found[group]} and {fraction}."
                )
    # A layer of fraction 0 stays whole, and competes with no other.
    return {group: fraction for group, fraction in found.items() if fraction}


def _reason_to_stay(group, ignored):
    if group.frozen:
        return group.frozen
    members = (*group.producers, *group.makers, *group.followers)
    named = ignored.intersection(members)
    return f"'{min(named)}' is in ignored_layers" if named else None


def _check_something_goes(groups, kept, round_to, min_filters):
    if any(g.channels > count for g, count in zip(groups, kept)):
        return
    sizes = ", ".join(f"{_name(g)} of {g.channels}" for g in groups)
    raise ValueError(
        f"Nothing to prune: with round_to={round_to} and min_filters="
        f"{min_filters} the fraction leaves every group whole ({sizes}). "
        "Raise `fraction`, or lower `round_to` and `min_filters`."
    )


def _check_options(scope, round_to, min_filters):
    if scope not in ("layer", "global"):
        raise ValueError(
            f"`scope` must be 'layer' or 'global'. Received: scope={scope!r}."
        )
    check_count("round_to", round_to)
    check_count("min_filters", min_filters)


def _name(group):
    return ", ".join(group.producers)
