"""Which activations work on each channel alone."""

import keras
import numpy as np
from keras import activations, layers, ops

from fritz_compress.surgery.flow import Call

_ELEMENTWISE = {
    activations.get(name)
    for name in (
        "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu "
        "hard_tanh leaky_relu linear log_sigmoid mish relu relu6 selu sigmoid "
        "silu soft_shrink softplus softsign sparse_plus sparse_sigmoid "
        "squareplus tanh tanh_shrink threshold"
    ).split()
}
_ELEMENTWISE_LAYERS = (layers.ReLU, layers.LeakyReLU, layers.ELU)


def activation_of(call: Call, labels: np.ndarray) -> int:
    """Looks at the activation built into a layer.

    One that mixes channels (softmax), or one that is not known, freezes
    `labels`.

    Returns: `revived` of the output: 0, or the layer's number if the
        activation of zero is not zero.
    """
    activation = call.operation.activation
    if not is_elementwise(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        call.freeze(labels, f"has the activation '{name}', which may mix them")
    elif keeps_zero(activation):
        return 0
    return call.flow.number(call.operation)


def is_elementwise(activation) -> bool:
    """Whether an activation surely works on each number alone."""
    if isinstance(activation, keras.Layer):
        return type(activation) in _ELEMENTWISE_LAYERS
    return activation in _ELEMENTWISE


def keeps_zero(function) -> bool:
    """Whether an elementwise function of zero is zero."""
    result = ops.convert_to_numpy(function(ops.zeros((1, 1))))
    return not np.any(result)
