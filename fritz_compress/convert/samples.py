"""The inputs on which a converted file is compared with Keras."""

from collections.abc import Sequence

import keras
import numpy as np


def sample_pictures(height: int, width: int) -> np.ndarray:
    """Photos that no training of this package sees: a temple and a cat.

    `china.jpg` of scikit-learn and `chelsea` of scikit-image, the middle cut
    out at the aspect asked for and resized (bicubic).

    Args:
        height, width: Size in pixels.

    Returns: float32 array of shape `(2, height, width, 3)` with whole numbers
    in `[0, 255]`.

    Raises:
        ValueError: if a side is below 1.

    Example:

    >>> sample_pictures(480, 640).shape
    (2, 480, 640, 3)
    """
    from skimage.data import chelsea
    from sklearn.datasets import load_sample_image

    photos = [load_sample_image("china.jpg"), chelsea()]
    return _resized(photos, height, width)


def calibration_pictures(height: int, width: int) -> np.ndarray:
    """Photos to see typical ranges on, none of `sample_pictures` among them.

    `flower.jpg` of scikit-learn and five of scikit-image, one of them nearly
    black. Ranges measured on the very pictures that a file is judged by would
    flatter it by several decibels.

    Args and returns as of `sample_pictures`, with six photos.
    """
    from skimage import data
    from sklearn.datasets import load_sample_image

    photos = [
        load_sample_image("flower.jpg"),
        data.astronaut(),
        data.coffee(),
        data.hubble_deep_field(),
        data.rocket(),
        data.stereo_motorcycle()[0],
    ]
    return _resized(photos, height, width)


def samples_for(
    model: keras.Model,
    samples: np.ndarray | None = None,
    image_size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Inputs to compare a file of `model` on, checked.

    Args:
        model: A model with one input.
        samples: Inputs with a batch axis. By default photos, for a model that
            takes RGB pictures.
        image_size: `(height, width)` where the model leaves them open.

    Returns: float32 array of shape `(n, ...)`.

    Raises:
        ValueError: if the model does not take RGB pictures and no samples are
            given, or the samples do not fit the model or are not finite.
    """
    shape = input_shape(model, image_size)
    if samples is None:
        if len(shape) != 4 or shape[-1] != 3:
            raise ValueError(
                f"Model '{model.name}' takes inputs of shape {shape}, not RGB "
                "pictures, so there are no photos to check the file on. Pass "
                "`samples=`, an array of a few typical inputs."
            )
        return sample_pictures(*shape[1:3])
    return checked(samples, shape, model.name, "samples")


def input_shape(
    model: keras.Model, image_size: tuple[int, int] | None = None
) -> tuple[int | None, ...]:
    """The model's input shape, every axis known but the batch.

    Args:
        model: A model with one input.
        image_size: `(height, width)` where the model leaves them open; a
            model of a fixed size may only be given its own.

    Raises:
        ValueError: for several inputs, a size that is neither in the model nor
            given, or one that contradicts the model.
    """
    if len(model.inputs) != 1:
        names = [tensor.name for tensor in model.inputs]
        raise ValueError(
            f"Only models with one input can be converted. Received: model "
            f"'{model.name}' with inputs {names}."
        )
    shape = tuple(model.inputs[0].shape)
    if image_size is not None:
        shape = _with_image_size(model, shape, image_size)
    if None in shape[1:]:
        raise ValueError(
            f"Model '{model.name}' takes inputs of any size, shape {shape}; a "
            "file needs one. Pass `image_size=(height, width)` or build the "
            "model for one size."
        )
    return (None, *shape[1:])


def checked(
    values: Sequence, shape: tuple[int | None, ...], model: str, argument: str
) -> np.ndarray:
    """`values` as float32 array, if they are a finite batch of `shape`.

    Args:
        values: The numbers.
        shape: Shape of a batch, `None` for the batch axis.
        model: Name of the model, for the error.
        argument: Name of the argument, for the error.

    Raises:
        ValueError: if they are not.
    """
    values = np.asarray(values, "float32")
    expected = f"an array of shape (samples, {str(tuple(shape[1:]))[1:]}"
    if values.shape[1:] != tuple(shape[1:]) or not len(np.atleast_1d(values)):
        raise ValueError(
            f"`{argument}` of model '{model}' must be {expected} with at least "
            f"one sample. Received: shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"`{argument}` of model '{model}' must be finite. Received: "
            f"{int((~np.isfinite(values)).sum())} values that are not."
        )
    return values


def _with_image_size(model, shape, image_size):
    own = shape[1:-1]
    if not (len(shape) == 4 and _is_size(image_size)) or any(
        side is not None and side != asked
        for side, asked in zip(own, image_size)
    ):
        raise ValueError(
            f"`image_size` must be (height, width) and agree with the input of "
            f"model '{model.name}', shape {shape}. Received: {image_size}. "
            "Leave it out, or build the model with image_size=None."
        )
    return (shape[0], *image_size, shape[-1])


def _is_size(value):
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(side, (int, np.integer)) for side in value)
        and min(value) > 0
    )


def _resized(photos, height, width):
    if height < 1 or width < 1:
        raise ValueError(
            "A picture needs at least one pixel on each side. Received: "
            f"height={height}, width={width}."
        )
    return np.stack([_fitted(photo, height, width) for photo in photos])


def _fitted(photo, height, width):
    from PIL import Image

    own_height, own_width = photo.shape[:2]
    scale = min(own_height / height, own_width / width)
    # Rounding must not push the box over the border.
    top = max((own_height - height * scale) / 2, 0)
    left = max((own_width - width * scale) / 2, 0)
    picture = Image.fromarray(photo).resize(
        (width, height),
        Image.Resampling.BICUBIC,
        box=(left, top, own_width - left, own_height - top),
    )
    return np.asarray(picture, "float32")
