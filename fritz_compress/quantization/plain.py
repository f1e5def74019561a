"""The way back from simulated integers to plain Keras layers."""

from typing import Any

import keras

from fritz_compress import graph
from fritz_compress.checks import check_model
from fritz_compress.layers import (
    ActivationRange,
    ConcatenationRange,
    QuantizedLayer,
    RangeRounding,
)
from fritz_compress.quantization.aware import aware_layers
from fritz_compress.quantization.aware_building import cloned, copy_weights
from fritz_compress.surgery.names import UniqueNames

_RELUS = {"relu": None, "relu6": 6}


def plain_model(model: keras.Model) -> keras.Model:
    """A plain Keras model with the weights that simulated integers trained.

    Its kernels have the values that they were rounded to, so what writes a
    file finds their integers again: `to_coreml`, `save_compressed`, and
    `to_tflite` with "weights" or "dynamic". Activations are floats that
    nothing rounds; ranges are left behind. It loads where this package is not.

    Args:
        model: What `quantization_aware` or `apply_ranges` returned. It is not
            changed.

    Returns: a Functional model, not compiled. Its inputs and its layers with
    weights have the names of the original. It stays as flat as the model with
    integers is: models inside it are dissolved, a ReLU that was part of a
    layer is named after that layer, a separable convolution is two layers,
    and a batch normalization without a layer to be folded into has a depthwise
    convolution of its name in front, whose kernel is 1, and a number behind
    its own.

    Raises:
        TypeError: for what is no model.
        ValueError: for a model without simulated integers.

    Example:

    >>> aware = quantization_aware(model, {"weight_bits": 4})
    >>> aware.fit(images, labels)
    >>> to_coreml(plain_model(aware), "model.mlmodel")
    """
    check_model(model)
    traced = graph.trace(model)
    if not aware_layers(model):
        raise ValueError(
            f"Model '{model.name}' has no simulated integers. Make it with "
            "`fritz_compress.quantization_aware(model)`."
        )
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name
        ),
        model.input,
    )
    rebuilding = _Rebuilding()
    outputs = traced.run(keras.tree.flatten(inputs), rebuilding.call)
    plain = keras.Model(inputs, outputs, name=model.name)
    rebuilding.copy_weights()
    return plain


class _Rebuilding:
    """Calls plain counterparts of layers, the same for a shared one."""

    def __init__(self):
        self.copies: dict[Any, list[keras.Operation]] = {}
        self.name = UniqueNames()

    def call(self, node, *args, **kwargs):
        operation = node.operation
        if type(operation) is RangeRounding:
            return args[0]
        if operation not in self.copies:
            self.copies[operation] = self.counterparts(operation)
        inputs = args[0] if args else None
        if isinstance(operation, ActivationRange | QuantizedLayer):
            for layer in self.copies[operation]:
                inputs = layer(inputs)
            return inputs, None
        (copy,) = self.copies[operation]
        kwargs.pop("training", None)
        return copy(*args, **kwargs)

    def counterparts(self, operation):
        """What computes the same in floats, one after the other."""
        if isinstance(operation, QuantizedLayer):
            return self.parts(operation)
        if type(operation) is ConcatenationRange:
            name = self.name(operation.name.removesuffix("_range"))
            return [keras.layers.Concatenate(operation.axis, name=name)]
        if isinstance(operation, ActivationRange):
            return []
        return [self.clone(operation, operation.name)]

    def parts(self, quantized):
        """The layers that one with integers computes at once."""
        parts = [self.clone(quantized.layer, quantized.name)]
        normalization = quantized.normalization
        if normalization is not None:
            parts.append(self.clone(normalization, normalization.name))
        if quantized.activation in _RELUS:
            name = self.name(f"{quantized.name}_{quantized.activation}")
            largest = _RELUS[quantized.activation]
            parts.append(keras.layers.ReLU(largest, name=name))
        return parts

    def clone(self, operation, name):
        return cloned(operation, name=self.name(name))

    def copy_weights(self):
        for old, new in self.copies.items():
            if isinstance(old, QuantizedLayer):
                _copy_quantized(old, *new)
            elif not isinstance(old, ActivationRange):
                _copy(old, *new)


def _copy(old, new):
    if getattr(old, "weights", []):  # Raw operations have none.
        copy_weights(old, new)


def _copy_quantized(quantized, layer, *others):
    copy_weights(quantized.layer, layer)
    layer.kernel.assign(quantized.rounded_kernel())
    if quantized.normalization is not None:
        copy_weights(quantized.normalization, others[0])
