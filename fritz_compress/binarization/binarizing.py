"""A float model made anew with kernels and inputs of few bits."""

from typing import Any

import keras

from fritz_compress import graph
from fritz_compress.binarization.config import BinarizationConfig
from fritz_compress.binarization.design import warn_of_design
from fritz_compress.binarization.report import BinarizationReport, row
from fritz_compress.binarization.surroundings import Surroundings, is_relu
from fritz_compress.checks import check_built, check_model
from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    XnorConv2D,
    XnorDense,
)
from fritz_compress.layers.binary_kernel import AUTO, WeightClip
from fritz_compress.surgery.config_by_layer import (
    ConfigByLayer,
    config_by_layer,
)
from fritz_compress.surgery.names import UniqueNames, every_layer, name_layers
from fritz_compress.surgery.removal import copied
from fritz_compress.surgery.training_state import compile_like

_COUNTERPARTS = {
    keras.layers.Conv2D: (BinaryConv2D, XnorConv2D),
    keras.layers.Dense: (BinaryDense, XnorDense),
    keras.layers.DepthwiseConv2D: (BinaryDepthwiseConv2D, None),
}


def binarize(
    model: keras.Model,
    config: ConfigByLayer | BinarizationConfig | dict[str, Any] | None = None,
) -> tuple[keras.Model, BinarizationReport]:
    """A new model whose inner layers have kernels of one bit, or few.

    Convolutions, depthwise convolutions and dense layers become
    `layers.BinaryConv2D` and the like, with their weights as latent weights.
    The first layers with a kernel, and the last, stay float, unless they are
    configured by name. Where inputs become signs, a ReLU between a
    normalization and the layer goes, as all signs behind it would be 1; where
    there is no normalization, one is put in front.

    The new model computes something else than the old one: train it. For
    little loss binarize a trained network, weights first and inputs later
    (`callbacks.GradualBinarization`). Then `convert_to_binary` leaves only
    the signs.

    Args:
        model: A Functional or built Sequential model, models inside it and
            shared layers included. It is not changed.
        config: A `BinarizationConfig` or a dictionary of its arguments; a
            `ConfigByLayer`, or a dictionary of its, for configurations by
            layer name and type. `None` for a layer leaves it as it is. By
            default kernels are scaled signs, and inputs stay floats (BWN).

    Returns: the model, compiled as `model` is, and the report.

    Raises:
        TypeError: for what is no model or no configuration.
        ValueError: for a model without a graph or without a layer to
            binarize, a configuration for layers that the model does not have,
            or an input scale of a layer that has none.

    Warns: of what `design_warnings` finds in the new model.

    References: see `BinarizationConfig` and `layers.BinaryConv2D`.

    Example:

    >>> binary, report = binarize(model, {"input_quantizer": "ste_sign"})
    >>> print(report)
    >>> binary.fit(images, labels, epochs=20)
    """
    check_model(model)
    traced = graph.trace(model)
    check_built(model)
    configs = config_by_layer(config, BinarizationConfig)
    configs.check_used((name, layer) for _, name, layer in every_layer(model))
    around = Surroundings(traced, lambda layer: hasattr(layer, "kernel"))
    choices = _Choices(model, configs, around)
    choices.check_any(model)
    replaced = _Replacing(model, around, choices.found).replaced
    binary = copied(model, replaced)
    compile_like(model, binary)
    warn_of_design(binary)
    rows = [
        row(choices.names[old], old, replaced.get(old), choices.left.get(old))
        for old in choices.kernels
    ]
    return binary, BinarizationReport(tuple(rows))


class _Choices:
    """Which layers are binarized and how, and why others are not."""

    def __init__(self, model, configs, around):
        self.names = name_layers(model)
        self.found: dict[keras.Layer, BinarizationConfig] = {}
        self.left: dict[keras.Layer, str] = {}
        nodes = around.graph.nodes
        self.kernels = [
            layer
            for layer in dict.fromkeys(node.operation for node in nodes)
            if hasattr(layer, "kernel")
        ]
        for layer in self.kernels:
            config = configs.of(self.names[layer], layer)
            reason = _reason(layer, config, self.names[layer], configs, around)
            if reason:
                self.left[layer] = reason
            else:
                self.found[layer] = config

    def check_any(self, model):
        """Raises a ValueError if no layer is to be binarized."""
        if self.found:
            return
        reasons = [f"'{self.names[x]}': {why}" for x, why in self.left.items()]
        raise ValueError(
            f"Model '{model.name}' has no layer to binarize. "
            f"{'; '.join(reasons) or 'None has a kernel'}. Name layers in "
            "'layer_name_configs' to binarize the first or the last, too."
        )


