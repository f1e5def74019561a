"""Which channels of a model can only be removed together."""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

from fritz_compress.graph import weights_by_attribute
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
        """Raises a ValueError if a share holds NaN, which no rank orders."""
        for share in self.shares:
            if np.isnan(keras.ops.convert_to_numpy(share.weight)).any():
                raise ValueError(
                    "Weights must be numbers, to tell which filters matter. "
                    f"Received: NaN in '{share.weight.name}' of layer "
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
    roots: dict[tuple, list[int]] = {}
    for root, producers in _producers_by_root(flow).items():
        key = (tuple(producers), flow.labels.reason(root))
        roots.setdefault(key, []).append(root)
    revived = {
        int(flow.labels.roots(label)): operation
        for label, operation in flow.revivals.items()
    }
    return ChannelGroups(
        flow.graph.model.name,
        tuple(
            _group(flow, producers, reason, np.array(members), revived)
            for (producers, reason), members in roots.items()
        ),
        {
            flow.name(operation): f"{type(operation).__name__} {why}"
            for operation, why in flow.whole.items()
        },
    )


def _producers_by_root(flow) -> dict[int, dict[Producer, None]]:
    """For every class of labels who makes it, in the model's order."""
    found: dict[int, dict[Producer, None]] = {}
    for producer, labels in flow.produced.items():
        for root in flow.labels.roots(labels):
            found.setdefault(int(root), {})[producer] = None
    return found


def _group(flow, producers, reason, roots, revived):
    number = np.full(len(flow.labels), -1)
    number[roots] = np.arange(len(roots))

    def channels(labels):
        return number[flow.labels.roots(labels)]

    making = dict.fromkeys(producer.operation for producer in producers)
    shares = tuple(_shares(flow, channels, making))
    makers = tuple(map(flow.name, making))
    reviving = [revived[root] for root in roots if root in revived]
    return ChannelGroup(
        producers={
            flow.name(p.operation, p.part): channels(flow.produced[p])
            for p in producers
        },
        makers=makers,
        followers=tuple(
            dict.fromkeys(s.layer for s in shares if s.layer not in makers)
        ),
        readers=tuple(
            dict.fromkeys(
                flow.name(operation)
                for operation, labels in flow.readers
                if (channels(labels) >= 0).any()
            )
        ),
        channels=len(roots),
        frozen=reason,
        revived=flow.describe(reviving[0]) if reviving else None,
        shares=shares,
        roots=roots,
    )


def _shares(flow, channels, making):
    for layer, slots in flow.slots.items():
        weights = weights_by_attribute(layer)
        for attribute, slot in slots.items():
            for axis, labels in slot.makes.items():
                own = channels(labels)
                if (own >= 0).any():
                    yield Share(
                        layer=flow.name(layer),
                        weight=weights[attribute],
                        axis=axis,
                        channels=own,
                        is_kernel=layer in making and _is_kernel(attribute),
                    )


def _is_kernel(attribute):
    return attribute.endswith(("kernel", "embeddings"))
