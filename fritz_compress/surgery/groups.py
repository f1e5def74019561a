"""Which channels of a model can only be removed together."""

import collections
import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

from fritz_compress.surgery.flow import Flow, Producer
from fritz_compress.surgery.labelling import label_channels
from fritz_compress.surgery.rules import find_rule


@dataclasses.dataclass(frozen=True, eq=False)
class Share:
    """What a group owns of one weight.

    Attributes:
        layer: Name of the layer.
        weight: The weight; kernel, bias, scale, offset or mean.
        axis: Axis along which the channels lie.
        channels: For every index along the axis the number of the channel in
            the group, -1 where it is not of the group.
        is_kernel: Whether this is a kernel that makes the channels.
    """

    layer: str
    weight: keras.Variable
    axis: int
    channels: np.ndarray
    is_kernel: bool


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Layers that shrink together.

    Attributes:
        producers: Layers that make these channels, and for every output
            channel of each its number in the group, -1 if in another group.
            A layer with several kinds of channels has a name for each, such
            as `"attention:heads"`.
        makers: Names of these layers, without the kinds.
        followers: Layers with weights per channel: normalizations, depthwise
            convolutions.
        readers: Layers that mix the channels into new ones.
        channels: How many there are to choose from.
        frozen: Why they all must stay, `None` if they may go.
        revived: What makes a channel of zero weights something else than
            zero, `None` if it stays zero at every reader.
        shares: What decides on the channels: all zero in a pruned channel.
        roots: The channels' labels in the model's flow.
    """

    producers: dict[str, np.ndarray]
    makers: tuple[str, ...]
    followers: tuple[str, ...]
    readers: tuple[str, ...]
    channels: int
    frozen: str | None
    revived: str | None
    shares: tuple[Share, ...]
    roots: np.ndarray

    @property
    def keeps_zero(self) -> bool:
        """Whether channels may go and, zeroed, may go without a trace."""
        return self.frozen is None and self.revived is None

    @property
    def note(self) -> str:
        """Why channels stay, or an empty string."""
        if self.frozen:
            return f"frozen: {self.frozen}"
        return f"not zero after {self.revived}" if self.revived else ""

    @property
    def zeroed(self) -> np.ndarray:
        """Which channels have zeros in every share, as booleans."""
        zeroed = np.ones(self.channels, bool)
        for share in self.shares:
            values = keras.ops.convert_to_numpy(share.weight)
            moved = np.moveaxis(values, share.axis, 0)
            used = moved.reshape(len(moved), -1).any(axis=1)
            zeroed[share.channels[used & (share.channels >= 0)]] = False
        return zeroed

    def check_numbers(self) -> None:
        """Raises a ValueError if a share holds NaN or infinity."""
        for share in self.shares:
            values = keras.ops.convert_to_numpy(share.weight)
            if not np.isfinite(values).all():
                found = "NaN" if np.isnan(values).any() else "infinity"
                raise ValueError(
                    "Weights must be numbers, to tell which filters matter. "
                    f"Received: {found} in '{share.weight.name}' of layer "
                    f"'{share.layer}'. Go back to weights from before "
                    "training diverged, and lower the learning rate."
                )

    def __str__(self):
        members = ", ".join(self.producers)
        if self.followers:
            members += f" (with {', '.join(self.followers)})"
        note = f"  [{self.note}]" if self.note else ""
        return f"{self.channels:>6}  {members}{note}"


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGroups:
    """The channel groups of a model: iterate, or print.

    Attributes:
        model: Name of the model.
        groups: In the order of the model's layers.
        whole: Why layers that no rule covers keep their channels, by name.
    """

    model: str
    groups: tuple[ChannelGroup, ...]
    whole: dict[str, str]

    def __iter__(self) -> Iterator[ChannelGroup]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    def of(self, layer: str) -> tuple[ChannelGroup, ...]:
        """The groups that a layer makes channels for."""
        return tuple(g for g in self.groups if layer in g.producers)

    def __str__(self):
        free = sum(group.frozen is None for group in self.groups)
        head = (
            f"Channel groups of '{self.model}': {len(self.groups)}, of which "
            f"{free} can shrink"
        )
        whole = [f"    kept  {name}: {why}" for name, why in self.whole.items()]
        return "\n".join(
            [head, "channels  layers"]
            + [f"  {group}" for group in self.groups]
            + whole
        )


def channel_groups(
    model: keras.Model, prune_normalized: bool = False
) -> ChannelGroups:
    """Finds which layers shrink together, and which must stay as they are.

    Args:
        model: A Functional or built Sequential model; it is not changed.
        prune_normalized: Whether channels may go over which a layer, group
            or root-mean-square normalization takes its statistics. A removal
            then changes these statistics, and so the output, even where the
            channels were zero. Defaults to `False`: they stay.

    Raises:
        ValueError: if the model has no graph to follow.

    Example:

    >>> print(channel_groups(model))
    Channel groups of 'two_branches': 2, of which 1 can shrink
    channels  layers
           8  left, right (with normalization)
           3  head  [frozen: an output of the model]
    """
    return groups_of(label_channels(model, find_rule, prune_normalized))


def groups_of(flow: Flow) -> ChannelGroups:
    """Like `channel_groups`, from labels already found."""
    keys: dict[tuple, list[int]] = {}
    for root, producers in _producers_by_root(flow).items():
        key = (tuple(producers), flow.labels.reason(root))
        keys.setdefault(key, []).append(root)
    parts = _Partition(flow, keys.values())
    shares, readers = _shares(flow, parts), _readers(flow, parts)
    revived = {
        int(flow.labels.roots(label)): flow.describe(operation)
        for label, operation in flow.revivals.items()
    }
    groups = []
    for place, ((producers, reason), roots) in enumerate(keys.items()):
        makers = dict.fromkeys(flow.name(p.operation) for p in producers)
        layers = dict.fromkeys(share.layer for share in shares[place])
        groups.append(
            ChannelGroup(
                producers={
                    flow.name(p.operation, p.part): parts.channels(
                        flow.produced[p], place
                    )
                    for p in producers
                },
                makers=tuple(makers),
                followers=tuple(x for x in layers if x not in makers),
                readers=tuple(readers[place]),
                channels=len(roots),
                frozen=reason,
                revived=next((revived[r] for r in roots if r in revived), None),
                shares=tuple(shares[place]),
                roots=np.array(roots),
            )
        )
    whole = {
        flow.name(operation): f"{type(operation).__name__} {why}"
        for operation, why in flow.whole.items()
    }
    return ChannelGroups(flow.graph.model.name, tuple(groups), whole)


class _Partition:
    """Which group every label is of, and which channel it is there."""

    def __init__(self, flow, groups):
        self.roots = flow.labels.roots(np.arange(len(flow.labels)))
        self.group = np.full(len(flow.labels), -1)
        self.number = np.full(len(flow.labels), -1)
        for place, roots in enumerate(groups):
            self.group[roots] = place
            self.number[roots] = np.arange(len(roots))

    def groups(self, labels):
        """Places of the groups that labels belong to."""
        return [g for g in np.unique(self.group[self.roots[labels]]) if g >= 0]

    def channels(self, labels, place):
        """Numbers of the channels in one group, -1 for those of others."""
        roots = self.roots[labels]
        return np.where(self.group[roots] == place, self.number[roots], -1)


def _producers_by_root(flow) -> dict[int, dict[Producer, None]]:
    """For every class of labels who makes it, in the model's order."""
    found: dict[int, dict[Producer, None]] = {}
    for producer, labels in flow.produced.items():
        for root in flow.labels.roots(labels).tolist():
            found.setdefault(root, {})[producer] = None
    return found


def _readers(flow, parts):
    """Names of the operations that mix the channels of each group."""
    found = collections.defaultdict(dict)
    for operation, labels in flow.readers:
        for place in parts.groups(labels):
            found[place][flow.name(operation)] = None
    return found


def _shares(flow, parts):
    """What each group owns of the weights, in the model's order."""
    found = collections.defaultdict(list)
    making = {producer.operation for producer in flow.produced}
    for layer, slots in flow.slots.items():
        for attribute, slot in slots.items():
            for axis, labels in slot.makes.items():
                for place in parts.groups(labels):
                    weight = flow.variables(layer)[attribute]
                    share = Share(
                        layer=flow.name(layer),
                        weight=weight,
                        axis=axis,
                        channels=parts.channels(labels, place),
                        is_kernel=layer in making
                        and _is_kernel(attribute, weight),
                    )
                    found[place].append(share)
    return found


def _is_kernel(attribute, weight):
    """By its name, or a matrix of a layer that calls it otherwise."""
    if attribute.endswith(("kernel", "embeddings")):
        return True
    return len(weight.shape) > 1 and not attribute.endswith("bias")
