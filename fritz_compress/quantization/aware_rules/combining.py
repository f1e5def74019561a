"""What makes one tensor of several, or of all positions."""

import keras

from fritz_compress.quantization.aware_building import Builder, Value
from fritz_compress.quantization.aware_chains import Chain


def elementwise(builder: Builder, chain: Chain, inputs: list[Value]):
    """A sum or product, with the ReLU behind it."""
    name = chain.first.operation.name
    inputs = [builder.integers(value, name) for value in inputs]
    outputs = [value.tensor for value in inputs]
    for operation in chain.operations:
        outputs = builder.copy(operation)(outputs)
    low = 0.0 if chain.activation != "linear" else None
    return builder.result(chain, outputs, low)


def pair(builder: Builder, chain: Chain, x1, x2):
    """The same as an operation of `keras.ops`, of two tensors."""
    if not (isinstance(x1, Value) and isinstance(x2, Value)):
        return None
    operation = chain.first.operation
    x1, x2 = (builder.integers(x, operation.name) for x in (x1, x2))
    outputs = builder.copy(operation)(x1.tensor, x2.tensor)
    return builder.result(chain, outputs)


def concatenation(builder: Builder, chain: Chain, inputs: list[Value]):
    """Its inputs take the range of its output."""
    layer = chain.first.operation
    tensors = [value.tensor for value in inputs]
    if builder.shares_range(chain.last):
        return Value(builder.copy(layer)(tensors))
    ranges = {i: v.range for i, v in enumerate(inputs) if v.range is not None}
    return builder.concatenated(
        tensors, layer.name, axis=layer.axis, ranges=ranges
    )


def positions_mean(builder: Builder, chain: Chain, inputs: Value, mask=None):
    """Global average pooling, which has a range of its own."""
    layer = chain.first.operation
    inputs = builder.integers(inputs, layer.name)
    return builder.result(chain, builder.copy(layer)(inputs.tensor))


LAYERS = {
    keras.layers.Add: elementwise,
    keras.layers.Concatenate: concatenation,
    keras.layers.GlobalAveragePooling1D: positions_mean,
    keras.layers.GlobalAveragePooling2D: positions_mean,
    keras.layers.Multiply: elementwise,
    keras.layers.Subtract: elementwise,
}
OPERATIONS = {
    "Add": pair,
    "Multiply": pair,
    "Subtract": pair,
}
