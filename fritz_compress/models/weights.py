"""Weights from files into models, with errors that say what differs."""

import os
import pathlib
import zipfile

import h5py
import keras
import numpy as np

SUFFIXES = (".weights.h5", ".keras", ".h5", ".npz")

# What NumPy, h5py and Keras raise on files that are damaged or other things.
_BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OSError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
)

# Groups of an HDF5 file that do not hold weights of the model.
_NOT_WEIGHTS = {"optimizer", "optimizer_weights", "seed_generator"}


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Loads every weight of a model from a file, or raises.

    Args:
        model: A built model; on an error its weights are as they were.
        path: A `.weights.h5`, `.keras` or `.h5` file that Keras wrote, or a
            `.npz` archive that holds one array per weight, named by the
            weight's `path` ("layer/kernel").

    Raises:
        ValueError: if the file does not exist, its name has another ending,
            or it holds the weights of another architecture.
    """
    path = pathlib.Path(path)
    if not path.name.endswith(SUFFIXES):
        raise ValueError(
            f"A checkpoint file must end in one of {', '.join(SUFFIXES)}. "
            f"Received: '{path}'."
        )
    if not path.is_file():
        raise ValueError(f"No checkpoint file at '{path}'.")
    read = _from_archive if path.suffix == ".npz" else _from_keras
    model.set_weights(read(model, path))


def _from_archive(model, path):
    try:
        with open(path, "rb") as file, np.load(file) as archive:
            stored = {name: archive[name] for name in archive.files}
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    missing = [w.path for w in model.weights if w.path not in stored]
    extra = stored.keys() - {w.path for w in model.weights}
    if missing or extra:
        raise _mismatch(
            model,
            path,
            f"missing in the file: {missing[:3] or 'nothing'}, "
            f"unknown to the model: {sorted(extra)[:3] or 'nothing'}",
        )
    for weight in model.weights:
        if stored[weight.path].shape != tuple(weight.shape):
            raise _mismatch(
                model,
                path,
                f"'{weight.path}' has shape {tuple(weight.shape)} in the "
                f"model and {stored[weight.path].shape} in the file",
            )
    return [
        stored[weight.path].astype(weight.dtype) for weight in model.weights
    ]


def _from_keras(model, path):
    stored = _stored_parameters(path)
    if stored != model.count_params():
        raise _mismatch(
            model,
            path,
            f"the model has {model.count_params():,} parameters and the file "
            f"{stored:,}",
        )
    # Keras assigns weight by weight and may stop halfway: try on a copy.
    trial = keras.models.clone_model(model)
    try:
        trial.load_weights(path)
    except _BROKEN as error:
        raise _mismatch(model, path, str(error)) from error
    return trial.get_weights()


def _stored_parameters(path):
    """How many numbers the file holds, an optimizer's not counted."""
    try:
        if path.suffix == ".keras":
            model = keras.saving.load_model(path, compile=False)
            return model.count_params()
        return _datasets(path)
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def _datasets(path):
    sizes = []

    def count(name, item):
        if isinstance(item, h5py.Dataset) and not _NOT_WEIGHTS.intersection(
            name.split("/")
        ):
            sizes.append(item.size)

    with h5py.File(path) as file:
        file.visititems(count)
    return sum(sizes)


def _unreadable(path, error):
    return ValueError(f"'{path}' can not be read: {error}")


def _mismatch(model, path, difference):
    return ValueError(
        f"'{path}' does not hold the weights of model '{model.name}' "
        f"({len(model.layers)} layers, {model.count_params():,} parameters): "
        f"{difference}. Build the model with the class and `alpha` it was "
        "trained with."
    )