def _reason(layer, config, name, configs, around):
    """Why a layer is left as it is; empty if it is not."""
    if config is None:
        return "the configuration says so"
    if type(layer) not in _COUNTERPARTS:
        return f"there is no binary layer for a {type(layer).__name__}"
    if configs.named(name):
        return ""
    if around.is_first(layer):
        return "the first layer"
    if around.is_last(layer):
        return "the last layer"
    return ""


class _Replacing:
    """What takes the place of each layer: one layer, or two."""

    def __init__(self, model, around, found):
        self.around = around
        self.found = found
        self.name = UniqueNames()
        for taken in {layer.name for layer in name_layers(model)}:
            self.name(taken)
        self.signs = {
            layer for layer, config in found.items() if config.signs_inputs
        }
        self.replaced: dict[keras.Operation, list[keras.Layer]] = {}
        self._drop_activations()
        for layer, config in found.items():
            self.replaced[layer] = self._counterparts(layer, config)

    def _drop_activations(self):
        """ReLUs between a normalization and nothing but signs."""
        for node in self.around.graph.nodes:
            relu = node.operation
            calls = list(self.around.calls(relu))
            if is_relu(relu) and all(map(self._is_only_signed, calls)):
                self.replaced[relu] = []

    def _is_only_signed(self, node):
        """Whether what a ReLU makes of normalized numbers becomes signs."""
        (tensor,) = node.outputs
        readers = self.around.consumers.get(tensor, [])
        return (
            self.around.is_normalized(node)
            and tensor not in self.around.graph.output_tensors
            and bool(readers)
            and all(reader.operation in self.signs for reader in readers)
        )

    def _counterparts(self, layer, config):
        node = next(self.around.calls(layer))
        shape = tuple(node.inputs[0].shape)
        new = [_binary(layer, config)]
        if (
            config.normalize
            and config.signs_inputs
            and not self._is_ready(layer)
        ):
            axis = 1 if _channels_first(layer) else -1
            name = self.name(f"{layer.name}_normalization")
            new.insert(0, keras.layers.BatchNormalization(axis, name=name))
        for one in new:
            one.build(shape)
        _assign(layer, new[-1])
        return new

    def _is_ready(self, layer):
        """Whether numbers around zero come to all calls of a layer."""
        return all(
            self._normalized_before(node) for node in self.around.calls(layer)
        )

    def _normalized_before(self, node):
        before = self.around.before(node)
        if before is not None and before.operation in self.replaced:
            node = before  # A ReLU that goes.
        return self.around.is_normalized(node)


def _binary(layer, config):
    """The binary layer of a float one, not built."""
    plain, with_input_scale = _COUNTERPARTS[type(layer)]
    kind = with_input_scale if config.input_scale else plain
    if kind is None or (config.input_scale and getattr(layer, "groups", 1) > 1):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has no input "
            "scale, which is for convolutions of all channels and dense "
            "layers. Received: input_scale=True. Configure it apart in "
            "'layer_name_configs' or 'layer_type_configs'."
        )
    settings = layer.get_config()
    if config.kernel_clip not in (None, AUTO):
        settings.pop(kind.constraint_argument, None)
    return kind.from_config(
        {
            **settings,
            "kernel_quantizer": config.kernel_quantizer,
            "input_quantizer": config.input_quantizer,
            "kernel_clip": config.kernel_clip,
        }
    )


def _assign(old, new):
    """Weights of a float layer as latent ones, within the clip."""
    # Copies: JAX may delete the array of a variable that it computes with.
    kernel = keras.ops.convert_to_numpy(old.kernel)
    constraint = getattr(new, new.constraint_argument)
    if isinstance(constraint, WeightClip):
        kernel = constraint(kernel)
    new.kernel.assign(kernel)
    if old.use_bias:
        new.bias.assign(keras.ops.convert_to_numpy(old.bias))


def _channels_first(layer):
    return getattr(layer, "data_format", None) == "channels_first"
