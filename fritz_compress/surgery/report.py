"""What a removal did, layer by layer."""

import dataclasses

import keras

from fritz_compress.checks import check_model
from fritz_compress.graph import model_inside
from fritz_compress.surgery.groups import channel_groups
from fritz_compress.surgery.names import name_layers


@dataclasses.dataclass(frozen=True)
class LayerChange:
    """One layer before and after.

    Attributes:
        name: Name of the layer, as in `channel_groups`.
        kind: Its class.
        channels_before, channels_after: How many it makes or scales;
            `None` for a layer that does neither.
        parameters_before, parameters_after: Number of weights, those that are
            not trained included.
    """

    name: str
    kind: str
    channels_before: int | None
    channels_after: int | None
    parameters_before: int
    parameters_after: int


@dataclasses.dataclass(frozen=True)
class RemovalReport:
    """What a removal did: print it for a table.

    Attributes:
        layers: All layers with weights.
        skipped: Layers that keep their channels, each with the reason.
    """

    layers: tuple[LayerChange, ...]
    skipped: tuple[tuple[str, str], ...]

    @property
    def parameters_before(self) -> int:
        return sum(layer.parameters_before for layer in self.layers)

    @property
    def parameters_after(self) -> int:
        return sum(layer.parameters_after for layer in self.layers)

    def __str__(self):
        rows = [("layer", "kind", "channels", "parameters")]
        rows += [_row(layer) for layer in self.layers]
        before, after = self.parameters_before, self.parameters_after
        rows.append(("total", "", "", _arrow(before, after)))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip()
            for row in rows
        ]
        lines += [f"skipped {names}: {why}" for names, why in self.skipped]
        return "\n".join(lines)


def removal_report(before: keras.Model, after: keras.Model) -> RemovalReport:
    """Compares a model with what `remove_filters` made of it.

    Args:
        before: The model that was given.
        after: The model that was returned.

    Raises:
        TypeError: for what is no model.
        ValueError: if the models do not have the same layers.
    """
    check_model(before, "before")
    check_model(after, "after")
    old, new = _layers(before), _layers(after)
    if old.keys() != new.keys():
        differing = sorted(old.keys() ^ new.keys())
        raise ValueError(
            f"Model '{after.name}' must have the layers of '{before.name}', "
            f"as `remove_filters` leaves them. Received: only one of them has "
            f"{differing[:5]}."
        )
    return RemovalReport(
        layers=tuple(
            LayerChange(
                name,
                type(layer).__name__,
                _channels(layer),
                _channels(new[name]),
                layer.count_params(),
                new[name].count_params(),
            )
            for name, layer in old.items()
            if layer.weights
        ),
        skipped=_skipped(before),
    )


def _skipped(model):
    groups = channel_groups(model)
    kept = [(", ".join(g.producers), g.note) for g in groups if g.note]
    return (*kept, *groups.whole.items())


def _layers(model):
    return {
        name: layer
        for layer, name in name_layers(model).items()
        if model_inside(layer) is None
    }


def _channels(layer):
    # Not the output's size: layers called more than once have no `output`.
    for attribute in ("filters", "units"):
        if hasattr(layer, attribute):
            return getattr(layer, attribute)
    vectors = [w.shape[0] for w in layer.weights if len(w.shape) == 1]
    return vectors[0] if vectors else None


def _row(layer):
    channels = ""
    if layer.channels_before is not None:
        channels = _arrow(layer.channels_before, layer.channels_after)
    parameters = _arrow(layer.parameters_before, layer.parameters_after)
    return layer.name, layer.kind, channels, parameters


def _arrow(before, after):
    return f"{before:,}" if before == after else f"{before:,} -> {after:,}"
