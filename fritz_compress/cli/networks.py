"""Keras networks by file or by name."""

import pathlib
from collections.abc import Callable

import keras
import numpy as np

from fritz_compress import convert, models
from fritz_compress.cli.console import picture_files, read_arrays
from fritz_compress.models.pretrained import PRETRAINED
from fritz_compress.training import read_photo

ARCHITECTURES = {
    "large": models.StyleTransferNetwork,
    "small": models.SmallStyleTransferNetwork,
    "flat": models.FlatStyleTransferNetwork,
}


def load_network(
    name: str,
    image_size: tuple[int, int] | None = None,
    compiled: bool = False,
) -> keras.Model:
    """A `.keras` or `.h5` file, or a network that comes with the package.

    With `compiled`, a file's loss and metrics come along.
    """
    if name in PRETRAINED:
        return models.load_pretrained(name, image_size)
    path = pathlib.Path(name)
    if path.suffix not in (".keras", ".h5"):
        raise ValueError(
            "Expected a .keras or .h5 file, or one of "
            f"{', '.join(PRETRAINED)}. Received: '{name}'."
        )
    if not path.is_file():
        raise ValueError(f"No network at '{path}'.")
    try:
        return keras.saving.load_model(path, compile=compiled)
    except Exception as error:
        raise ValueError(f"'{path}' can not be loaded: {error}") from error


def load_compiled(
    name: str, loss: str | None, metric: str | None
) -> keras.Model:
    """A network to evaluate: with this loss and metric, or those of its file.

    Raises:
        ValueError: if there is no loss.
    """
    model = load_network(name, compiled=True)
    if loss is not None:
        model.compile(loss=loss, metrics=metric and [metric])
    elif not model.compiled:
        raise ValueError(
            f"'{name}' comes without loss and metrics. Name them, such as "
            "--loss sparse_categorical_crossentropy --metric accuracy."
        )
    return model


def load_runner(name: str) -> tuple[Callable, tuple[int, int] | None]:
    """Anything that stylizes, and the size of pictures it is made for."""
    if name in PRETRAINED or name.endswith(".h5"):
        model = load_network(name)
        size = tuple(model.input_shape[1:3])
        return model, None if None in size else size
    runner = convert.load(name)
    return runner, runner.image_size


def open_size(model: keras.Model) -> tuple[int, int] | None:
    """The size to assume for a network of any size, or `None`."""
    shape = model.inputs[0].shape
    return (480, 640) if len(shape) == 4 and None in shape[1:3] else None


def build_network(
    architecture: str, alpha: float, initial: pathlib.Path | None
) -> keras.Model:
    """A style network for any size, from random weights or from a file."""
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"The architecture is one of {', '.join(ARCHITECTURES)}. "
            f"Received: '{architecture}'."
        )
    builder = ARCHITECTURES[architecture]
    return builder.build(None, alpha, checkpoint_file=initial)


def read_samples(
    data: pathlib.Path | None,
    model: keras.Model,
    image_size: tuple[int, int] | None,
) -> np.ndarray | None:
    """The array `x` of an .npz file, or photos, if there are any."""
    if data is not None and data.suffix == ".npz":
        (arrays,) = read_arrays(data, ["x"])
        return arrays
    return pictures(data, model, image_size)


def pictures(
    photos: pathlib.Path | None,
    model: keras.Model,
    image_size: tuple[int, int] | None,
) -> np.ndarray | None:
    """Photos of a file or folder as inputs of a network, if there are any."""
    if photos is None:
        return None
    height, width = image_size or model.input_shape[1:3]
    return np.stack(
        [
            np.asarray(read_photo(file).resize((width, height)), "float32")
            for file in picture_files(photos)
        ]
    )
