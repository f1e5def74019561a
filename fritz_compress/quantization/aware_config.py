"""What a layer is trained for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from fritz_compress.checks import check_count, check_fraction
from fritz_compress.layers import DeprocessStylizedImage, StandardizeImage
from fritz_compress.surgery.config_by_layer import (
    ConfigByLayer,
    config_by_layer,
)
from fritz_compress.surgery.names import name_layers

_PRESERVABLE = ("zeros", "codebooks")
_SAME_FOR_ALL = ("activation_bits", "momentum")
# What turns pictures into numbers and back.
_ALWAYS_FLOAT = (DeprocessStylizedImage, StandardizeImage)


@dataclasses.dataclass(frozen=True)
class AwareConfig:
    """How a layer is trained for integers.

    Attributes:
        weight_bits: Bits of a weight, 2 to 8. Defaults to 8. TFLite has
            integers of 8 and 4.
        activation_bits: Bits of an activation, 8, or 16 with ranges that are
            symmetric around zero. The same for all layers. Defaults to 8.
        momentum: Share of an activation's range that a batch leaves, a
            fraction. The same for all layers. Defaults to 0.99.
        preserve: What training keeps, some of `"zeros"` and `"codebooks"`.
            Defaults to both.

    Raises:
        TypeError, ValueError: for a value that is not as described.

    Example:

    >>> AwareConfig(weight_bits=4)
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


class LayerSettings:
    """The configuration of each layer of a model.

    Args:
        model: The model.
        config: As `quantization_aware` takes it.

    Attributes:
        everywhere: What is the same for all layers.

    Raises:
        TypeError, ValueError: for a configuration that is not as described,
            or that names layers that the model does not have.
    """

    def __init__(
        self,
        model: keras.Model,
        config: ConfigByLayer | AwareConfig | Mapping[str, Any] | None,
    ):
        self._config = config_by_layer(config, AwareConfig)
        self._names = name_layers(model)
        self._config.check_used(
            [(name, layer) for layer, name in self._names.items()]
        )
        self.everywhere = self._config.global_config or AwareConfig()
        self._check_same_for_all()

    def of(self, operation: keras.Operation) -> AwareConfig | None:
        """The configuration of a layer, `None` if it is left float."""
        if isinstance(operation, _ALWAYS_FLOAT):
            return None
        name = self._names.get(operation, operation.name)
        return self._config.of(name, operation)

    def _check_same_for_all(self):
        others = {
            **self._config.layer_type_configs,
            **self._config.layer_name_configs,
        }
        for layers, other in others.items():
            for field in _SAME_FOR_ALL if other else ():
                own, whole = getattr(other, field), self.everywhere
                if own != getattr(whole, field):
                    raise ValueError(
                        f"`{field}` must be the same for all layers, "
                        f"{getattr(whole, field)} here. Received: "
                        f"{field}={own} for '{layers}'. Set it in "
                        "`global_config` and repeat it where others are set."
                    )
