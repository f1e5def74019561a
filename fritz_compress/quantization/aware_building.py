"""The parts of which a model with simulated integers is put together."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fritz_compress import graph, quantizers
from fritz_compress.layers import (
    ActivationRange,
    ConcatenationRange,
    RangeRounding,
)
from fritz_compress.quantization.aware_chains import Chain
from fritz_compress.quantization.aware_config import LayerSettings
from fritz_compress.surgery.names import UniqueNames


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the new model.

    Attributes:
        tensor: The symbolic tensor.
        range: What `ActivationRange` returned beside it; `None` for floats.
        requantization: What `QuantizedLayer` returned beside sums that TFLite
            rounds twice; `None` for all else.
    """

    tensor: Any
    range: Any = None
    requantization: Any = None


class Builder:
    """Makes the layers of the new model; rules ask it for what they need.

    Args:
        traced: The model to rebuild.
        config: Settings of its layers.

    Attributes:
        config: The settings.
        copies: The new counterpart of each layer that has one.
        name: Called with the name that a layer should have.
    """

    def __init__(self, traced: graph.Graph, config: LayerSettings):
        self.config = config
        self.copies: dict[Any, keras.Operation] = {}
        self._traced = traced
        self._consumers = traced.consumers()
        self.name = UniqueNames()
        self._late: dict[int, ActivationRange] = {}
        # Called when all layers are built, to copy weights.
        self.finishing: list[Callable[[], None]] = []

    def copy(self, operation: keras.Operation) -> keras.Operation:
        """The counterpart of an operation, the same for a shared one."""
        if operation not in self.copies:
            new = cloned(operation, name=self.name(operation.name))
            self.copies[operation] = new
            if getattr(operation, "weights", []):
                self.finishing.append(lambda: copy_weights(operation, new))
        return self.copies[operation]

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What was made for a key, so that shared layers stay shared."""
        if key not in self.copies:
            self.copies[key] = make()
        return self.copies[key]

    def with_rank_four(
        self, tensor: Any, call: Callable[[Any], Any], name: str
    ) -> Any:
        """Calls on an image, whatever the axes of a tensor before the last."""
        shape = tuple(tensor.shape)
        if len(shape) == 4:
            return call(tensor)
        image = (-1, 1, shape[-1])
        image, back = (
            keras.layers.Reshape(size, name=self.name(f"{name}_{title}"))
            for size, title in ((image, "image"), (shape[1:], "back"))
        )
        return back(call(image(tensor)))

    def measured(
        self,
        tensor: Any,
        name: str,
        low: float | None = None,
        high: float | None = None,
        requantization: Any = None,
    ) -> Value:
        """A tensor rounded to integers of a range of its own.

        Args:
            tensor: A symbolic tensor.
            name: Name of the layer that makes it.
            low, high: Ends of the range that are known.
            requantization: That of a `Value`.
        """
        if self.config.everywhere.activation_bits == 16:
            low, high = _symmetric(low, high)
        settings = self._range_settings(name)
        layer = ActivationRange(low=low, high=high, **settings)
        return Value(*layer(tensor, requantization))

    def concatenated(self, values: list[Value], name: str, axis: int) -> Value:
        """Several values as one, of one range.

        Args:
            values: What to concatenate, with ranges or without.
            name: Name of the layer that concatenates.
            axis: The axis.
        """
        tensors = [value.tensor for value in values]
        ranges = _present(value.range for value in values)
        ways = _present(value.requantization for value in values)
        layer = ConcatenationRange(
            axis=axis,
            ranged=list(ranges),
            summed=list(ways),
            **self._range_settings(name),
        )
        others = {
            "input_ranges": list(ranges.values()),
            "requantizations": list(ways.values()),
        }
        others = {title: given for title, given in others.items() if given}
        return Value(*layer(tensors, **others))

    def _range_settings(self, name):
        return {
            "quantizer": self.activation_quantizer(),
            "momentum": self.config.everywhere.momentum,
            "name": self.name(f"{name}_range"),
        }

    def integers(self, value: Value, name: str) -> Value:
        """The value itself, or, if it is a float, one with a range.

        Args:
            value: The value.
            name: What to call the range, if it has none.
        """
        if value.range is not None:
            return value
        key = id(value.tensor)
        if key not in self._late:
            self._late[key] = self.measured(value.tensor, f"{name}_input")
        return self._late[key]

    def rounded(self, tensor: Any, source: Value, name: str) -> Value:
        """A tensor rounded to the levels of what it was computed from."""
        layer = RangeRounding(
            self.activation_quantizer(), name=self.name(f"{name}_rounding")
        )
        return Value(layer(tensor, source.range), source.range)

    def activation_quantizer(self) -> Any:
        """The quantizer of activations."""
        if self.config.everywhere.activation_bits == 16:
            return quantizers.LinearSymmetric(16)
        return quantizers.Linear(8)

    def result(
        self,
        chain: Chain,
        tensor: Any,
        low: float | None = None,
        requantization: Any = None,
    ) -> Value:
        """What a chain makes, rounded, unless a concatenation does that.

        Tensors that are concatenated share one range, that of the result.
        """
        if self.shares_range(chain.last):
            return Value(tensor, None, requantization)
        name = chain.first.operation.name
        return self.measured(tensor, name, low, None, requantization)

    def shares_range(self, node: graph.Node) -> bool:
        """Whether a concatenation alone reads what a node makes."""
        from fritz_compress.quantization.aware_rules import keeps_values

        output, *others = node.outputs
        readers = self._consumers.get(output, [])
        if others or len(readers) != 1 or self.leaves(output):
            return False
        if type(node.operation) is keras.layers.Concatenate:
            return False
        (reader,) = readers
        if self.config.of(reader.operation) is None:
            return False
        if type(reader.operation) is keras.layers.Concatenate:
            return True
        return keeps_values(reader) and self.shares_range(reader)

    def leaves(self, tensor: graph.Tensor) -> bool:
        """Whether a tensor is an output of the model."""
        return tensor in self._traced.output_tensors


def cloned(operation: keras.Operation, **changes) -> keras.Operation:
    """A new operation of the same configuration, not built.

    Args:
        operation: A layer or a raw operation.
        **changes: Entries of the configuration with another value.
    """
    config = {**operation.get_config(), **changes}
    if isinstance(operation, keras.layers.Lambda):
        # Its code runs in this process already.
        return type(operation).from_config(config, safe_mode=False)
    return type(operation).from_config(config)


def copy_weights(old: keras.Layer, new: keras.Layer) -> None:
    """Gives a new layer the weights and flags of an old one."""
    new.trainable = old.trainable
    for source, target in zip(old.weights, new.weights, strict=True):
        # On JAX two variables may share an array, which training deletes.
        target.assign(np.array(keras.ops.convert_to_numpy(source)))
        target.trainable = source.trainable
    for layer in graph.flatten_layers(new):
        if isinstance(layer, keras.layers.Normalization):
            # It computes with copies of its weights.
            layer.finalize_state()


def _present(values):
    """Those that are not `None`, by their index."""
    return {i: value for i, value in enumerate(values) if value is not None}


def _symmetric(low, high):
    """Known ends on 16 bits: those of functions that stay within 1."""
    if low is None or high is None:
        return None, None
    limit = 1 - 2.0**-15
    return -limit, limit
