"""Samples on which factorized layers are corrected, batch by batch."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress.checks import check_no_nan, described


class Samples:
    """Batches of a model's inputs, which can be read again and again.

    Args:
        model: The model.
        samples: Inputs with a batch axis: an array, or a list, tuple or
            dictionary with one per input; or batches of such, alone or as
            `(x, y)`, in something that can be read more than once.
        batch_size: Samples of arrays that are a batch.

    Raises:
        TypeError: for what is neither, or can be read only once.
        ValueError: for arrays of different lengths, or none.
    """

    def __init__(self, model: keras.Model, samples: Any, batch_size: int):
        self._model = model
        self._batch_size = batch_size
        self._arrays = _arrays(model, samples)
        self._batches = samples
        if self._arrays is None:
            _check_can_be_read_again(samples)
            return
        lengths = {len(array) for array in self._arrays}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError(
                "`samples` must be arrays with as many samples each, at least "
                f"one. Received: {sorted(lengths)} samples."
            )

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        """Yields one array per input of the model.

        Raises:
            ValueError: for samples that do not fit the model, or NaN.
        """
        empty = True
        for batch in self._cut():
            empty = False
            _check_shapes(self._model, batch)
            check_no_nan("`samples`", batch)
            yield batch
        if empty:
            raise ValueError(
                "`samples` must have at least one batch. Received: none."
            )

    def _cut(self):
        if self._arrays is None:
            for batch in self._batches:
                x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
                yield list(map(_numpy, _in_order(self._model, x)))
            return
        for start in range(0, len(self._arrays[0]), self._batch_size):
            part = slice(start, start + self._batch_size)
            yield [_numpy(array[part]) for array in self._arrays]


def _arrays(model, samples):
    """One array per input of the model; `None` if there are others."""
    if not isinstance(samples, (list, tuple, Mapping)):
        return [samples] if _is_array(samples) else None
    flat = _in_order(model, samples)
    fits = len(flat) == len(model.inputs)
    return flat if fits and all(map(_is_array, flat)) else None


def _in_order(model, x):
    """What a model is called with, in the order of its inputs."""
    if isinstance(x, Mapping) and not isinstance(model.input, dict):
        return [x[tensor.name] for tensor in model.inputs if tensor.name in x]
    return keras.tree.flatten(x)


def _is_array(value):
    return len(getattr(value, "shape", ())) > 0


def _numpy(array):
    return keras.ops.convert_to_numpy(array)


def _check_can_be_read_again(samples):
    expected = (
        "`samples` must be arrays with a batch axis, or batches of such that "
        "can be read several times, such as a list or a tf.data.Dataset"
    )
    if isinstance(samples, Iterator):
        raise TypeError(
            f"{expected}. Received: {described(samples)}, which is read only "
            "once. Pass `list(...)` of it."
        )
    if not isinstance(samples, Iterable) or isinstance(samples, (str, bytes)):
        raise TypeError(f"{expected}. Received: {described(samples)}.")


def _check_shapes(model, batch):
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    fits = len(batch) == len(shapes) and all(
        len(array.shape) == len(shape)
        and all(s in (None, a) for s, a in zip(shape[1:], array.shape[1:]))
        for array, shape in zip(batch, shapes)
    )
    if not fits or len({len(array) for array in batch}) != 1:
        raise ValueError(
            f"`samples` of model '{model.name}' must have shapes {shapes}. "
            f"Received: {[array.shape for array in batch]}."
        )
