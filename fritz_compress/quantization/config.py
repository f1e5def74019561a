"""How weights are quantized, for all layers or for some."""

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import keras

from fritz_compress.checks import check_count, described
from fritz_compress.ops.packing import check_nbits
from fritz_compress.ops.quantization import check_ranges
from fritz_compress.surgery.names import nearest

MODES = ("linear", "linear_symmetric", "kmeans", "product")
GRANULARITIES = (
    "per_tensor",
    "per_channel",
    "per_grouped_channel",
    "per_block",
)
LINEAR = ("linear", "linear_symmetric")
STARTS = ("optimal", "linear", "density", "random")
_PER_CODEBOOK = {"kmeans": GRANULARITIES[:3], "product": GRANULARITIES[::3]}


@dataclasses.dataclass(frozen=True)
class WeightConfig:
    """How the weights of a layer are quantized.

    Attributes:
        nbits: Bits of one code, 1 to 16. Defaults to 8.
        mode: "linear" for evenly spaced numbers, zero among them;
            "linear_symmetric" for as many above as below zero; "kmeans" for a
            codebook of single numbers, the optimal one; "product" for a
            codebook of sub-vectors (product quantization). Defaults to
            "linear_symmetric".
        granularity: What has a scale or a codebook of its own: "per_tensor",
            "per_channel" (output channel), "per_grouped_channel" (not
            linear), or "per_block" of consecutive inputs: for "linear" of
            `block_size` inputs per channel, for "product" one codebook per
            sub-vector position, as in Q-CNN. "product" knows per tensor and
            per block. By default "per_channel" for the linear modes, else
            "per_tensor".
        block_size: Inputs in a block. The largest divisor of the number of
            inputs that is not above it is taken. Defaults to 32.
        group_size: Channels that share a codebook, likewise. Defaults to 16.
        ranges: For the linear modes: "minmax", "percentile" or
            "least_squares", see `ops.quantization.linear_quantize`. By
            default "minmax", or "least_squares" below 6 bits.
        percentile: For `ranges="percentile"`. Defaults to 99.9.
        dimension: Numbers in a sub-vector, for "product". The largest divisor
            that is not above it is taken. Defaults to 4.
        vectors: What a sub-vector runs along: "inputs" or "outputs" of a
            kernel. Defaults to "inputs".
        start: For "kmeans": "optimal", or where Lloyd's algorithm starts, for
            comparison: "linear", "density" or "random".
        weight_threshold: Weights of fewer numbers are left. Defaults to 0.

    Raises:
        TypeError, ValueError: for a value that is not as described, or
            settings that do not go together.

    Example:

    >>> WeightConfig(nbits=4, mode="kmeans", granularity="per_channel")
    """

    nbits: int = 8
    mode: str = "linear_symmetric"
    granularity: str | None = None
    block_size: int = 32
    group_size: int = 16
    ranges: str | None = None
    percentile: float = 99.9
    dimension: int = 4
    vectors: str = "inputs"
    start: str = "optimal"
    weight_threshold: int = 0

    def __post_init__(self):
        check_nbits(self.nbits)
        _check_one_of("mode", self.mode, MODES)
        _check_one_of("granularity", self.granularity, (None, *GRANULARITIES))
        _check_one_of("vectors", self.vectors, ("inputs", "outputs"))
        _check_one_of("start", self.start, STARTS)
        check_ranges(self.ranges or "minmax", self.percentile)
        for name in ("block_size", "group_size", "dimension"):
            check_count(name, getattr(self, name))
        check_count("weight_threshold", self.weight_threshold, least=0)
        if self.granularity is None:
            default = "per_channel" if self.mode in LINEAR else "per_tensor"
            object.__setattr__(self, "granularity", default)
        self._check_together()

    def _check_together(self):
        linear = (*GRANULARITIES[:2], GRANULARITIES[3])
        known = _PER_CODEBOOK.get(self.mode, linear)
        if self.granularity not in known:
            raise ValueError(
                f"mode='{self.mode}' must have a granularity of {list(known)}. "
                f"Received: granularity='{self.granularity}'."
            )
        if self.ranges is not None and self.mode not in LINEAR:
            raise ValueError(
                "`ranges` is for the linear modes; a codebook has no range. "
                f"Received: ranges='{self.ranges}' with mode='{self.mode}'. "
                "Leave it out."
            )

    @property
    def levels_between(self) -> str:
        """What `ranges` is, or its default for this number of bits."""
        return self.ranges or ("minmax" if self.nbits >= 6 else "least_squares")


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
            near = nearest(str(key), known)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(
                f"Expected keys among {list(known)}. Received: {key!r}.{hint}"
            )


def _check_one_of(name, value, known):
    if value not in known:
        raise ValueError(
            f"`{name}` must be one of {list(known)}. Received: {value!r}."
        )


def _unknown(what, name, known):
    near = nearest(name, known)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return ValueError(
        f"The configuration is for layers of a {what} that the model does not "
        f"have. Received: '{name}'.{hint}"
    )
