"""Many evaluations of one model, here or in other processes."""

import pickle
import threading
from collections.abc import Callable, Iterator, Mapping

import joblib
import keras
import numpy as np

from fritz_compress import workers
from fritz_compress.analysis.probe import Experiment, Probe, Zeros
from fritz_compress.analysis.settings import digest
from fritz_compress.analysis.sweep import Key, Metrics

# For each key what to zero, made when it is needed.
Points = Mapping[Key, Callable[[], list[Zeros]]]
Measure = Callable[[Points], Iterator[tuple[Key, Metrics]]]

_local = threading.local()


def measurer(
    experiment: Experiment, n_jobs: int | None, points_per_call: int
) -> Measure:
    """A function that measures points and yields them as they are done.

    Args:
        experiment: The model and how it is evaluated.
        n_jobs: As for `joblib.Parallel`. With one, nothing is pickled.
        points_per_call: How many points share one copy of the experiment on
            the way to workers that are sent one for every call.
    """
    if joblib.effective_n_jobs(n_jobs) == 1:
        probe = Probe(experiment)
        return lambda points: (
            (key, probe.measure(zeros())) for key, zeros in points.items()
        )
    pickled = experiment.pickled()
    identity = digest(pickled)
    streams = workers.backend_streams()
    size = 1 if streams else points_per_call
    call = joblib.delayed(workers.call_with_backend)

    def measure(points):
        calls = (
            call(
                keras.backend.backend(),
                f"{__name__}:measure_in_worker",
                identity,
                pickled,
                [(key, points[key]()) for key in keys],
            )
            for keys in workers.batches(points, size)
        )
        for results in workers.run_all(calls, n_jobs, streams):
            yield from results

    return measure


def measure_in_worker(
    identity: str, pickled: np.ndarray, points: list[tuple[Key, list[Zeros]]]
) -> list[tuple[Key, Metrics]]:
    """Measures in a worker, which keeps the copy for its next call.

    Args:
        identity: A hash of `pickled`.
        pickled: `Experiment.pickled()`.
        points: What to zero in each evaluation, and its key.
    """
    # One copy per thread: some workers run several calls at once.
    if getattr(_local, "identity", None) != identity:
        _local.identity = None
        _local.probe = Probe(pickle.loads(pickled.tobytes()))
        _local.identity = identity
    return [(key, _local.probe.measure(zeros)) for key, zeros in points]
