"""Entries of weights that are held at zero while a model trains."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from fritz_compress.compilation import compiled_update


class Masks:
    """Sets masked-out entries of variables to zero, all in one compiled call.

    Meant for the end of every training step: an optimizer with momentum moves
    a zeroed weight away from zero although its gradient is zero. What is not
    finite does not survive either. The call works on every backend, under
    `tf.distribute.MirroredStrategy` and `keras.distribution.DataParallel`.
    Where the copies of a variable differ between devices, as moving statistics
    may under the former, all become that of the first.

    The masks belong to whoever made them, not to the model: nothing is added
    to it, and nothing is stored. In a callback on JAX, read `self.model`
    before `apply`, which makes Keras bring the variables up to date.

    Args:
        masks: Pairs of a variable and its mask: booleans in a shape that
            broadcasts to that of the variable, true where the value is kept.
            A variable that comes twice keeps what both masks keep.

    Raises:
        ValueError: if a mask has a shape that does not fit.

    Example:

    >>> masks = Masks([(layer.kernel, np.abs(kernel) > 0.1)])
    >>> masks.apply()
    """

    def __init__(self, masks: Iterable[tuple[keras.Variable, Any]] = ()):
        self._variables: tuple[keras.Variable, ...] = ()
        self._mask: Any = None
        self.update(masks)

    def update(self, masks: Iterable[tuple[keras.Variable, Any]]) -> None:
        """Takes other masks; for the same variables nothing is recompiled.

        Args:
            masks: All pairs, as on construction. Nothing is set to zero yet.
        """
        kept: dict[int, np.ndarray] = {}
        variables: dict[int, keras.Variable] = {}
        for variable, mask in masks:
            key = id(variable)
            mask = _full(variable, mask)
            kept[key] = kept[key] & mask if key in kept else mask
            variables[key] = variable
        if [id(variable) for variable in self._variables] != list(variables):
            self._variables = tuple(variables.values())
            self._silence = compiled_update(_silenced, self._variables)
        # One array: to hand over many small ones takes longer than the rest.
        flat = [mask.ravel() for mask in kept.values()]
        self._mask = ops.convert_to_tensor(np.concatenate(flat or [[]]))

    def apply(self) -> None:
        """Sets every masked-out entry to zero."""
        if self._variables:
            self._silence(self._mask)


def _full(variable, mask):
    """The mask in the variable's own shape: broadcasting every step is slow."""
    mask = ops.convert_to_numpy(mask).astype(bool)
    try:
        return np.broadcast_to(mask, tuple(variable.shape))
    except ValueError:
        raise ValueError(
            f"The mask of '{variable.path}' must broadcast to the shape "
            f"{tuple(variable.shape)}. Received: shape {mask.shape}."
        ) from None


def _silenced(values, mask):
    silenced, begin = [], 0
    for value in values:
        end = begin + math.prod(value.shape)
        kept = ops.reshape(mask[begin:end], value.shape)
        # Not a product: that would leave what is not finite.
        silenced.append(ops.where(kept, value, ops.zeros((), value.dtype)))
        begin = end
    return silenced
