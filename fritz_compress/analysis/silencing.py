"""What a sensitivity analysis zeroes: weights of a kernel, or filters."""

import collections
import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from fritz_compress.analysis.probe import Zeros, pack
from fritz_compress.checks import check_built
from fritz_compress.graph import model_inside
from fritz_compress.layers.binary_kernel import has_few_bits
from fritz_compress.surgery import ChannelGroup, channel_groups, criteria
from fritz_compress.surgery.names import (
    find_layer,
    layers_inside,
    listed_reasons,
    name_layers,
)
from fritz_compress.surgery.pruning import checked_scores
from fritz_compress.surgery.rounding import kept_channels

# What has several axes at times and yet is no kernel: slopes of PReLU, biases
# of attention heads, what normalizations hold.
_NO_KERNELS = (
    "alpha",
    "beta",
    "bias",
    "gamma",
    "mean",
    "scale",
    "variance",
    "vector_u",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """Weights or filters to choose from.

    Attributes:
        name: The layer's name; of several tied layers that of the first.
        tied: The other layers that lose their filters with it.
        size: How many weights, or filters, there are.
    """

    name: str
    tied: tuple[str, ...]
    size: int

    def count(self, fraction: float) -> int:
        """How many go for a fraction: rounded down, never all."""
        wanted = (1 - fraction) * self.size
        return self.size - kept_channels(self.size, wanted, round_to=1)

    def zeros(self, fraction: float) -> list[Zeros]:
        """What to zero for a fraction: the ones that matter least."""
        gone = np.zeros(self.size, bool)
        gone[self._least(self.count(fraction))] = True
        return self._where(gone)


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel(Target):
    """The weights of one kernel, ranked by their magnitude."""

    weight: keras.Variable
    position: int

    @property
    def ranking(self) -> str:
        """What decides on the order, as a text."""
        return f"{self.name} by magnitude"

    def _least(self, count):
        magnitudes = np.abs(keras.ops.convert_to_numpy(self.weight)).ravel()
        # Not a sort: that takes seconds for 100 million weights.
        return np.argpartition(magnitudes, max(count - 1, 0))[:count]

    def _where(self, gone):
        return [pack(self.position, gone.reshape(self.weight.shape))]


@dataclasses.dataclass(frozen=True, eq=False)
class Filters(Target):
    """The filters of a channel group, and all that belongs to them."""

    group: ChannelGroup
    positions: dict[int, int]
    scores: np.ndarray

    @property
    def ranking(self) -> str:
        """What decides on the order, as a text."""
        return f"{self.name} by {self.scores.tolist()}"

    def _least(self, count):
        return np.argsort(self.scores, kind="stable")[:count]

    def _where(self, gone):
        found = []
        for share in self.group.shares:
            own = (share.channels >= 0) & gone[share.channels]
            if own.any():
                shape = [1] * len(share.weight.shape)
                shape[share.axis] = -1
                position = self.positions[id(share.weight)]
                found.append(pack(position, own.reshape(shape)))
        return found


def find_kernels(
    model: keras.Model,
    layers: Sequence[str] | None,
    ignored_layers: Sequence[str],
) -> tuple[list[Kernel], tuple[tuple[str, str], ...]]:
    """Every kernel of a model, and which layers with kernels are left out.

    A layer with several kernels, such as an LSTM, has a target for each,
    called `"lstm/recurrent_kernel"`.

    Raises:
        ValueError: for an unknown name, or one of a layer without kernels.
    """
    positions = {id(weight): n for n, weight in enumerate(model.weights)}
    chosen, ignored = _choice(model, layers, ignored_layers)
    found, skipped, seen = [], [], set()
    for layer, name in name_layers(model).items():
        kernels = _kernels(layer) if model_inside(layer) is None else []
        if not kernels or layer in ignored:
            skipped += [(name, "in ignored_layers")] * bool(kernels)
        elif has_few_bits(layer):
            reason = "its kernel has few bits, where a zero is a sign"
            skipped.append((name, reason))
        elif chosen is None or layer in chosen:
            seen.add(layer)
            for weight in kernels:
                label = name
                if len(kernels) > 1:
                    _, _, own = weight.path.rpartition(f"{layer.name}/")
                    label = f"{name}/{own}"
                size = int(np.prod(weight.shape))
                found.append(
                    Kernel(label, (), size, weight, positions[id(weight)])
                )
    _check_found(model, layers, seen, dict(skipped))
    return found, tuple(skipped)


def find_filters(
    model: keras.Model,
    criterion: criteria.Criterion,
    layers: Sequence[str] | None,
    ignored_layers: Sequence[str],
) -> tuple[list[Filters], tuple[tuple[str, str], ...]]:
    """The filters of every channel group, and which groups are left out.

    Raises:
        ValueError: for an unknown name, one of a layer whose filters must
            stay, or a model without a graph.
    """
    positions = {id(weight): n for n, weight in enumerate(model.weights)}
    by_name = {name: layer for layer, name in name_layers(model).items()}
    chosen, ignored = _choice(model, layers, ignored_layers)
    groups, skipped, seen = [], [], set()
    for group in channel_groups(model):
        members = {by_name[m] for m in (*group.makers, *group.followers)}
        reason = None if group.keeps_zero else group.note
        if members & ignored:
            reason = "in ignored_layers"
        if reason:
            skipped.append((", ".join(group.producers), reason))
        elif chosen is None or members & chosen:
            seen |= members
            groups.append(group)
    _check_found(model, layers, seen, dict(skipped))
    scores = checked_scores(criterion, model, groups)
    return [
        Filters(name, tied, group.channels, group, positions, group_scores)
        for group, group_scores, (name, tied) in zip(
            groups, scores, _labels(groups), strict=True
        )
    ], tuple(skipped)


def check_weights(model: keras.Model) -> None:
    """Raises a ValueError, with the layer, if a weight is not a number."""
    for layer, name in name_layers(model).items():
        for weight in layer.weights if model_inside(layer) is None else []:
            values = keras.ops.convert_to_numpy(weight)
            if not np.isfinite(values).all():
                found = "NaN" if np.isnan(values).any() else "infinity"
                raise ValueError(
                    "Weights must be numbers, to tell which matter. Received: "
                    f"{found} in '{weight.name}' of layer '{name}'. Go back to "
                    "weights from before training diverged."
                )


def _kernels(layer):
    return [
        weight
        for weight in layer.weights
        if len(weight.shape) > 1
        and weight.name not in _NO_KERNELS
        and "float" in keras.backend.standardize_dtype(weight.dtype)
    ]


def _choice(model, layers, ignored_layers):
    """The layers asked for (`None` for all) and those to leave out."""
    chosen, ignored = (
        layers_inside(find_layer(model, name) for name in names or ())
        for names in (layers, ignored_layers)
    )
    return None if layers is None else chosen, ignored


def _check_found(model, layers, seen, reasons):
    for name in layers or ():
        if not layers_inside([find_layer(model, name)]) & seen:
            why = [
                r for names, r in reasons.items() if name in names.split(", ")
            ]
            raise ValueError(
                f"Layer '{name}' of `layers` has nothing that can be zeroed"
                f"{': ' + why[0] if why else ''}. Leave it out, or pass "
                "`layers=None` for all that have."
            )
    if not seen:
        check_built(model)
        raise ValueError(
            f"Model '{model.name}' has nothing that can be zeroed."
            f"{listed_reasons(reasons.items())}"
        )


def _labels(groups):
    """A name for each group, and the layers it ties to the first."""
    used = collections.Counter()
    for group in groups:
        first, *others = group.producers
        used[first] += 1
        # One layer may make the channels of several groups.
        suffix = f"#{used[first]}" if used[first] > 1 else ""
        yield first + suffix, tuple(others)
