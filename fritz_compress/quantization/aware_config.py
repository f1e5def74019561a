"""What a layer is quantized to, by its name, its class, or for all."""

import dataclasses
import fnmatch
from collections.abc import Mapping
from typing import Any

import keras

from fritz_compress.checks import check_count, check_fraction, described

_PRESERVABLE = ("zeros", "codebooks")
_PARTS = ("global_config", "layer_type_configs", "layer_name_configs")


@dataclasses.dataclass(frozen=True)
class AwareSettings:
    """How one layer is trained for integers.

    Attributes:
        weight_bits: Bits of a weight, 2 to 8. TFLite has 8 and 4.
        activation_bits: Bits of an activation, 8, or 16 with symmetric ranges.
        momentum: Of the moving average of the ranges, a fraction.
        preserve: What training keeps: `"zeros"`, `"codebooks"`, both or
            neither.

    Raises:
        TypeError, ValueError: for a value that is not as described.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    momentum: float = 0.99
    preserve: tuple[str, ...] = _PRESERVABLE

    def __post_init__(self):
        check_count("weight_bits", self.weight_bits, least=2)
        if self.weight_bits > 8:
            raise ValueError(
                "`weight_bits` must be from 2 to 8. Received: "
                f"weight_bits={self.weight_bits}."
            )
        if self.activation_bits not in (8, 16):
            raise ValueError(
                "`activation_bits` must be 8 or 16. Received: "
                f"activation_bits={self.activation_bits!r}."
            )
        check_fraction("momentum", self.momentum)
        kept = self.preserve
        if isinstance(kept, str) or not set(kept) <= set(_PRESERVABLE):
            raise ValueError(
                f"`preserve` must be a list of some of {list(_PRESERVABLE)}. "
                f"Received: preserve={kept!r}."
            )
        object.__setattr__(self, "preserve", tuple(kept))


class AwareConfig:
    """Settings for every layer of a model.

    Args:
        config: Settings for all layers, as a dictionary; or one with
            `"global_config"`, `"layer_type_configs"` (by class name) and
            `"layer_name_configs"` (by name, with `*` and `?` as in file
            names), each holding such dictionaries, or `None` for layers that
            stay float. A name counts more than a class, the first pattern
            that fits more than later ones. Number of bits and momentum of
            activations are the global ones.

    Raises:
        TypeError, ValueError: for what is no such dictionary.
    """

    def __init__(self, config: Mapping[str, Any] | None = None):
        config = _mapping("config", config)
        if not set(config) & set(_PARTS):
            config = {"global_config": config}
        _check_keys("config", config, _PARTS)
        whole = _mapping("global_config", config.get("global_config"))
        self.everywhere = _settings("global_config", whole, {})
        self._types, self._names = (
            {
                name: _settings(f"{part}['{name}']", own, whole)
                for name, own in _mapping(part, config.get(part)).items()
            }
            for part in _PARTS[1:]
        )

    def of(self, operation: keras.Operation) -> AwareSettings | None:
        """The settings of one layer, `None` if it stays float."""
        for pattern, settings in self._names.items():
            if fnmatch.fnmatchcase(operation.name, pattern):
                return settings
        kind = type(operation).__name__
        return self._types.get(kind, self.everywhere)

    def check_used(self, operations: list[keras.Operation]) -> None:
        """Whether every pattern and class fits a layer.

        Raises:
            ValueError: for one that fits none.
        """
        kinds = {type(operation).__name__ for operation in operations}
        names = [operation.name for operation in operations]
        for kind in set(self._types) - kinds:
            raise ValueError(
                f"`layer_type_configs` has '{kind}', but the model has no such "
                f"layer. It has {sorted(kinds)}."
            )
        for pattern in self._names:
            if not fnmatch.filter(names, pattern):
                raise ValueError(
                    f"`layer_name_configs` has '{pattern}', which fits no "
                    "layer of the model. Pass names as `layer.name` has them."
                )


def _settings(name, own, whole):
    if own is None:
        return None
    fields = [field.name for field in dataclasses.fields(AwareSettings)]
    own = _mapping(name, own)
    _check_keys(name, own, fields)
    settings = AwareSettings(**{**whole, **own})
    for field in ("activation_bits", "momentum") if whole is not own else ():
        if field in own and name != "global_config":
            raise ValueError(
                f"`{field}` is the same for all layers. Received: {name} with "
                f"'{field}'. Pass it in `global_config`."
            )
    return settings


def _mapping(name, value):
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(
            f"`{name}` must be a dictionary. Received: {described(value)}."
        )
    return value


def _check_keys(name, value, known):
    unknown = [key for key in value if key not in known]
    if unknown:
        raise ValueError(
            f"`{name}` may have the keys {list(known)}. Received: {unknown}."
        )
