"""Configurations of layers, from what is typed."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras

from fritz_compress.surgery.config_by_layer import (
    ConfigByLayer,
    config_by_layer,
)
from fritz_compress.surgery.names import every_layer

LEFT = "none"
Leaf = TypeVar("Leaf")


def read_config(
    file: pathlib.Path | None,
    leaf: Callable[..., Leaf],
    example: str,
    **settings: Any,
) -> ConfigByLayer[Leaf]:
    """The configuration of a file, or of options.

    Args:
        file: A `.json` of what the Python function takes.
        leaf: Class of the configuration of one layer.
        example: What such a file may hold, for the error.
        **settings: Arguments of `leaf`; those that are `None` were not typed.

    Raises:
        ValueError: for settings that `leaf` refuses, a file that is none, or
            both file and settings.
    """
    typed = {k: value for k, value in settings.items() if value is not None}
    if file is None:
        return config_by_layer(typed, leaf)
    if typed:
        raise ValueError(
            f"--config says what --{' and --'.join(typed)} would. Received: "
            f"both. Write it into '{file}'."
        )
    if not file.is_file():
        raise ValueError(f"No configuration at '{file}'.")
    try:
        return config_by_layer(json.loads(file.read_bytes()), leaf)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"'{file}' must hold a configuration, such as {example}. "
            f"Received: {error}"
        ) from error


def with_layers(
    configs: ConfigByLayer[Leaf],
    entries: Sequence[str],
    model: keras.Model,
    number: str,
    changed: Callable[[Leaf | None, int], Leaf],
) -> ConfigByLayer[Leaf]:
    """The configurations with another number for some layers.

    Args:
        configs: What holds for these layers but for the number.
        entries: `NAME=NUMBER` or `NAME=none`, names as in
            `ConfigByLayer.layer_name_configs`; the first that matches counts.
        model: The model with the layers.
        number: What the number is, such as `"BITS"`, for the error.
        changed: From what holds for the layer to the same with the number.

    Raises:
        ValueError: for another form, or a number out of range.
    """
    layers = {name: layer for _, name, layer in every_layer(model)}
    found: dict[str, Leaf | None] = {}
    for entry in entries:
        name, _, typed = entry.rpartition("=")
        if not name or not (typed.isdecimal() or typed == LEFT):
            raise ValueError(
                f"--layer is NAME={number}, such as conv_1=4, or NAME={LEFT} "
                f"to leave a layer as it is. Received: '{entry}'."
            )
        base = configs.global_config
        if name in layers:
            base = configs.of(name, layers[name])
        found[name] = None if typed == LEFT else changed(base, int(typed))
    others = {**found, **configs.layer_name_configs, **found}
    return dataclasses.replace(configs, layer_name_configs=others)
