"""Normalizations whose statistics leave out removed channels: an oracle."""

import keras
import numpy as np
from keras import layers

KINDS = (
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
)


def summed_axes(layer, rank: int) -> tuple[int, ...]:
    """Axes, other than positions, over which statistics are taken."""
    return tuple(_axes(layer, rank))


def normalized(layer, values: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """The layer's output from what is not gone.

    Args:
        values: The layer's input.
        gone: Booleans of shape (1, ...): positions that do not count. The
            output there is zero.
    """
    values = values.astype("float64")
    axes = _axes(layer, values.ndim)
    gone = gone.any(
        axis=tuple(set(range(1, values.ndim)) - set(axes)), keepdims=True
    )
    kept = np.broadcast_to(~gone, values.shape)
    if isinstance(layer, layers.GroupNormalization):
        result = _by_groups(layer, values, kept, axes[0])
    else:
        result = _scaled(layer, values, kept, tuple(axes))
    for weight, combine in _weights(layer):
        shape = [n if a in axes else 1 for a, n in enumerate(values.shape)]
        result = combine(result, weight.reshape(shape))
    return np.where(kept, result, 0)


def _axes(layer, rank):
    axes = getattr(layer, "axis", -1)
    return [
        a % rank for a in (axes if isinstance(axes, (list, tuple)) else [axes])
    ]


def _by_groups(layer, values, kept, axis):
    last = [np.moveaxis(array, axis, -1) for array in (values, kept)]
    groups = min(layer.groups, last[0].shape[-1])
    split = [a.reshape(*a.shape[:-1], groups, -1) for a in last]
    rank = split[0].ndim
    summed = tuple(set(range(1, rank)) - {rank - 2})
    result = _scaled(layer, *split, summed)
    return np.moveaxis(result.reshape(last[0].shape), -1, axis)


def _scaled(layer, values, kept, axes):
    def mean(array):
        return np.mean(array, axis=axes, keepdims=True, where=kept)

    if isinstance(layer, layers.UnitNormalization):
        squares = np.sum(values**2, axis=axes, keepdims=True, where=kept)
        return values / np.sqrt(np.maximum(squares, 1e-12))
    if not isinstance(layer, layers.RMSNormalization):
        values = values - mean(values)
    return values / np.sqrt(mean(values**2) + layer.epsilon)


def _weights(layer):
    if isinstance(layer, layers.RMSNormalization):
        yield keras.ops.convert_to_numpy(layer.scale), np.multiply
    for name, combine in (("gamma", np.multiply), ("beta", np.add)):
        if getattr(layer, name, None) is not None:
            yield keras.ops.convert_to_numpy(getattr(layer, name)), combine
