"""Activation functions and layers as Core ML layers."""

import keras

from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.neural_network_rules.common import array, refuse
from fritz_compress.convert.neural_network_rules.few_bits import add_quantizer
from fritz_compress.quantizers import BitQuantizer

# Functions that are one activation layer: its kind and its parameters.
SINGLE = {
    keras.activations.elu: ("ELU", 1.0),
    keras.activations.hard_sigmoid: ("SIGMOID_HARD", [1 / 6, 0.5]),
    keras.activations.leaky_relu: ("LEAKYRELU", [0.2]),
    keras.activations.linear: ("LINEAR", [1.0, 0.0]),
    keras.activations.relu: ("RELU", None),
    keras.activations.sigmoid: ("SIGMOID", None),
    keras.activations.softplus: ("SOFTPLUS", None),
    keras.activations.softsign: ("SOFTSIGN", None),
    keras.activations.tanh: ("TANH", None),
}
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def add_activation(writer, function, layer, source, target) -> None:
    """Writes an activation function of `keras.activations`, or a quantizer.

    Args:
        writer: The network under construction.
        function: What the Keras layer holds as `activation`.
        layer: Name of the Keras layer, for the error.
        source, target: Blobs to read and to make.

    Raises:
        ConversionError: for another function.
    """
    if isinstance(function, BitQuantizer):
        add_quantizer(writer, function, layer, source, target)
    elif function in SINGLE:
        _add(writer, function, source, target)
    elif function in COMPOSED:
        COMPOSED[function](writer, source, target)
    else:
        name = getattr(function, "__name__", type(function).__name__)
        known = sorted(f.__name__ for f in (*SINGLE, *COMPOSED))
        raise ConversionError(
            f"Layer '{layer}': activation '{name}' has no counterpart in a "
            "Core ML neural network that this package knows. Use one of "
            f"{', '.join(known)}, or write a .mlpackage."
        )


def clipped_relu(writer, max_value, slope, source, target) -> None:
    """A ReLU with a slope below zero and a largest value, either optional.

    Core ML has no smallest-of-two layer for one input: `min(x, m)` is written
    as `-max(-x, -m)`.
    """
    builder = writer.builder
    kind, params = ("LEAKYRELU", [slope]) if slope else ("RELU", None)
    if max_value is None:
        builder.add_activation(writer.layer(), kind, source, target, params)
        return
    rectified, negative = writer.blob(), writer.blob()
    builder.add_activation(writer.layer(), kind, source, rectified, params)
    builder.add_unary(
        writer.layer(),
        rectified,
        negative,
        "threshold",
        alpha=-float(max_value),
        scale=-1.0,
    )
    builder.add_activation(
        writer.layer(), "LINEAR", negative, target, [-1.0, 0.0]
    )


def _add(writer, function, source, target):
    kind, params = SINGLE[function]
    writer.builder.add_activation(writer.layer(), kind, source, target, params)


def _relu6(writer, source, target):
    clipped_relu(writer, 6, 0, source, target)


def _softmax(writer, source, target):
    writer.builder.add_softmax(writer.layer(), source, target)


def _gated(gate):
    """`x * gate(x)`."""

    def add(writer, source, target):
        opened = writer.blob()
        _add(writer, gate, source, opened)
        writer.builder.add_elementwise(
            writer.layer(), [source, opened], target, "MULTIPLY"
        )

    return add


def _selu(writer, source, target):
    between = writer.blob()
    writer.builder.add_activation(
        writer.layer(), "ELU", source, between, SELU_ALPHA
    )
    writer.builder.add_activation(
        writer.layer(), "LINEAR", between, target, [SELU_SCALE, 0.0]
    )


def _exponential(writer, source, target):
    writer.builder.add_unary(writer.layer(), source, target, "exp")


COMPOSED = {
    keras.activations.exponential: _exponential,
    keras.activations.hard_silu: _gated(keras.activations.hard_sigmoid),
    keras.activations.relu6: _relu6,
    keras.activations.selu: _selu,
    keras.activations.silu: _gated(keras.activations.sigmoid),
    keras.activations.softmax: _softmax,
}


# Layers


def activation(writer, node, sources, target):
    layer = node.operation
    add_activation(writer, layer.activation, layer.name, sources[0], target)


def relu(writer, node, sources, target):
    layer = node.operation
    slope, threshold = float(layer.negative_slope or 0), layer.threshold or 0
    if threshold and (slope or layer.max_value is not None):
        refuse(node, "it has a threshold together with another argument.")
    if threshold:
        return writer.builder.add_activation(
            writer.layer(), "THRESHOLDEDRELU", *sources, target, threshold
        )
    clipped_relu(writer, layer.max_value, slope, sources[0], target)


def leaky_relu(writer, node, sources, target):
    slope = float(node.operation.negative_slope)
    clipped_relu(writer, None, slope, sources[0], target)


def elu(writer, node, sources, target):
    writer.builder.add_activation(
        writer.layer(), "ELU", *sources, target, float(node.operation.alpha)
    )


def prelu(writer, node, sources, target):
    alpha = array(node.operation.alpha)
    if alpha.size not in (1, node.inputs[0].shape[-1]):
        refuse(node, "it must share its slopes: PReLU(shared_axes=[1, 2]).")
    writer.builder.add_activation(
        writer.layer(), "PRELU", *sources, target, alpha
    )


def softmax(writer, node, sources, target):
    axis, rank = node.operation.axis, len(node.inputs[0].shape)
    if len(node.inputs) != 1 or axis not in (-1, rank - 1):
        refuse(node, "it must run over the last axis, without a mask.")
    writer.builder.add_softmax(writer.layer(), sources[0], target)
