"""Weights made with the values that they are to have."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np


class InitialValue(keras.initializers.Initializer):
    """Gives one weight of a layer its value when the layer makes it.

    Zeros first and an assignment later would write everything twice.

    Args:
        value: The array; forgotten once it is given. Without one, as where
            a layer makes another initializer of this one, zeros are given.

    Attributes:
        given: Whether a weight was made with it.
    """

    def __init__(self, value: np.ndarray | None = None):
        self.value = value
        self.given = False

    def __call__(self, shape, dtype=None):
        value, self.value = self.value, None
        if value is None or value.shape != tuple(shape):
            return keras.ops.zeros(shape, dtype)
        self.given = True
        return keras.ops.convert_to_tensor(value, dtype)


def initialized_weights(
    layer: keras.Operation,
    initializers: Mapping[str, Any],
    variables: Mapping[str, keras.Variable],
) -> dict[str, keras.Variable]:
    """Which weight each initializer of a layer is for, where that is known.

    Args:
        layer: The layer. One that is not of Keras may use an initializer for
            whatever it likes, so that nothing is known of it.
        initializers: By attribute, such as `"kernel_initializer"`.
        variables: The layer's own weights by attribute, such as `"kernel"`.
    """
    if type(layer).__module__.split(".")[0] != "keras":
        return {}
    own = {name: name.removesuffix("_initializer") for name in initializers}
    return {
        name: variables[weight]
        for name, weight in own.items()
        if weight in variables
    }
