"""What every builder does: an input, a name, and the model in between."""

import operator
import os
import re
from typing import Any

import keras

from fritz_compress.models.weights import load_weights

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def checked_size(image_size: Any) -> tuple[int, int]:
    """A height and a width.

    Raises:
        ValueError: for what is not two positive whole numbers.
    """
    try:
        height, width = map(operator.index, image_size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ValueError(
            "`image_size` must be two whole numbers, (height, width), both "
            f"positive. Received: {image_size!r}."
        )
    return height, width


def image_input(
    image_size: tuple[int, int] | None,
    channels: int | None,
    input_tensor: keras.KerasTensor | None = None,
) -> keras.KerasTensor:
    """The pictures that a model is built on.

    Args:
        image_size: `(height, width)`, or `None` for any size.
        channels: Of a picture; `None` for as many as `input_tensor` has.
        input_tensor: Keras tensor to build on, in place of a new input. Its
            size is used and `image_size` must agree or be `None`.

    Raises:
        ValueError: for a size that is not two positive whole numbers, a
            tensor that is none of Keras or not of such pictures, or where
            Keras is set to channels first.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Pictures must have their channels last. Received: "
            "keras.config.image_data_format() = "
            f"'{keras.config.image_data_format()}'. Call "
            "`keras.config.set_image_data_format('channels_last')` first."
        )
    if image_size is not None:
        image_size = checked_size(image_size)
    if input_tensor is None:
        size = image_size or (None, None)
        return keras.Input((*size, channels), name="image")
    _check_tensor(input_tensor, image_size, channels)
    return input_tensor


def finished(
    builder: type,
    inputs: keras.KerasTensor,
    outputs: keras.KerasTensor,
    checkpoint_file: str | os.PathLike | None = None,
) -> keras.Model:
    """The model between two tensors, with its name and weights.

    Args:
        builder: The class, after which the model is named.
        inputs: What `image_input` returned. If it was computed from other
            inputs, the model takes those.
        outputs: What was built on it.
        checkpoint_file: Weights to load, see `models.weights.load_weights`.
    """
    sources = keras.utils.get_source_inputs(inputs)
    model = keras.Model(
        sources[0] if len(sources) == 1 else sources,
        outputs,
        name=_WORDS.sub("_", builder.__name__).lower().lstrip("_"),
    )
    if checkpoint_file is not None:
        load_weights(model, checkpoint_file)
    return model


def _check_tensor(tensor, image_size, channels):
    if not keras.backend.is_keras_tensor(tensor):
        raise ValueError(
            "`input_tensor` must be a symbolic Keras tensor, such as "
            f"`keras.Input((480, 640, {channels or 3}))`. Received: "
            f"{type(tensor).__name__}."
        )
    shape = tuple(tensor.shape)
    if (
        len(shape) != 4
        or shape[3] is None
        or shape[3] != (channels or shape[3])
    ):
        raise ValueError(
            "`input_tensor` must be pictures of shape (batch, height, width, "
            f"{channels or 'channels'}). Received: a tensor of shape {shape}."
        )
    if image_size is not None and image_size != shape[1:3]:
        raise ValueError(
            "`image_size` and `input_tensor` must agree. Received: "
            f"image_size={image_size}, input_tensor of shape {shape}."
        )
