"""Outputs of a model on disk, so that they are computed once."""

import contextlib
import functools
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import tree

from fritz_compress.analysis.settings import model_digest
from fritz_compress.checks import check_count, check_no_nan
from fritz_compress.files import whole_file

CACHE_BYTES = 500_000_000  # Unpacked chunks kept in memory, at most.
DTYPES = ("float32", "float16")
_FORMAT = 1
_MANIFEST = "cache.json"
_DAMAGES = (
    *(ValueError, KeyError, TypeError, AttributeError, OSError, EOFError),
    *(zipfile.BadZipFile, zlib.error),
)


class OutputCache:
    """A folder with the outputs of a model for all samples of a source.

    The samples are taken in chunks; each chunk is a compressed file with the
    outputs, the labels and a hash of what they were computed from. A file is
    written whole or not at all, and a chunk that is there is not computed
    again: after a kill the same call goes on, and makes the same bytes.

    Args:
        model: The model; `None` for a folder that is complete.
        source: The samples, of `cache_sources`.
        folder: Where the files are; made if it is missing.
        dtype: `"float32"` or `"float16"`, of the outputs on disk.
        batch_size, chunk_size: Samples computed at a time, and samples per
            file. A folder that exists keeps its own.
        on_chunk: Called after every chunk with the number of samples done.
        notes: What else to write down when a folder is begun, as JSON.

    Attributes:
        count: How many samples there are.
        notes: What was written down.

    Raises:
        TypeError, ValueError: for arguments that are not as described, for a
            folder of something else, of another model, other data or another
            type, for a damaged file, and for outputs that are not finite.
    """

    def __init__(
        self,
        model: keras.Model | None,
        source: Any,
        folder: str | os.PathLike,
        dtype: str = "float32",
        batch_size: int = 128,
        chunk_size: int = 1024,
        on_chunk: Callable[[int], None] | None = None,
        notes: Any = None,
    ):
        if dtype not in DTYPES:
            raise ValueError(
                f"`dtype` must be one of {list(DTYPES)}. Received: "
                f"dtype={dtype!r}."
            )
        self.folder = pathlib.Path(folder)
        self._model = model
        self._settings = _opened(
            self.folder,
            model,
            dtype,
            batch_size=check_count("batch_size", batch_size),
            chunk_size=check_count("chunk_size", chunk_size),
            notes=notes,
        )
        self.notes = self._settings["notes"]
        self.count = self._fill(source, on_chunk)
        size = sum(array.nbytes for array in self._read(0).values())
        self._capacity = max(2, CACHE_BYTES // max(size, 1))
        self._unpacked = functools.lru_cache(self._capacity)(self._read)

    def rows(
        self, indices: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Outputs and labels of some samples; half precision as single."""
        indices = np.asarray(indices)
        numbers, places = np.divmod(indices, self._settings["chunk_size"])
        rows: dict[str, np.ndarray] = {}
        for number in np.unique(numbers):
            here = numbers == number
            for name, array in self._unpacked(int(number)).items():
                if name not in rows:
                    shape = (len(indices), *array.shape[1:])
                    rows[name] = np.empty(shape, array.dtype)
                rows[name][here] = array[places[here]]
        return _named("output", rows), _named("label", rows)

    def order(
        self, indices: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """The samples in another order, that asks for few chunks at a time.

        If all chunks fit into memory, any order; else chunks in any order,
        and the samples of each in any order.
        """
        shuffled = rng.permutation(indices)
        chunks = shuffled // self._settings["chunk_size"]
        if len(np.unique(chunks)) <= self._capacity:
            return shuffled
        rank = rng.permutation(int(chunks.max()) + 1)
        return shuffled[np.argsort(rank[chunks], kind="stable")]

    def _fill(self, source, on_chunk):
        """Computes what is missing; returns the number of samples."""
        done = number = 0
        size = self._settings["chunk_size"]
        for number, chunk in enumerate(source.chunks(size), start=1):
            path = self._path(number - 1)
            if path.exists():
                self._check(path, chunk, done)
            else:
                self._compute(path, chunk)
            done += chunk.count
            if on_chunk is not None:
                on_chunk(done)
        if not done:
            raise ValueError(
                "There is nothing to cache. Received: a data set without "
                "samples."
            )
        if self._path(number).exists():
            raise self._other_data(f"it has more than {done} samples")
        return done

    def _check(self, path, chunk, done):
        with _arrays_of(path) as file:
            known = str(file["digest"])
        if known != chunk.digest:
            raise self._other_data(
                f"samples {done} to {done + chunk.count - 1} are others"
            )

    def _compute(self, path, chunk):
        if self._model is None:
            raise ValueError(
                f"'{self.folder}' does not hold all outputs: '{path.name}' is "
                "missing. Pass the model, to compute it."
            )
        inputs, labels = chunk.load()
        outputs = self._model.predict(
            inputs, batch_size=self._settings["batch_size"], verbose=0
        )
        arrays = {
            f"output_{i}": self._stored(output)
            for i, output in enumerate(tree.flatten(outputs))
        }
        labels = [] if labels is None else tree.flatten(labels)
        arrays |= {f"label_{i}": label for i, label in enumerate(labels)}
        with whole_file(path) as unfinished:
            np.savez_compressed(
                unfinished, digest=np.array(chunk.digest), **arrays
            )

    def _stored(self, output):
        """An output as it is written."""
        if not np.issubdtype(output.dtype, np.floating):
            return output
        check_no_nan("Outputs of the model", output)
        with np.errstate(over="ignore"):
            stored = output.astype(self._settings["dtype"])
        if np.isinf(stored).any():
            raise ValueError(
                f"Outputs of '{self._model.name}' must fit into "
                f"{stored.dtype}. Received: a number of "
                f"{np.abs(output).max():.4g}. Use dtype='float32', or a model "
                "whose outputs are finite."
            )
        return stored

    def _read(self, number):
        with _arrays_of(self._path(number)) as file:
            return {
                name: _single(file[name])
                for name in file.files
                if name != "digest"
            }

    def _path(self, number):
        return self.folder / f"{number:06}.npz"

    def _other_data(self, how):
        return ValueError(
            f"'{self.folder}' holds the outputs for other data: {how}. Name "
            "another folder, or remove this one to compute them again. (Data "
            "sets must come in the same order every time, without random "
            "changes.)"
        )


def _opened(folder, model, dtype, **others):
    """The settings of a folder, which are written if it is new."""
    wanted = {"format": _FORMAT, "dtype": dtype}
    if model is not None:
        wanted["model"] = model_digest(model)
    path = folder / _MANIFEST
    if not path.exists():
        if model is None:
            raise ValueError(
                f"No outputs are cached in '{folder}'. Pass the model, to "
                "compute them."
            )
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(
                f"'{folder}' exists and holds something else. Name a new or an "
                "empty folder for the outputs."
            )
        folder.mkdir(parents=True, exist_ok=True)
        settings = wanted | others
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(settings, indent=1))
        return settings
    try:
        settings = dict(json.loads(path.read_text()))
        other = [key for key in wanted if settings[key] != wanted[key]]
        settings = {key: settings[key] for key in (*wanted, *others)}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"'{path}' is damaged. Remove the folder, to compute its outputs "
            "again."
        ) from error
    if other:
        raise ValueError(
            f"'{folder}' holds the outputs of another "
            f"{' and another '.join(other)}. Name another folder, or remove "
            "this one to compute them again."
        )
    return settings


@contextlib.contextmanager
def _arrays_of(path):
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            yield arrays
    except _DAMAGES as error:
        raise ValueError(
            f"'{path}' is damaged. Remove it: what it held is computed again."
        ) from error


def _named(kind, rows):
    """The arrays of a kind, in the order of their numbers."""
    count = sum(name.startswith(kind) for name in rows)
    return [rows[f"{kind}_{number}"] for number in range(count)]


def _single(array):
    return array.astype("float32") if array.dtype == np.float16 else array
