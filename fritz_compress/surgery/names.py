"""Names of the layers of a model and of the models inside it."""

import collections
import difflib
from collections.abc import Iterable

import keras

from fritz_compress.graph import model_inside


def name_layers(model: keras.Model) -> dict[keras.Operation, str]:
    """Names all layers of a model, layers of nested models included.

    A layer is called by its own name, or, where two nested models have layers
    of the same name, by its path such as `"encoder/convolution"`. Nested
    models have a name as well, and so has one inside `TimeDistributed`.
    """
    paths: dict[keras.Operation, str] = {}
    for layer, path in _paths(model, ""):
        paths.setdefault(layer, path)  # A shared layer keeps its first path.
    counts = collections.Counter(layer.name for layer in paths)
    return {
        layer: path if counts[layer.name] > 1 else layer.name
        for layer, path in paths.items()
    }


def find_layer(model: keras.Model, name: str) -> keras.Operation:
    """The layer of a name as given by `name_layers`.

    Raises:
        TypeError: if it is not a string.
        ValueError: if there is none, with the nearest name.
    """
    if not isinstance(name, str):
        raise TypeError(
            "Layers must be given by their name. Received: "
            f"{type(name).__name__} '{getattr(name, 'name', name)}'. Pass the "
            "string, such as `layer.name`."
        )
    by_name = {found: layer for layer, found in name_layers(model).items()}
    if name in by_name:
        return by_name[name]
    nearest = difflib.get_close_matches(name, by_name, n=1, cutoff=0.3)
    paths = [path for path in by_name if path.endswith(f"/{name}")]
    hint = ""
    if nearest or paths:
        hint = f" Did you mean {' or '.join(map(repr, paths or nearest))}?"
    raise ValueError(
        f"Model '{model.name}' has no layer of this name. Received: "
        f"'{name}'.{hint}"
    )


def layers_inside(
    layers: Iterable[keras.Operation],
) -> set[keras.Operation]:
    """The layers given, and all layers of the models among them."""
    found = set()
    for layer in layers:
        found.add(layer)
        inside = model_inside(layer)
        if inside is not None:
            found |= {inside} | layers_inside(inside.layers)
    return found


def _paths(model, prefix):
    for layer in model.layers:
        path = prefix + layer.name
        yield layer, path
        inside = model_inside(layer)
        if inside not in (None, layer):  # A model at every time step.
            path += f"/{inside.name}"
            yield inside, path
        if inside is not None:
            yield from _paths(inside, f"{path}/")
