"""How long files take, measured side by side."""

import dataclasses
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Hashable, Sequence

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
    xnnpack: bool = True,
) -> dict[pathlib.Path, Timing]:
    """Median milliseconds of one sample through each file.

    The files take turns (A B A B ...), so that whatever else the machine does
    meets all of them: compare them by their ratio within one call. LiteRT
    runs on `threads` threads; how many a `.keras` file gets is up to the
    backend. Core ML files are not timed: our
    interpreters say nothing about Apple's runtime.

    Args:
        paths: `.tflite`, `.keras`, `.mlmodel` or `.mlpackage` files.
        picture_size: `(height, width)` in pixels for `.keras` files of any
            size. Defaults to `(480, 640)`.
        threads: Threads of LiteRT. Defaults to 1.
        runs: Timed runs of each file. Defaults to 15.
        warmup: Runs before, not timed. Defaults to 2.
        xnnpack: Whether LiteRT computes with XNNPACK, its default, or with
            TFLite's own kernels.

    Returns: a `Timing` per path, in the order given.

    Raises:
        ValueError: for a missing or unreadable file, or a count below 1.

    Example:

    >>> times = latency(["teacher.tflite", "student.tflite"])
    >>> {path.stem: timing.milliseconds for path, timing in times.items()}
    {'teacher': 645.2, 'student': 119.3}
    """
    paths = [_existing(path, SUFFIXES) for path in paths]
    _check_counts(threads, runs, warmup)
    milliseconds = _interleaved(
        {
            path: _prepared(
                path, picture_size or DEFAULT_SIZE, threads, xnnpack
            )
            for path in paths
            if path.suffix.lower() in (".tflite", ".keras")
        },
        runs,
        warmup,
    )
    return {path: _timing(path, milliseconds) for path in paths}


def latency_by_setting(
    path: str | os.PathLike,
    threads: Sequence[int] = (1, 2),
    xnnpack: Sequence[bool] = (True, False),
    runs: int = 15,
    warmup: int = 2,
) -> dict[tuple[int, bool], float]:
    """Median milliseconds of one `.tflite` file in LiteRT, by its settings.

    The settings take turns, as the files of `latency` do.

    Args:
        path: A `.tflite` file.
        threads: Numbers of threads to try.
        xnnpack: Whether to try with XNNPACK, without, or both.
        runs, warmup: As of `latency`.

    Returns: milliseconds by threads and XNNPACK.

    Raises:
        ValueError: as `latency`; also for another kind of file.
    """
    path = _existing(path, (".tflite",))
    for count in threads:
        _check_counts(count, runs, warmup)
    return _interleaved(
        {
            (count, fast): _prepared(path, None, count, fast)
            for count in threads
            for fast in xnnpack
        },
        runs,
        warmup,
    )


def _existing(path, suffixes):
    path = files.check_suffix(path, suffixes)
    if not path.exists():
        raise ValueError(f"No network at '{path}'.")
    return path


def _check_counts(threads, runs, warmup):
    if threads < 1 or runs < 1 or warmup < 0:
        raise ValueError(
            "Expected at least one thread, one run, and zero runs to warm up. "
            f"Received: threads={threads}, runs={runs}, warmup={warmup}."
        )


def _timing(path, milliseconds):
    if path not in milliseconds:
        return Timing(None, "not timed: needs Apple's runtime")
    note = "threads not set" if path.suffix == ".keras" else ""
    return Timing(milliseconds[path], note)


def _interleaved(timed: dict[Hashable, Callable], runs, warmup):
    """Median milliseconds of each, all called in turn."""
    for _ in range(warmup):
        _take_turns(timed)
    seconds = [_take_turns(timed) for _ in range(runs)]
    return {
        key: 1000 * statistics.median(turn[key] for turn in seconds)
        for key in timed
    }


def _take_turns(timed):
    """Seconds of each, one call after the other."""
    seconds = {}
    for key, run in timed.items():
        start = time.perf_counter()
        run()
        seconds[key] = time.perf_counter() - start
    return seconds


def _prepared(path, picture_size, threads, xnnpack):
    """A function that computes once, everything else done before."""
    if path.suffix.lower() == ".tflite":
        model = LiteRTModel(path, threads, xnnpack)
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
