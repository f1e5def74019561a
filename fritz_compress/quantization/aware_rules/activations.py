"""Activations that TFLite computes with integers."""

import keras

from fritz_compress.quantization.aware_building import Builder, Value
from fritz_compress.quantization.aware_chains import (
    Chain,
    fused_activation,
    relu_name,
)

# Their 8-bit outputs have these ranges in TFLite, whatever comes in.
_FIXED = {
    keras.activations.sigmoid: (0.0, 255 / 256),
    keras.activations.softmax: (0.0, 255 / 256),
    keras.activations.tanh: (-1.0, 127 / 128),
}
_MEASURED = (
    keras.activations.leaky_relu,
    keras.activations.hard_silu,
)


def activated(builder: Builder, value: Value, function, name: str):
    """A value after an activation function.

    Returns: the value; `None` for a function that there is no rule for.
    """
    if function is keras.activations.linear:
        return value
    if function is keras.activations.silu:
        gate = activated(builder, value, keras.activations.sigmoid, name)
        product = keras.layers.Multiply(name=builder.name(f"{name}_silu"))
        outputs = product([value.tensor, gate.tensor])
        return builder.measured(outputs, f"{name}_silu")
    relu = relu_name(function)
    if not relu and function not in (*_FIXED, *_MEASURED):
        return None
    title = f"{name}_{function.__name__}"
    layer = keras.layers.Activation(function, name=builder.name(title))
    outputs = layer(value.tensor)
    if relu:
        return builder.rounded(outputs, value, title)
    return builder.measured(outputs, title, *_FIXED.get(function, ()))


def activation(builder: Builder, chain: Chain, inputs: Value):
    """An `Activation` layer."""
    layer = chain.first.operation
    inputs = builder.integers(inputs, layer.name)
    return activated(builder, inputs, layer.activation, layer.name)


def own_function(builder: Builder, chain: Chain, inputs: Value):
    """A layer or operation that is an activation of its own class.

    A ReLU keeps the range of what comes in: that has its integers already,
    and TFLite may make both one operation.
    """
    operation = chain.first.operation
    inputs = builder.integers(inputs, operation.name)
    outputs = builder.copy(operation)(inputs.tensor)
    if fused_activation(operation):
        return builder.rounded(outputs, inputs, operation.name)
    return builder.measured(outputs, operation.name)


def softmax(builder: Builder, chain: Chain, inputs: Value):
    """A `Softmax` layer of the last axis."""
    layer = chain.first.operation
    if layer.axis not in (-1, len(inputs.tensor.shape) - 1):
        return None
    return bounded(keras.activations.softmax)(builder, chain, inputs)


def bounded(function):
    """The rule of an operation that is one of the fixed functions."""

    def rule(builder: Builder, chain: Chain, inputs: Value):
        operation = chain.first.operation
        inputs = builder.integers(inputs, operation.name)
        return activated(builder, inputs, function, operation.name)

    return rule


LAYERS = {
    keras.layers.Activation: activation,
    keras.layers.LeakyReLU: own_function,
    keras.layers.PReLU: own_function,
    keras.layers.ReLU: own_function,
    keras.layers.Softmax: softmax,
}
OPERATIONS = {
    "Relu": own_function,
    "Relu6": own_function,
    "LeakyRelu": own_function,
    "Sigmoid": bounded(keras.activations.sigmoid),
    "Tanh": bounded(keras.activations.tanh),
    "Silu": bounded(keras.activations.silu),
    "HardSilu": bounded(keras.activations.hard_silu),
}
