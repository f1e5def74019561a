"""How weights are quantized, from what is typed."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import keras

from fritz_compress.quantization import ConfigByLayer, WeightConfig
from fritz_compress.surgery.config_by_layer import config_by_layer
from fritz_compress.surgery.names import every_layer

LEFT = "none"


def read_config(
    file: pathlib.Path | None, **settings: int | str | None
) -> ConfigByLayer[WeightConfig]:
    """The configuration of a file, or of options.

    Args:
        file: A `.json` of what `quantize_weights` takes.
        **settings: Arguments of `WeightConfig`; those that are `None` were
            not typed.

    Raises:
        ValueError: for settings that `WeightConfig` refuses, a file that is
            none, or both file and settings.
    """
    typed = {k: value for k, value in settings.items() if value is not None}
    if file is None:
        return config_by_layer(typed, WeightConfig)
    if typed:
        raise ValueError(
            "--config says how weights are quantized. Received: "
            f"--{' and --'.join(typed)} as well. Write it into '{file}'."
        )
    if not file.is_file():
        raise ValueError(f"No configuration at '{file}'.")
    try:
        return config_by_layer(json.loads(file.read_bytes()), WeightConfig)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"'{file}' must hold a configuration, such as "
            '{"nbits": 4, "mode": "kmeans"}. Received: '
            f"{error}"
        ) from error


def with_layers(
    configs: ConfigByLayer[WeightConfig],
    entries: Sequence[str],
    model: keras.Model,
) -> ConfigByLayer[WeightConfig]:
    """The configurations with other bits for some layers.

    Args:
        configs: What holds for these layers but for the bits.
        entries: `NAME=BITS` or `NAME=none`, names as in
            `ConfigByLayer.layer_name_configs`; the first that matches counts.
        model: The model with the layers.

    Raises:
        ValueError: for another form, or numbers of bits out of range.
    """
    layers = {name: layer for _, name, layer in every_layer(model)}
    found: dict[str, WeightConfig | None] = {}
    for entry in entries:
        name, _, bits = entry.rpartition("=")
        if not name or not (bits.isdecimal() or bits == LEFT):
            raise ValueError(
                f"--layer is NAME=BITS, such as conv_1=4, or NAME={LEFT} to "
                f"leave a layer as it is. Received: '{entry}'."
            )
        base = configs.global_config
        if name in layers:
            base = configs.of(name, layers[name])
        found[name] = None
        if bits != LEFT:
            found[name] = dataclasses.replace(
                base or WeightConfig(), nbits=int(bits)
            )
    others = {**found, **configs.layer_name_configs, **found}
    return dataclasses.replace(configs, layer_name_configs=others)
