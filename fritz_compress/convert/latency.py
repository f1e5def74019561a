"""How long files take, measured side by side."""

import dataclasses
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np

from fritz_compress import files
from fritz_compress.convert import samples as sampling
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.convert.runner import SUFFIXES, load_keras

DEFAULT_SIZE = (480, 640)


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long one file takes.

    Attributes:
        milliseconds: Median over the runs; `None` if it was not timed.
        note: What to know about the number, or why there is none.
    """

    milliseconds: float | None
    note: str = ""


def latency(
    paths: Sequence[str | os.PathLike],
    picture_size: tuple[int, int] | None = None,
    threads: int = 1,
    runs: int = 15,
    warmup: int = 2,
) -> dict[pathlib.Path, Timing]:
    """Median milliseconds of one sample through each file.

    The files take turns (A B A B ...), so that whatever else the machine does
    meets all of them: compare them by their ratio within one call. LiteRT runs
    with its default kernels (XNNPACK) on `threads` threads; how many threads a
    `.keras` file gets is up to the backend. Core ML files are not timed: our
    interpreters say nothing about Apple's runtime.

    Args:
        paths: `.tflite`, `.keras`, `.mlmodel` or `.mlpackage` files.
        picture_size: `(height, width)` in pixels for `.keras` files of any
            size. Defaults to `(480, 640)`.
        threads: Threads of LiteRT. Defaults to 1.
        runs: Timed runs of each file. Defaults to 15.
        warmup: Runs before, not timed. Defaults to 2.

    Returns: a `Timing` per path, in the order given.

    Raises:
        ValueError: for a missing or unreadable file, or a count below 1.

    Example:

    >>> times = latency(["teacher.tflite", "student.tflite"])
    >>> {path.stem: timing.milliseconds for path, timing in times.items()}
    {'teacher': 645.2, 'student': 119.3}
    """
    if threads < 1 or runs < 1 or warmup < 0:
        raise ValueError(
            "Expected at least one thread, one run, and zero runs to warm up. "
            f"Received: threads={threads}, runs={runs}, warmup={warmup}."
        )
    paths = [files.check_suffix(path, SUFFIXES) for path in paths]
    for path in paths:
        if not path.exists():
            raise ValueError(f"No network at '{path}'.")
    timed = {
        path: _prepared(path, picture_size or DEFAULT_SIZE, threads)
        for path in paths
        if path.suffix.lower() in (".tflite", ".keras")
    }
    for _ in range(warmup):
        _take_turns(timed)
    seconds = [_take_turns(timed) for _ in range(runs)]
    return {path: _timing(path, seconds) for path in paths}


def _timing(path, seconds):
    if path not in seconds[0]:
        return Timing(None, "not timed: needs Apple's runtime")
    median = statistics.median(run[path] for run in seconds)
    return Timing(
        1000 * median, "threads not set" if path.suffix == ".keras" else ""
    )


def _take_turns(timed: dict[pathlib.Path, Callable]):
    """Seconds of each, one call after the other."""
    seconds = {}
    for path, run in timed.items():
        start = time.perf_counter()
        run()
        seconds[path] = time.perf_counter() - start
    return seconds


def _prepared(path, picture_size, threads):
    """A function that computes once, everything else done before."""
    if path.suffix.lower() == ".tflite":
        model = LiteRTModel(path, threads)
        model.set_input(_inputs(model.input_shape))
        return model.invoke
    model = load_keras(path)
    size = picture_size if None in model.input_shape[1:] else None
    inputs = _inputs((1, *sampling.input_shape(model, size)[1:]))
    return lambda: keras.ops.convert_to_numpy(model.predict_on_batch(inputs))


def _inputs(shape):
    """A photo, or for other networks random numbers in [0, 1)."""
    if len(shape) == 4 and shape[-1] == 3:
        photo = sampling.sample_pictures(*shape[1:3])[:1]
        return np.repeat(photo, shape[0], axis=0)
    return np.random.default_rng(0).random(shape, "float32")
