"""Many evaluations of one model, here or in other processes."""

import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import joblib
import keras
import numpy as np

from fritz_compress import workers
from fritz_compress.analysis.probe import Change, Experiment, Probe
from fritz_compress.analysis.settings import digest
from fritz_compress.analysis.sweep import Key, Metrics

# For each key what to change, made when it is needed.
Points = Mapping[Key, Callable[[], Sequence[Change]]]
Measure = Callable[[Points], Iterator[tuple[Key, Metrics]]]

_local = threading.local()


@contextlib.contextmanager
def measuring(
    experiment: Experiment, n_jobs: int | None, points_per_call: int
) -> Iterator[Measure]:
    """A function that measures points and yields them as they are done.

    Args:
        experiment: The model and how it is evaluated.
        n_jobs: As for `joblib.Parallel`. With one, nothing is pickled.
        points_per_call: How many points share one copy of the experiment on
            the way to workers that are sent one for every call.
    """
    if joblib.effective_n_jobs(n_jobs) == 1:
        probe = Probe(experiment)
        yield lambda points: (
            (key, probe.measure(changes())) for key, changes in points.items()
        )
        return
    pickled = experiment.pickled()
    identity = digest(pickled)
    with workers.pool(n_jobs) as pool:
        size = 1 if pool.streams else points_per_call

        def measure(points):
            calls = (
                _call(identity, pickled, [(key, points[key]()) for key in keys])
                for keys in workers.batches(points, size)
            )
            for results in pool.run(calls):
                yield from results

        yield measure


def measure_in_worker(
    identity: str,
    pickled: np.ndarray,
    points: list[tuple[Key, Sequence[Change]]],
) -> list[tuple[Key, Metrics]]:
    """Measures in a worker, which keeps the copy for its next call.

    Args:
        identity: A hash of `pickled`.
        pickled: `Experiment.pickled()`.
        points: What to change in each evaluation, and its key.
    """
    # One copy per thread: some workers run several calls at once.
    if getattr(_local, "identity", None) != identity:
        _local.identity = None
        _local.probe = Probe(pickle.loads(pickled.tobytes()))
        _local.identity = identity
    return [(key, _local.probe.measure(changes)) for key, changes in points]


def _call(*arguments):
    return joblib.delayed(workers.call_with_backend)(
        keras.backend.backend(), f"{__name__}:measure_in_worker", *arguments
    )
