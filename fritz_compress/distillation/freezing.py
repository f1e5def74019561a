"""Which layers of a model are trainable, to be put back."""

from collections.abc import Iterator, Sequence

import keras


def trainable_flags(
    model: keras.Model,
) -> list[tuple[keras.Layer, bool]]:
    """Each layer with whether it is trainable, models inside included."""
    return [(layer, layer.trainable) for layer in _with_layers(model)]


def restore(flags: Sequence[tuple[keras.Layer, bool]]) -> None:
    """Makes layers trainable, or not, as they were."""
    for layer, trainable in flags:  # Outer ones first: they set inner ones.
        layer.trainable = trainable


def _with_layers(layer) -> Iterator[keras.Layer]:
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _with_layers(inner)
