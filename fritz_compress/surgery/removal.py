"""Filters removed for real: a new, smaller model."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from fritz_compress.checks import check_count, described
from fritz_compress.surgery.addressing import output_labels
from fritz_compress.surgery.choosing import emptied, keeping, lowest
from fritz_compress.surgery.cutting import cutters
from fritz_compress.surgery.flow import Flow
from fritz_compress.surgery.groups import groups_of
from fritz_compress.surgery.labelling import label_channels
from fritz_compress.surgery.rebuilding import rebuild
from fritz_compress.surgery.rounding import kept_channels
from fritz_compress.surgery.rules import find_rule
from fritz_compress.surgery.training_state import (
    carry_optimizer_state,
    check_optimizer,
    compile_like,
)


def remove_filters(
    model: keras.Model,
    filters: Mapping[str, Sequence[int]],
    *,
    prune_normalized: bool = False,
    optimizer_state: bool = False,
) -> keras.Model:
    """A new model without some of the filters.

    Everything tied to a filter goes along: the input slices of the layers
    that read it, the normalization after it, and the filters of other layers
    that are added to it (see `channel_groups`). The rest computes what it
    would if the readers were deaf to the removed channels.

    Args:
        model: A Functional or built Sequential model. It is not changed.
        filters: For each layer by name (`"encoder/conv"` in a nested model
            where the name alone is not unique) the indices of the output
            channels to remove. Negative ones count from the end; duplicates
            and indices tied to each other count once. A layer with several
            kinds of channels has a name for each, as `channel_groups` prints
            them: `"attention:heads"`.
        prune_normalized: Whether channels may go over which a layer, group
            or root-mean-square normalization takes its statistics. These,
            and so the output, then change; train on. Defaults to `False`.
        optimizer_state: Whether the new optimizer goes on from the state of
            the old one (momentum, moments, step count), cut as the weights
            are.

    Returns: a model with the same names, compiled as `model` is, with an
        optimizer and metrics of its own. (What cannot be made anew from its
        configuration, such as `exclude_from_weight_decay`, starts afresh.)

    Raises:
        TypeError: for what is no model or no mapping, or a layer that is not
            given by its name.
        ValueError: for an unknown layer, an index out of range, a layer whose
            channels must stay (the message says why), if a layer would lose
            all its channels, or if optimizer state is asked for that does not
            exist or cannot be cut.

    Warns: for a metric that cannot be made anew; it is left out.

    Example:

    >>> smaller = remove_filters(model, {"conv_1": [0, 3], "conv_2": [-1]})
    >>> print(removal_report(model, smaller))
    """
    if not isinstance(filters, Mapping):
        raise TypeError(
            "`filters` must be a mapping from layer names to indices, such as "
            "{'conv_1': [0, 3]}. "
            f"Received: {described(filters)}."
        )
    flow = label_channels(model, find_rule, prune_normalized)
    gone = [_roots(flow, name, indices) for name, indices in filters.items()]
    return remove_channels(flow, gone, optimizer_state)


def remove_pruned_filters(
    model: keras.Model, round_to: int = 1, *, optimizer_state: bool = False
) -> keras.Model:
    """A new model without the filters that `FilterPruning` zeroed.

    A channel goes if the kernels and biases that make it are zero, and so are
    scale, offset and mean of the normalizations after it, in all layers that
    are tied; then the output stays the same. A channel that something turns
    into another number than zero on its way (`channel_groups` says what)
    stays. In a group that is zero altogether one channel, or `round_to`,
    stays.

    Args:
        model: A Functional or built Sequential model. It is not changed.
        round_to: The number of channels left is a multiple of this, for which
            some zero channels stay, or the original number.
        optimizer_state: As in `remove_filters`.

    Returns: a model as `remove_filters` does; an equal one if nothing is zero.

    Raises:
        TypeError: for what is no model, or a `round_to` that is no whole
            number.
        ValueError: if `round_to` is below 1, the model has no graph, or a
            weight of a group that may shrink is NaN; and as `remove_filters`
            does for optimizer state.
    """
    round_to = check_count("round_to", round_to)
    flow = label_channels(model, find_rule)
    groups = [group for group in groups_of(flow) if group.keeps_zero]
    scores, counts = [], []
    for group in groups:
        group.check_numbers()
        zeroed = group.zeroed
        left = group.channels - np.count_nonzero(zeroed)
        kept = kept_channels(group.channels, left, round_to)
        counts.append(group.channels - kept)
        # The last ones go, so that a group of zeros keeps its first channel.
        scores.append(np.where(zeroed, -np.arange(group.channels), np.inf))
    gone = lowest(flow, groups, scores, counts)
    return remove_channels(flow, gone, optimizer_state)


def copied(
    model: keras.Model,
    replaced: Mapping[keras.Layer, Sequence[keras.Layer]] | None = None,
) -> keras.Model:
    """The same model made anew, not compiled; see `remove_filters`.

    Args:
        replaced: Layers that others take the place of, as in `rebuild`.
    """
    flow = label_channels(model, find_rule)
    return rebuild(flow, lambda labels: np.arange(len(labels)), replaced)


def remove_channels(
    flow: Flow, roots: Sequence[np.ndarray], optimizer_state: bool
) -> keras.Model:
    """A new model without some classes of channels; see `remove_filters`.

    Args:
        flow: The labelled original.
        roots: Arrays of the classes to remove.
        optimizer_state: Whether the optimizer's state is carried over.
    """
    model = flow.graph.model
    if optimizer_state:
        check_optimizer(model)
    keep = keeping(flow, roots)
    _check_something_stays(flow, keep)
    smaller = rebuild(flow, keep)
    compile_like(model, smaller)
    if optimizer_state:
        carry_optimizer_state(model, smaller, cutters(flow, keep))
    return smaller


def _roots(flow, name, indices):
    """Classes of the output channels of a layer, checked."""
    labels = output_labels(flow, name)
    indices = np.asarray(indices)
    if indices.size == 0:
        return indices.astype(int)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        hint = ""
        if indices.dtype == bool:
            hint = " Pass the indices of a mask: `np.flatnonzero(mask)`."
        raise ValueError(
            f"Filters of layer '{name}' must be a list of integers. Received: "
            f"{described(indices.tolist())}.{hint}"
        )
    outside = indices[(indices < -len(labels)) | (indices >= len(labels))]
    if outside.size:
        raise ValueError(
            f"Layer '{name}' has {len(labels)} channels, so that indices must "
            f"be in [-{len(labels)}, {len(labels)}). Received: "
            f"{outside.tolist()}."
        )
    roots = flow.labels.roots(labels[indices])
    for index, root in zip(indices, roots):
        reason = flow.labels.reason(root)
        if reason:
            raise ValueError(
                f"Channel {index} of layer '{name}' cannot be removed. It "
                f"must stay: {reason}. `channel_groups(model)` lists the "
                "layers that can shrink."
            )
    return roots


def _check_something_stays(flow, keep):
    for what, labels in emptied(flow, keep):
        raise ValueError(
            f"{what} would lose all of its {len(labels)} channels. Leave at "
            "least one of them: `channel_groups(model)` shows which layers "
            "shrink together."
        )
