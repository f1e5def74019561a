"""Names of the layers of a model and of the models inside it."""

import collections
from collections.abc import Iterable, Iterator

import keras

from fritz_compress.checks import check_name
from fritz_compress.graph import (
    flatten_layers,
    model_inside,
    weights_by_attribute,
)
from fritz_compress.suggestions import nearest


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
    by_name = {found: layer for layer, found in name_layers(model).items()}
    if check_name(name) in by_name:
        return by_name[name]
    meant = [path for path in by_name if path.endswith(f"/{name}")]
    meant = meant or nearest(name, by_name)
    hint = f" Did you mean {' or '.join(map(repr, meant))}?" if meant else ""
    raise ValueError(
        f"Model '{model.name}' has no layer of this name. Received: "
        f"'{name}'.{hint}"
    )


def every_layer(
    model: keras.Model,
) -> Iterator[tuple[keras.Layer, str, keras.Layer]]:
    """All layers of a model, those that wrappers and attention hold too.

    Yields: a layer as in `name_layers`, the name of a layer that it holds, or
    its own, such as `"attention/query"`, and that layer. Models inside the
    model are left out, as their layers come by themselves.
    """
    for layer, name in name_layers(model).items():
        if model_inside(layer) is not None or not isinstance(
            layer, keras.Layer
        ):
            continue
        for inner in flatten_layers(layer):
            yield layer, (
                name if inner is layer else f"{name}/{inner.name}"
            ), inner


def every_weight(
    model: keras.Model,
) -> Iterator[tuple[str, keras.Layer, str, keras.Variable]]:
    """All weights of a model, each once, in the order of the layers.

    Yields: the name of the layer that holds the weight, as in `every_layer`,
    that layer, the attribute, such as `"kernel"`, and the weight.
    """
    seen: set[int] = set()
    for _, name, layer in every_layer(model):
        for attribute, weight in weights_by_attribute(layer).items():
            # Layers inside the layer come by themselves.
            if "." not in attribute and id(weight) not in seen:
                seen.add(id(weight))
                yield name, layer, attribute, weight


class UniqueNames:
    """Names of the layers of a new model: each is given once."""

    def __init__(self):
        self._counts: collections.Counter[str] = collections.Counter()

    def __call__(self, wanted: str) -> str:
        """The name itself, or with a number behind it if it is taken."""
        self._counts[wanted] += 1
        count = self._counts[wanted]
        return wanted if count == 1 else self(f"{wanted}_{count - 1}")


def listed_reasons(reasons: Iterable[tuple[str, str]]) -> str:
    """Layers with the reason of each, to put behind a sentence."""
    listed = "; ".join(f"{names}: {why}" for names, why in reasons)
    return f" {listed}" if listed else ""


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
