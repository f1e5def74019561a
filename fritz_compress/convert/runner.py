"""Running any file that a network was saved or converted to."""

import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from fritz_compress import files
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.litert import LiteRTModel

SUFFIXES = (".keras", ".tflite", ".mlmodel", ".mlpackage")


class Runner:
    """A network in a file, from RGB pictures to RGB pictures.

    Made by `load`.

    Attributes:
        path: The file, or the folder of a `.mlpackage`.
        format: `"keras"`, `"tflite"`, `"mlmodel"` or `"mlpackage"`.
        image_size: `(height, width)`, or `None` if any size works.
        bytes: Size of the file, or of all files of the folder.
    """

    def __init__(
        self,
        path: pathlib.Path,
        network: Callable[[np.ndarray], np.ndarray],
        input_shape: tuple[int | None, ...],
    ):
        if len(input_shape) != 4 or input_shape[-1] != 3:
            raise ValueError(
                "Only networks that take RGB pictures can be run. Received: "
                f"'{path}', which takes inputs of shape {tuple(input_shape)}."
            )
        size = tuple(input_shape[1:3])
        self.path = path
        self.format = path.suffix.lower()[1:]
        self.image_size = None if None in size else size
        self.bytes = files.size_in_bytes(path)
        self._network = network

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Runs the pictures one by one.

        Args:
            pictures: Shape `(n, height, width, 3)`, values in `[0, 255]`.

        Returns: float32 array of pictures, clipped to `[0, 255]`, not rounded.

        Raises:
            ValueError: for pictures of another shape or size.
        """
        pictures = np.asarray(pictures, "float32")
        size = pictures.shape[1:3]
        if pictures.ndim != 4 or pictures.shape[-1] != 3 or not len(pictures):
            raise ValueError(
                "Expected pictures of shape (n, height, width, 3). Received: "
                f"shape {pictures.shape}."
            )
        if self.image_size not in (None, size):
            raise ValueError(
                f"'{self.path}' takes pictures of (height, width) "
                f"{self.image_size}. Received: {size}. Resize them."
            )
        results = [self._network(picture[np.newaxis]) for picture in pictures]
        return np.clip(np.concatenate(results), 0, 255)


def load(path: str | os.PathLike) -> Runner:
    """Reads a network from pictures to pictures for running.

    A `.tflite` runs in LiteRT. Core ML files run in our interpreters of their
    specifications, since Apple's runtime exists on Apple's systems only.

    Args:
        path: A `.keras`, `.tflite`, `.mlmodel` or `.mlpackage`.

    Raises:
        ValueError: if there is no such file, it cannot be read, or it does
            not take RGB pictures.

    Example:

    >>> student = load("student.tflite")
    >>> student(sample_pictures(*student.image_size)).shape
    (2, 480, 640, 3)
    """
    path = files.check_suffix(path, SUFFIXES)
    if not path.exists():
        raise ValueError(f"No network at '{path}'.")
    try:
        network, shape = _LOADERS[path.suffix.lower()](path)
    except ConversionError:
        raise
    except Exception as error:  # Each format has errors of its own.
        raise ValueError(f"'{path}' cannot be loaded: {error}") from error
    return Runner(path, network, shape)


def load_keras(path: str | os.PathLike) -> keras.Model:
    """A `.keras` model without its optimizer, our layers known."""
    import fritz_compress.layers  # noqa: F401 Registers them.

    return keras.saving.load_model(path, compile=False)


def _keras(path):
    model = load_keras(path)

    def network(pictures):
        return keras.ops.convert_to_numpy(model(pictures, training=False))

    return network, model.input_shape


def _tflite(path):
    model = LiteRTModel(path)
    return model, model.input_shape


def _mlmodel(path):
    from fritz_compress.convert import neural_network_interpreter

    model = neural_network_interpreter.load(path)
    return model, model.input_shape


def _mlpackage(path):
    from fritz_compress.convert import mil_interpreter

    model = mil_interpreter.load(path)
    return model, model.input_shape


_LOADERS = dict(zip(SUFFIXES, (_keras, _tflite, _mlmodel, _mlpackage)))
