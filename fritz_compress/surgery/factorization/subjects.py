"""The layers of a model that may be factorized, and what they would cost."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from fritz_compress.graph import Graph
from fritz_compress.layers.binary_kernel import has_few_bits
from fritz_compress.ops.decomposition import Rank
from fritz_compress.surgery.config_by_layer import ConfigByLayer
from fritz_compress.surgery.factorization import chains
from fritz_compress.surgery.factorization.config import FactorizationConfig
from fritz_compress.surgery.factorization.methods import (
    CONVOLUTIONS,
    METHODS,
    Method,
    default_method,
)
from fritz_compress.surgery.names import every_layer, every_weight


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a layer costs, one number each or one per candidate.

    Attributes:
        parameters: Numbers in its weights.
        macs: Multiply-accumulates of one sample, over all calls; `None` if
            a size is not known.
    """

    parameters: Any
    macs: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A layer that may be factorized.

    Attributes:
        name: Its name, as in `surgery.names.name_layers`.
        layer: The layer.
        config: What the user wants of it.
        shapes: Of its input, at every call.
        biased: Whether it is to have a bias, if it has none.
    """

    name: str
    layer: keras.Layer
    config: FactorizationConfig
    shapes: Sequence[tuple[int | None, ...]]
    biased: bool

    @property
    def method_name(self) -> str:
        return self.config.method or default_method(self.layer)

    @property
    def method(self) -> Method:
        return METHODS[self.method_name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel."""
        return tuple(self.layer.kernel.shape)

    @property
    def use_bias(self) -> bool:
        """Whether the layers that take its place have a bias."""
        return self.layer.use_bias or self.biased

    @property
    def bias(self) -> np.ndarray | None:
        """The layer's bias; zeros if it is to have one."""
        if self.layer.use_bias:
            return keras.ops.convert_to_numpy(self.layer.bias)
        return np.zeros(self.shape[-1], "float32") if self.biased else None

    @functools.cached_property
    def kernel(self) -> np.ndarray:
        """The kernel in float32.

        Raises:
            ValueError: if it is not finite.
        """
        kernel = keras.ops.convert_to_numpy(
            keras.ops.cast(self.layer.kernel, "float32")
        )
        # Minimum and maximum need no memory of the kernel's size.
        if not np.isfinite([kernel.min(), kernel.max()]).all():
            raise ValueError(
                f"The kernel of layer '{self.name}' must be finite. Received: "
                "numbers that are not. Go back to weights from before "
                "training diverged."
            )
        return kernel

    @functools.cached_property
    def before(self) -> Cost:
        """What the layer costs as it is."""
        counts = self._positions([self.layer])
        size = int(np.prod(self.shape))
        bias = self.shape[-1] if self.layer.use_bias else 0
        return Cost(size + bias, None if counts is None else counts[0] * size)

    def after(self, rank: Sequence) -> Cost:
        """What the factorized layer costs.

        Args:
            rank: Numbers, or an array of candidates for each.
        """
        decomposition, shape = self.method.decomposition, self.shape
        bias = shape[-1] if self.use_bias else 0
        parameters = decomposition.parameters(shape, rank) + bias
        counts = self._counts
        if counts is None:
            return Cost(parameters, None)
        return Cost(parameters, decomposition.macs(shape, rank, counts))

    def chain(self, rank: Rank, name=str) -> list[keras.Layer]:
        """The layers of a rank, not built."""
        return self.method.chain(self.layer, rank, self.use_bias, name)

    @functools.cached_property
    def _counts(self):
        """How often each factor is applied, which is the same at any rank."""
        smallest = self.method.decomposition.candidates(self.shape)[0]
        return self._positions(self.chain(tuple(map(int, smallest))))

    def _positions(self, chain):
        counts = [chains.positions(chain, shape) for shape in self.shapes]
        return None if None in counts else list(map(sum, zip(*counts)))


def find_subjects(
    graph: Graph, configs: ConfigByLayer[FactorizationConfig], biased: bool
) -> tuple[list[Subject], dict[str, tuple[keras.Layer, str]]]:
    """All layers with kernels: those to factorize, and those that are left.

    Args:
        graph: The calls of the model.
        configs: The configuration.
        biased: As of `Subject`.

    Returns: the subjects, and the other layers by name, with the reason.

    Raises:
        ValueError: for a configuration for layers that the model does not
            have, or whose method suits none of those that it is for.
    """
    every = list(every_layer(graph.model))
    configs.check_used((name, layer) for _, name, layer in every)
    shapes: dict[keras.Operation, list] = {}
    for node in graph.nodes:
        if node.inputs:
            shapes.setdefault(node.operation, []).append(node.inputs[0].shape)
    kernels = {
        layer
        for _, layer, attribute, weight in every_weight(graph.model)
        if attribute.endswith("kernel") and len(weight.shape) > 1
    }
    subjects, left, unsuited = [], {}, []
    for outer, name, layer in every:
        if layer not in kernels:
            continue
        config = configs.of(name, layer)
        reason = _reason_to_leave(outer, layer, config, shapes)
        if not reason:
            subject = Subject(name, layer, config, shapes[layer], biased)
            unfit = subject.method.reason_against(layer)
            if not unfit:
                subjects.append(subject)
                continue
            reason = f"method='{subject.method_name}': {unfit}"
            unsuited.append((subject, reason))
        left[name] = layer, reason
    check_some_are_served(unsuited, subjects)
    return subjects, left


def check_some_are_served(
    refused: Iterable[tuple[Subject, str]], served: Iterable[Subject]
) -> None:
    """Raises a ValueError for a configuration that none of its layers can have.

    One that is for many layers may pass over some of them.

    Args:
        refused: Layers that cannot have what their configuration says, and
            why.
        served: Layers that can.
    """
    used = {id(subject.config) for subject in served}
    for subject, reason in refused:
        if id(subject.config) not in used:
            raise ValueError(
                f"Layer '{subject.name}' cannot be factorized as it is told "
                f"to: {reason}. Received: {subject.config}."
            )


def _reason_to_leave(outer, layer, config, shapes):
    """Why a layer is not looked at, empty if it is."""
    if has_few_bits(layer):
        return "its kernel has few bits, products of factors have more"
    if type(layer) not in (*CONVOLUTIONS, layers.Dense):
        return f"nothing is known for {type(layer).__name__}"
    if config is None:
        return "left by the configuration"
    if outer is not layer:
        return f"inside of layer '{outer.name}'"
    if layer not in shapes:
        return "not called by the model itself, but at every time step"
    if getattr(layer, "groups", 1) > 1:
        return f"works on {layer.groups} groups of channels apart"
    if getattr(layer, "quantization_mode", None) or layer.lora_enabled:
        return "its kernel is quantized, or has adapters"
    return ""
