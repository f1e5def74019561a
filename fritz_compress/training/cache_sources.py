"""Samples whose outputs are cached, chunk by chunk, with a hash of each."""

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from fritz_compress.analysis.settings import digest
from fritz_compress.checks import described
from fritz_compress.training.photos import (
    SUFFIXES,
    photo_files,
    read_photo,
)


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some samples that follow each other.

    Attributes:
        count: How many.
        digest: A hash of inputs and labels.
        load: Returns inputs and labels, `None` without labels.
    """

    count: int
    digest: str
    load: Callable[[], tuple[Any, Any]]


class ArraySource:
    """Samples in arrays.

    Args:
        x: An array, or a structure of arrays for several inputs.
        y: Labels, likewise, or `None`.

    Raises:
        ValueError: for arrays without samples, or of different lengths.
    """

    def __init__(self, x: Any, y: Any = None):
        self.x = tree.map_structure(np.asarray, x)
        self.y = None if y is None else tree.map_structure(np.asarray, y)
        lengths = {len(array) for array in _arrays((self.x, self.y))}
        if len(lengths) != 1 or not max(lengths):
            raise ValueError(
                "Inputs and labels must be arrays with as many samples, one at "
                f"least. Received: {sorted(lengths)} samples."
            )
        self.count = lengths.pop()

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The samples, so many at a time."""
        for start in range(0, self.count, size):
            indices = np.arange(start, min(start + size, self.count))
            load = functools.partial(self.rows, indices)
            yield Chunk(len(indices), digest(*_arrays(load())), load)

    def rows(self, indices: np.ndarray) -> tuple[Any, Any]:
        """Inputs and labels of some samples."""

        def taken(array):
            return array[indices]

        labels = None if self.y is None else tree.map_structure(taken, self.y)
        return tree.map_structure(taken, self.x), labels


class PictureSource:
    """Photos of a folder with a folder for each class, or with none.

    Args:
        folder: The folder.
        size: `(height, width)` in pixels that photos are resized to.
        preprocess: Called with batches of pixels in `[0, 255]`, returns what
            the model takes; `None` if that is what it takes.

    Attributes:
        class_names: Names of the folders in the order of their numbers, which
            are the labels; empty without.

    Raises:
        ValueError: for a folder that does not exist or holds no photo.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        size: tuple[int, int],
        preprocess: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.size = size
        self.preprocess = preprocess
        files = photo_files(folder)
        if not files:
            raise ValueError(
                f"No photo was found in '{folder}'. Expected files ending in "
                f"{', '.join(SUFFIXES)}."
            )
        self.count = len(files)
        self._files = list(files.values())
        self._names = list(files)
        parts = [pathlib.PurePath(name).parts for name in files]
        loose = [name for name, path in zip(files, parts) if len(path) == 1]
        if loose and len(loose) < len(files):
            raise ValueError(
                f"Photos of '{folder}' must all be in folders of their class, "
                f"or none of them. Received: '{loose[0]}' beside folders."
            )
        self.class_names = () if loose else tuple(sorted({p[0] for p in parts}))
        self._labels = None
        if self.class_names:
            numbers = [self.class_names.index(path[0]) for path in parts]
            self._labels = np.array(numbers, "int32")

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The photos, so many at a time; hashed without being decoded."""
        # What is done to pixels shows in what comes out.
        ramp = np.linspace(0, 255, 3 * self.size[0] * self.size[1])
        ramp = self._preprocessed(ramp.reshape(1, *self.size, 3))
        how = digest(ramp)
        for start in range(0, self.count, size):
            indices = np.arange(start, min(start + size, self.count))
            found = hashlib.sha256(how.encode())
            for index in indices:
                found.update(f"\0{self._names[index]}\0".encode())
                found.update(self._files[index].read_bytes())
            load = functools.partial(self.rows, indices)
            yield Chunk(len(indices), found.hexdigest(), load)

    def rows(self, indices: np.ndarray) -> tuple[np.ndarray, Any]:
        """Pixels and labels of some photos.

        Raises:
            ValueError: naming a file that is no photo.
        """
        height, width = self.size
        photos = [
            read_photo(self._files[index]).resize((width, height))
            for index in indices
        ]
        pixels = np.stack([np.asarray(photo) for photo in photos])
        labels = None if self._labels is None else self._labels[indices]
        return self._preprocessed(pixels), labels

    def _preprocessed(self, pixels):
        pixels = np.asarray(pixels, "float32")
        if self.preprocess is None:
            return pixels
        return np.asarray(self.preprocess(pixels))


class StreamSource:
    """Batches that come in the same order whenever they are asked for.

    Args:
        batches: A finite `tf.data.Dataset`, or a `keras.utils.PyDataset`, of
            inputs or of pairs of inputs and labels.

    Raises:
        ValueError: for an endless data set.
    """

    def __init__(self, batches: tf.data.Dataset | keras.utils.PyDataset):
        if isinstance(batches, keras.utils.PyDataset):
            batches = _as_tensorflow(batches)
        if batches.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "Outputs of an endless data set cannot be cached. Pass it "
                "without `repeat()`, or with `take(count)`."
            )
        self.batches = batches

    def pairs(self) -> tf.data.Dataset:
        """The batches as tuples: of inputs alone, or with labels."""
        return self.batches.map(lambda *parts: parts)

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The samples, so many at a time."""
        samples = self.pairs().unbatch().batch(size)
        for parts in samples.as_numpy_iterator():
            if len(parts) > 2:
                raise ValueError(
                    "Expected batches of inputs, or of inputs and labels. "
                    f"Received: {len(parts)} parts. Leave sample weights out."
                )
            pair = parts if len(parts) == 2 else (parts[0], None)
            arrays = _arrays(pair)
            yield Chunk(len(arrays[0]), digest(*arrays), lambda pair=pair: pair)


def source_of(x: Any, y: Any = None) -> ArraySource | StreamSource:
    """What to read samples from, by what the user passed.

    Args:
        x: Arrays, or batches.
        y: Labels, for arrays.

    Raises:
        TypeError: for a path.
        ValueError: for labels beside a data set, which has its own.
    """
    if isinstance(x, (str, os.PathLike)):
        raise TypeError(
            "Inputs must be arrays or a data set. Received: the path "
            f"'{x}'. Pass `keras.utils.image_dataset_from_directory(path, "
            "shuffle=False)` for a folder of photos."
        )
    if not isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)):
        return ArraySource(x, y)
    if y is not None:
        raise ValueError(
            "Labels of a data set come with it. Received: `y` beside "
            f"{described(x)}."
        )
    return StreamSource(x)


def _arrays(structure):
    return [x for x in tree.flatten(structure) if x is not None]


def _as_tensorflow(batches):
    first = tree.map_structure(np.asarray, _as_tuple(batches[0]))
    signature = tree.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype),
        first,
    )

    def generate():
        for index in range(len(batches)):
            yield tree.map_structure(np.asarray, _as_tuple(batches[index]))

    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def _as_tuple(batch):
    return batch if isinstance(batch, tuple) else (batch,)
