"""Calls in other processes, with the Keras backend of this one.

Imports no Keras itself: a new process chooses the backend before that.
"""

import contextlib
import importlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import joblib
import joblib.parallel

from fritz_compress.silence import silenced


def call_with_backend(backend: str, function: str, *arguments: Any) -> Any:
    """Calls a function of the package after Keras was given its backend.

    Args:
        backend: Name of the Keras backend of the caller, such as `"jax"`.
        function: The function as `"module:name"`. Not the object, whose
            module would import Keras too early.
        *arguments: What it is called with; also nothing that imports Keras.

    Raises:
        RuntimeError: if Keras was imported before, with another backend.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # Some greetings of TensorFlow heed no setting.
        with silenced():
            importlib.import_module("keras")
    import keras

    if keras.backend.backend() != backend:
        raise RuntimeError(
            f"Workers must compute with the Keras backend of the caller, "
            f"'{backend}'. Received: a worker on "
            f"'{keras.backend.backend()}'. Start the workers with "
            f"KERAS_BACKEND={backend}."
        )
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)(*arguments)


class Pool:
    """Workers that joblib's active backend started.

    Attributes:
        streams: Whether results come before all calls are done. loky (the
            default), threads and Dask do that; Ray does not, and also sends
            the arguments of every call, which the others send once.
    """

    def __init__(self, parallel: joblib.Parallel, streams: bool, size: int):
        self._parallel = parallel
        self._size = size
        self.streams = streams

    def run(self, calls: Iterable[tuple]) -> Iterator[Any]:
        """Runs calls made by `joblib.delayed`; yields results as they come.

        Calls are made as they are needed.
        """
        if self.streams:
            yield from self._parallel(calls)
            return
        for wave in batches(calls, self._size):
            yield from self._parallel(wave)


@contextlib.contextmanager
def pool(n_jobs: int | None) -> Iterator[Pool]:
    """Keeps workers from one run of calls to the next.

    Args:
        n_jobs: As for `joblib.Parallel`; with `None` what the surrounding
            `joblib.parallel_config` says.
    """
    backend, _ = joblib.parallel.get_active_backend()
    streams = backend.supports_return_generator
    with joblib.Parallel(
        n_jobs,
        batch_size=1,
        return_as="generator_unordered" if streams else "list",
    ) as parallel:
        yield Pool(parallel, streams, joblib.effective_n_jobs(n_jobs))


def batches(items: Iterable, size: int) -> Iterator[list]:
    """The items in lists of a size, the last one perhaps shorter."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
