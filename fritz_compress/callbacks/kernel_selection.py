"""Which weights callbacks may prune one by one."""

from collections.abc import Sequence

import keras
import numpy as np

from fritz_compress.graph import is_graph
from fritz_compress.surgery.names import (
    find_layer,
    layers_inside,
    name_layers,
)

# What has several axes at times and yet is no kernel: slopes of PReLU, scale
# and offset of normalizations.
_NO_KERNELS = ("alpha", "beta", "gamma", "scale")


def select_kernels(
    model: keras.Model, ignored_layers: Sequence[str] = ()
) -> list[tuple[str, keras.Variable]]:
    """The kernels that may be pruned: trainable weights of several axes.

    Not biases, nor what normalizations and PReLU hold. Models need no graph.

    Args:
        model: Any built model.
        ignored_layers: Names of layers, or of models inside the model, that
            are left alone.

    Returns: pairs of a layer's name and one of its kernels; a shared layer
        comes once.

    Raises:
        ValueError: for an unknown name, or if no kernel is left.
    """
    ignored = layers_inside(find_layer(model, name) for name in ignored_layers)
    found: dict[int, tuple[str, keras.Variable]] = {}
    for layer, name in name_layers(model).items():
        if is_graph(layer) or layer in ignored:
            continue
        for weight in layer.trainable_weights:
            if len(weight.shape) > 1 and weight.name not in _NO_KERNELS:
                found.setdefault(id(weight), (name, weight))
    if not found:
        raise ValueError(
            f"Model '{model.name}' has no kernel that can be pruned: no "
            "trainable weight of two or more axes"
            + (f" outside of {list(ignored_layers)}." if ignored else ".")
        )
    return list(found.values())


def magnitudes(
    kernels: Sequence[tuple[str, keras.Variable]],
) -> list[np.ndarray]:
    """Absolute values of the kernels, to be ranked.

    Raises:
        ValueError: if one is NaN, which no rank orders.
    """
    found = []
    for layer, kernel in kernels:
        found.append(np.abs(keras.ops.convert_to_numpy(kernel)))
        if np.isnan(found[-1]).any():
            raise ValueError(
                "Weights must be numbers, to tell which are the smallest. "
                f"Received: NaN in '{kernel.name}' of layer '{layer}'. Go back "
                "to weights from before training diverged, and lower the "
                "learning rate."
            )
    return found


def measured_sparsity(
    kernels: Sequence[tuple[str, keras.Variable]],
) -> float:
    """Fraction of exact zeros in all kernels together."""
    values = [keras.ops.convert_to_numpy(kernel) for _, kernel in kernels]
    zeros = sum(np.count_nonzero(value == 0) for value in values)
    return zeros / sum(value.size for value in values)
