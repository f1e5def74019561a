"""Which activations work on each channel alone."""

import keras
import numpy as np
from keras import activations, layers, ops

from fritz_compress.surgery.call import Call
from fritz_compress.surgery.values import Strand

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


def activated(call: Call, *labels: np.ndarray) -> list[Strand]:
    """Channels after the activation that is built into a layer.

    One that mixes channels (softmax), or one that is not known, freezes them.

    Args:
        labels: Channels that are zero before it where their weights are.
    """
    activation = getattr(call.operation, "activation", None)
    number = 0
    if not is_elementwise(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        for each in labels:
            call.freeze(
                each, f"has the activation '{name}', which may mix them"
            )
        number = call.number
    elif not keeps_zero(activation):
        number = call.number
    return [Strand(each, np.full_like(each, number)) for each in labels]


def is_elementwise(activation) -> bool:
    """Whether an activation surely works on each number alone."""
    if isinstance(activation, keras.Layer):
        return type(activation) in _ELEMENTWISE_LAYERS
    return activation is None or activation in _ELEMENTWISE


def keeps_zero(function) -> bool:
    """Whether an elementwise function of zero is zero."""
    if function is None:
        return True
    result = ops.convert_to_numpy(function(ops.zeros((1, 1))))
    return not np.any(result)
