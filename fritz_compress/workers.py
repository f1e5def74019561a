"""Calls in other processes, with the Keras backend of this one.

Imports no Keras itself: a new process chooses the backend before that.
"""

import importlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import joblib
import joblib.parallel


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


def run_all(
    calls: Iterable[tuple], n_jobs: int | None, streams: bool
) -> Iterator[Any]:
    """Runs calls made by `joblib.delayed` and yields results as they come.

    Args:
        calls: The calls, made as they are needed.
        n_jobs: As for `joblib.Parallel`; with `None` what the surrounding
            `joblib.parallel_config` says.
        streams: What `backend_streams` says.
    """
    if streams:
        yield from joblib.Parallel(
            n_jobs, batch_size=1, return_as="generator_unordered"
        )(calls)
        return
    with joblib.Parallel(n_jobs, batch_size=1) as pool:
        for wave in batches(calls, joblib.effective_n_jobs(n_jobs)):
            yield from pool(wave)


def batches(items: Iterable, size: int) -> Iterator[list]:
    """The items in lists of a size, the last one perhaps shorter."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def backend_streams() -> bool:
    """Whether joblib's backend hands over a result before all are there.

    loky (the default), threads and Dask do; Ray does not, and also copies the
    arguments of every call, which the others send once.
    """
    backend, _ = joblib.parallel.get_active_backend()
    return backend.supports_return_generator
