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
    return builder.result(chain, outputs, _lowest(chain))


def pair(builder: Builder, chain: Chain, x1, x2):
    """The same as an operation of `keras.ops`, of two tensors."""
    if not (isinstance(x1, Value) and isinstance(x2, Value)):
        return None
    name = chain.first.operation.name
    x1, x2 = (builder.integers(x, name) for x in (x1, x2))
    first, *others = map(builder.copy, chain.operations)
    outputs = first(x1.tensor, x2.tensor)
    for operation in others:
        outputs = operation(outputs)
    return builder.result(chain, outputs, _lowest(chain))


def concatenation(builder: Builder, chain: Chain, inputs: list[Value]):
    """Its inputs take the range of its output."""
    layer = chain.first.operation
    return builder.concatenated(inputs, layer.name, layer.axis)


def positions_mean(builder: Builder, chain: Chain, inputs: Value, mask=None):
    """Global average pooling, which has a range of its own."""
    layer = chain.first.operation
    inputs = builder.integers(inputs, layer.name)
    return builder.result(chain, builder.copy(layer)(inputs.tensor))


def _lowest(chain):
    """The end of the range that is known of what a chain makes."""
    return None if chain.activation == "linear" else 0.0


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
