"""What activation functions cost, inside of layers and as layers."""

from typing import Any

import keras
from keras import activations, layers

from fritz_compress.costs.table import FREE, Call, Cost, rule

# Products and quotients per number. Exponentials, logarithms and what is made
# of them in one step (sigmoid, tanh, erf) are functions, not products.
_PER_NUMBER = {
    "celu": 2,  # alpha * (exp(x / alpha) - 1)
    "elu": 1,
    "exponential": 0,
    "gelu": 3,  # x / sqrt(2), then x * (...), then half of it
    "hard_shrink": 0,
    "hard_sigmoid": 1,
    "hard_silu": 2,
    "hard_tanh": 0,
    "leaky_relu": 1,
    "linear": 0,
    "log_sigmoid": 0,
    "log_softmax": 0,
    "mish": 1,
    "relu": 0,
    "relu6": 0,
    "selu": 2,
    "sigmoid": 0,
    "silu": 1,
    "soft_shrink": 0,
    "softmax": 1,
    "softplus": 0,
    "softsign": 1,
    "squareplus": 2,
    "tanh": 0,
    "tanh_shrink": 0,
    "threshold": 0,
}
_BY_FUNCTION = {
    activations.get(name): count for name, count in _PER_NUMBER.items()
}


def activated(call: Call, function: Any, numbers: int) -> Cost:
    """Cost of an activation that is built into a layer.

    Args:
        call: The call of the layer.
        function: The function, or a layer in its place; `None` for none.
        numbers: How many numbers it is applied to.
    """
    if function is None:
        return FREE
    if isinstance(function, keras.Layer):
        return call.inside(function, (1, numbers), (1, numbers))
    count = _BY_FUNCTION.get(function)
    return Cost(0, None if count is None else count * numbers)


@rule(layers.Activation)
def activation(call: Call) -> Cost:
    return activated(call, call.operation.activation, call.outputs)


@rule(layers.ReLU)
def relu(call: Call) -> Cost:
    return Cost(others=call.outputs if call.operation.negative_slope else 0)


@rule(
    layers.ELU,
    layers.LeakyReLU,
    layers.PReLU,
    layers.Softmax,
    *"Elu HardSigmoid LeakyRelu Silu Softmax Softsign".split(),
)
def one(call: Call) -> Cost:
    return Cost(others=call.outputs)


@rule("Celu", "HardSilu", "Selu", "Squareplus")
def two(call: Call) -> Cost:
    return Cost(others=2 * call.outputs)


@rule("Gelu")
def three(call: Call) -> Cost:
    return Cost(others=3 * call.outputs)
