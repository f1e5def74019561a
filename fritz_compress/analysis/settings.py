"""What the measurements of a sweep depend on, as short texts."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from fritz_compress.analysis.probe import Experiment


def settings_of(
    experiment: Experiment, **others: Sequence[np.ndarray | str]
) -> dict[str, str]:
    """A hash for each thing that, changed, makes another sweep.

    Args:
        experiment: The model and how it is evaluated.
        **others: What else the measurements depend on.
    """
    model = dict(experiment.config)
    compiled = dict(model.pop("compile_config", None) or {})
    evaluate = experiment.evaluate
    data = keras.tree.flatten([experiment.x, experiment.y])
    return {
        "model": digest(_text(_without_names(model))),
        "weights": digest(*experiment.weights),
        **{name: digest(*parts) for name, parts in others.items()},
        "metrics": digest(
            _text(compiled),
            getattr(evaluate, "__qualname__", type(evaluate).__name__),
        ),
        "data": digest(
            *(
                part if _is_numbers(part) else type(part).__name__
                for part in data
            )
        ),
    }


def model_digest(model: keras.Model) -> str:
    """A hash of what a model computes: its configuration and its weights.

    How it is compiled, what is trainable and how it is named is no part of it.
    """
    config = dict(keras.saving.serialize_keras_object(model))
    for key in ("compile_config", "registered_name", "module"):
        config.pop(key, None)
    config = _without_trainable(_without_names(config))
    return digest(_text(config), *model.get_weights())


def digest(*parts: np.ndarray | str) -> str:
    """A hash of texts, and of arrays with their types and shapes."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).view("uint8").data)
        else:
            found.update(part.encode())
        found.update(b"\0")
    return found.hexdigest()


def _without_names(config: Any) -> Any:
    """The configuration with numbers for names.

    Layers without a name of their own are counted by Keras: the same model
    made a second time has others.
    """
    numbers = {name: f"#{n}" for n, name in enumerate(_names(config))}

    def replaced(value):
        if isinstance(value, dict):
            return {key: replaced(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [replaced(inner) for inner in value]
        return numbers.get(value, value) if isinstance(value, str) else value

    return replaced(config)


def _without_trainable(config: Any) -> Any:
    if isinstance(config, dict):
        return {
            key: _without_trainable(value)
            for key, value in config.items()
            if key != "trainable"
        }
    if isinstance(config, (list, tuple)):
        return [_without_trainable(value) for value in config]
    return config


def _names(config) -> Iterator[str]:
    """The names of a model and its layers, in their order, each once."""

    def walk(value):
        if isinstance(value, dict):
            if isinstance(value.get("name"), str):
                yield value["name"]
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            for inner in value:
                yield from walk(inner)

    return iter(dict.fromkeys(walk(config)))


def _is_numbers(value):
    return isinstance(value, np.ndarray) and not value.dtype.hasobject


def _text(config):
    return json.dumps(config, sort_keys=True)
