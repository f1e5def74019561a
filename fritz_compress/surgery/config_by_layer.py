"""One configuration for all layers, and others for some of them."""

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import keras

from fritz_compress.checks import described
from fritz_compress.suggestions import did_you_mean

Leaf = TypeVar("Leaf")


@dataclasses.dataclass(frozen=True)
class ConfigByLayer(Generic[Leaf]):
    """One configuration for all layers, and others for some.

    A name counts more than a type, and a type more than all; `None` leaves a
    layer as it is.

    Attributes:
        global_config: For all layers that nothing else is said of.
        layer_type_configs: By class name, such as `"Conv2D"`.
        layer_name_configs: By layer name, or a pattern as of file names, such
            as `"block_1*"` or `"*/attention/*"`; the first that matches.

    Example: 4 bits, but 8 in the first layer and none in dense layers.

    >>> ConfigByLayer(
    ...     WeightConfig(nbits=4),
    ...     layer_type_configs={"Dense": None},
    ...     layer_name_configs={"conv_1": WeightConfig(nbits=8)},
    ... )
    """

    global_config: Leaf | None = None
    layer_type_configs: Mapping[str, Leaf | None] = dataclasses.field(
        default_factory=dict
    )
    layer_name_configs: Mapping[str, Leaf | None] = dataclasses.field(
        default_factory=dict
    )

    def named(self, name: str) -> bool:
        """Whether a layer is configured by its name."""
        return any(
            fnmatch.fnmatchcase(name, p) for p in self.layer_name_configs
        )

    def of(self, name: str, layer: keras.Layer) -> Leaf | None:
        """The configuration of a layer."""
        for pattern, config in self.layer_name_configs.items():
            if fnmatch.fnmatchcase(name, pattern):
                return config
        kind = type(layer).__name__
        return self.layer_type_configs.get(kind, self.global_config)

    def map(self, change: Callable[[Leaf], Leaf]) -> "ConfigByLayer[Leaf]":
        """The same with every configuration changed; `None` stays."""

        def changed(config):
            return None if config is None else change(config)

        return ConfigByLayer(
            changed(self.global_config),
            {k: changed(v) for k, v in self.layer_type_configs.items()},
            {k: changed(v) for k, v in self.layer_name_configs.items()},
        )

    def check_used(self, layers: Iterable[tuple[str, keras.Layer]]) -> None:
        """Raises a ValueError for a name or a type that no layer has."""
        layers = list(layers)
        names = [name for name, _ in layers]
        kinds = {type(layer).__name__ for _, layer in layers}
        for kind in self.layer_type_configs:
            if kind not in kinds:
                raise _unknown("type", kind, sorted(kinds))
        for pattern in self.layer_name_configs:
            if not fnmatch.filter(names, pattern):
                raise _unknown("name", pattern, names)


FIELDS = tuple(field.name for field in dataclasses.fields(ConfigByLayer))


def config_by_layer(
    config: Any, leaf: Callable[..., Leaf]
) -> ConfigByLayer[Leaf]:
    """What a user passed, as one object.

    Args:
        config: A leaf for all layers; a `ConfigByLayer`; a mapping with the
            arguments of either, and mappings in place of leaves; or `None`
            for the defaults.
        leaf: Class of the configuration of one layer.

    Raises:
        TypeError: for anything else.
        ValueError: for a key that neither has.
    """
    if config is None:
        return ConfigByLayer(leaf())
    if isinstance(config, Mapping) and set(config) & set(FIELDS):
        _check_keys(config, FIELDS)
        config = ConfigByLayer(**config)
    if not isinstance(config, ConfigByLayer):
        return ConfigByLayer(_leaf(config, leaf))
    return config.map(lambda value: _leaf(value, leaf))


def _leaf(value, leaf):
    if isinstance(value, leaf):
        return value
    if isinstance(value, Mapping):
        _check_keys(value, [field.name for field in dataclasses.fields(leaf)])
        return leaf(**value)
    raise TypeError(
        f"Expected a {leaf.__name__}, a dictionary of its arguments, or None "
        f"to leave layers as they are. Received: {described(value)}."
    )


def _check_keys(config, known):
    for key in config:
        if key not in known:
            raise ValueError(
                f"Expected keys among {list(known)}. Received: {key!r}."
                f"{did_you_mean(str(key), known)}"
            )


def _unknown(what, name, known):
    return ValueError(
        f"The configuration is for layers of a {what} that the model does not "
        f"have. Received: '{name}'.{did_you_mean(name, known)}"
    )
