"""Models that train as the integer file computes that they will become."""

from collections.abc import Mapping
from typing import Any

import keras

from fritz_compress import graph
from fritz_compress.checks import check_built, check_model
from fritz_compress.layers import ActivationRange, QuantizedLayer
from fritz_compress.quantization.aware_building import Builder, Value
from fritz_compress.quantization.aware_chains import chains
from fritz_compress.quantization.aware_config import (
    AwareConfig,
    LayerSettings,
)
from fritz_compress.quantization.aware_rules import rule_of
from fritz_compress.surgery.config_by_layer import ConfigByLayer


def quantization_aware(
    model: keras.Model,
    config: ConfigByLayer | AwareConfig | Mapping[str, Any] | None = None,
) -> keras.Model:
    """A new model that computes with simulated integers while it trains.

    Weights and activations are rounded as the integer `.tflite` file will
    round them, and gradients pass as if they were not. Train it with
    `model.fit` for a fraction of the original epochs, `freeze` it for the last
    third, and hand it to `to_tflite`, which writes these very integers.

    Kernels have one scale per output channel, activations one range per
    tensor that follows the batches. What TFLite makes one operation is one
    here: a convolution with the batch normalization and ReLU behind it. The
    inputs of a concatenation share its range; averaging keeps that of its
    input. Nested models are flattened, layers shared stay shared. Weights
    that are zero stay zero and weights that share one of a few values go on
    sharing it, unless `preserve` says otherwise. `StandardizeImage` and
    `DeprocessStylizedImage` stay float.

    Args:
        model: A Functional or built Sequential model in float32. It is not
            changed.
        config: An `AwareConfig` for all layers, or a dictionary of its
            arguments such as `{"weight_bits": 4}`; or a `ConfigByLayer`, or a
            dictionary of its arguments, with such configurations by class and
            by name, and `None` for layers to be left float. By default 8 bits
            for all.

    Returns: a Functional model of the same inputs, outputs and weights, not
    compiled.

    Raises:
        TypeError: for what is no model, or no dictionary.
        ValueError: for settings that are not as described; a model without a
            graph or weights; a layer that there is no rule for, with all
            such layers, or one that computes in half precision.

    Reference: Jacob et al., "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference",
    https://arxiv.org/abs/1712.05877.

    Example:

    >>> aware = quantization_aware(model, {"weight_bits": 4})
    >>> aware.compile("adam", "sparse_categorical_crossentropy")
    >>> aware.fit(images, labels)
    >>> to_tflite(aware, "model.tflite", samples=images[:10])
    """
    check_model(model)
    traced = graph.trace(model)
    check_built(model)
    config = LayerSettings(model, config)
    _check_precision([node.operation for node in traced.nodes])
    builder = Builder(traced, config)
    inputs = _inputs(builder, model)
    found = chains(traced, lambda layer: config.of(layer) is None)
    _check_rules(found, config)
    if all(config.of(chain.first.operation) is None for chain in found):
        raise ValueError(
            "Some layers must be computed with integers. Received: a `config` "
            f"that leaves all layers of model '{model.name}' float. Pass "
            "'global_config': {} for those that nothing else is said of."
        )
    outputs = _Rebuilding(builder, found).run(traced, inputs)
    aware = keras.Model(inputs, outputs, name=model.name)
    for finish in builder.finishing:
        finish()
    return aware


def freeze(model: keras.Model, frozen: bool = True) -> None:
    """Fixes ranges and batch normalizations for the rest of training.

    From here on the model trains in the form that the file has. It may be
    called between two calls of `fit`, or in a callback; weights and
    optimizer stay as they are.

    Args:
        model: What `quantization_aware` returned. It is changed.
        frozen: `False` lets both move again. Defaults to `True`.

    Raises:
        ValueError: for a model without simulated integers.

    Example: the last of three epochs in the form of the file.

    >>> def freeze_last(epoch, logs):
    ...     if epoch == 2:
    ...         freeze(model)
    >>> last = keras.callbacks.LambdaCallback(on_epoch_begin=freeze_last)
    >>> model.fit(images, labels, epochs=3, callbacks=[last])
    """
    layers = aware_layers(model)
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no simulated integers to freeze. Make "
            "it with `fritz_compress.quantization_aware(model)`."
        )
    for layer in layers:
        layer.frozen = frozen
    if model.compiled:
        # What was compiled has the old form.
        model.make_train_function(force=True)


def aware_layers(
    model: keras.Model,
) -> list[ActivationRange | QuantizedLayer]:
    """The layers that simulate integers, in the order of the model."""
    kinds = (ActivationRange, QuantizedLayer)
    return [
        layer
        for layer in graph.flatten_layers(model)
        if isinstance(layer, kinds)
    ]


class _Rebuilding:
    """Runs a graph on the tensors of the new model."""

    def __init__(self, builder, found):
        self.builder = builder
        self.chains = {n: chain for chain in found for n in chain.nodes}
        self.arguments = {}

    def run(self, traced, inputs):
        values = [
            (
                self.builder.measured(tensor, tensor.name)
                if _is_float(tensor)
                else Value(tensor)
            )
            for tensor in keras.tree.flatten(inputs)
        ]
        results = traced.run(values, self.call)
        return keras.tree.map_structure(lambda value: value.tensor, results)

    def call(self, node, *args, **kwargs):
        chain = self.chains[node]
        if node is chain.first:
            self.arguments[chain] = args, kwargs
        if node is not chain.last:
            return Value(None)  # Nothing but the chain reads it.
        args, kwargs = self.arguments.pop(chain)
        # Whether to train is told when the new model is called.
        kwargs = {
            name: value
            for name, value in kwargs.items()
            if name != "training" and value is not None
        }
        if self.builder.config.of(chain.first.operation) is None:
            return self.as_it_was(node.operation, args, kwargs)
        result = rule_of(chain)(self.builder, chain, *args, **kwargs)
        if result is None:
            raise _no_rule([node])
        return result

    def as_it_was(self, operation, args, kwargs):
        args, kwargs = keras.tree.map_structure(
            lambda v: v.tensor if isinstance(v, Value) else v, (args, kwargs)
        )
        results = self.builder.copy(operation)(*args, **kwargs)
        return keras.tree.map_structure(Value, results)


def _inputs(builder, model):
    """New inputs in the structure of the old ones."""
    structure = model.inputs[0]
    if not isinstance(model, keras.Sequential):
        structure = model.input
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            name=builder.name(tensor.name),
        ),
        structure,
    )


def _is_float(tensor):
    return "float" in keras.backend.standardize_dtype(tensor.dtype)


def _check_rules(found, config):
    without = [
        chain.first
        for chain in found
        if config.of(chain.first.operation) is not None
        and rule_of(chain) is None
    ]
    if without:
        raise _no_rule(without)


def _no_rule(nodes):
    listed = {f"'{node.operation.name}' ({node.kind})": None for node in nodes}
    kinds = {node.kind: None for node in nodes}
    return ValueError(
        "There is no rule for computing with integers what these layers do, "
        f"with their arguments: {', '.join(listed)}. To leave them float pass "
        f"config={{'global_config': {{}}, 'layer_type_configs': {kinds}}}."
    )


def _check_precision(operations):
    for operation in operations:
        computes_in = getattr(operation, "compute_dtype", "float32")
        if computes_in in ("float16", "bfloat16"):
            raise ValueError(
                f"Layer '{operation.name}' must compute in float32 to simulate "
                f"integers. Received: {computes_in}. Build the model with the "
                "dtype policy 'float32' and copy the weights."
            )
