"""Sweeps in other processes give what one process gives."""

import contextlib
import os
import subprocess
import sys

import joblib
import keras
import pytest
from helpers import distinct_weights
from joblib.externals.loky import get_reusable_executor
from keras import layers
from sensitivity_models import data

from fritz_compress import workers
from fritz_compress.analysis import sensitivity
from fritz_compress.layers import InstanceNormalization


def custom_model():
    """With a layer of ours, and one of a class that no module has."""

    @keras.saving.register_keras_serializable("measuring")
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    model = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            layers.Conv2D(6, 1, name="first"),
            InstanceNormalization(),
            layers.ReLU(),
            layers.Conv2D(4, 1, name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, name="head"),
            Doubled(),
        ]
    )
    distinct_weights(model)
    model.compile("adam", "mse", metrics=["mae"])
    return model


def elsewhere(x, y):
    """An evaluation that fails in this process, and on another backend."""
    here, backend = os.getpid(), keras.backend.backend()

    def evaluate(model):
        if os.getpid() == here or keras.backend.backend() != backend:
            raise RuntimeError(f"{os.getpid()} {keras.backend.backend()}")
        return model.evaluate(x, y, verbose=0, return_dict=True)

    return evaluate


@contextlib.contextmanager
def loky_processes():
    with joblib.parallel_config(n_jobs=2):
        yield
    get_reusable_executor().shutdown(wait=True)


@contextlib.contextmanager
def dask_cluster():
    distributed = pytest.importorskip("dask.distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        yield


@contextlib.contextmanager
def ray_cluster():
    ray = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=2):
            yield
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(
    "processes, kind",
    [
        (loky_processes, "filters"),
        (loky_processes, "weights"),
        (dask_cluster, "filters"),
        (ray_cluster, "filters"),
    ],
)
def test_workers_give_what_one_process_gives(
    processes, kind, tmp_path, monkeypatch
):
    model, (x, y) = custom_model(), data()
    arguments = {"fractions": (0.3, 0.6), "kind": kind}
    expected = sensitivity(model, x, y, **arguments)
    # What workers inherit is not what this process computes with.
    other = {"tensorflow": "jax", "jax": "tensorflow"}
    monkeypatch.setenv("KERAS_BACKEND", other[keras.backend.backend()])
    reports = []
    with processes():
        found = sensitivity(
            model,
            evaluate=elsewhere(x, y),
            resume_file=tmp_path / "sweep.jsonl",
            on_point=lambda *report: reports.append(report[:2]),
            **arguments,
        )
        by_data = sensitivity(model, x, y, **arguments)
    assert found == by_data == expected
    points = len(expected.rows)
    assert reports == [(n + 1, points) for n in range(points)]
    assert (tmp_path / "sweep.jsonl").read_text().count("\n") == points + 2


@pytest.mark.slow
def test_one_process_may_have_several_threads():
    model, (x, y) = custom_model(), data()
    expected = sensitivity(model, x, y, fractions=(0.3, 0.6))
    with joblib.parallel_config(backend="threading", n_jobs=3):
        assert sensitivity(model, x, y, fractions=(0.3, 0.6)) == expected


@pytest.mark.slow
def test_an_error_in_a_worker_arrives():
    def evaluate(model):
        raise OSError("no data here")

    with loky_processes(), pytest.raises(OSError, match="no data here"):
        sensitivity(custom_model(), evaluate=evaluate, mode="max")


def test_calls_are_refused_on_another_backend():
    here = keras.backend.backend()
    assert workers.call_with_backend(here, "math:hypot", 3, 4) == 5
    with pytest.raises(RuntimeError, match=f"caller, 'numpy'.*on '{here}'"):
        workers.call_with_backend("numpy", "math:hypot", 3, 4)


@pytest.mark.slow
def test_a_new_process_prints_no_greetings():
    code = (
        "from fritz_compress.workers import call_with_backend as call\n"
        f"print(call('{keras.backend.backend()}', 'math:hypot', 3, 4))"
    )
    environment = dict(os.environ)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (run.stdout, run.stderr) == ("5.0\n", "")


def test_calls_are_made_as_they_are_needed():
    made = []

    def calls():
        for number in range(5):
            made.append(number)
            yield joblib.delayed(abs)(-number)

    with workers.pool(None) as pool:
        results = pool.run(calls())
        assert next(results) == 0 and len(made) < 5
        assert list(results) == [1, 2, 3, 4]
        assert list(pool.run(calls())) == [0, 1, 2, 3, 4]


def test_batches():
    assert [*workers.batches(range(5), 2)] == [[0, 1], [2, 3], [4]]
    assert [*workers.batches([], 2)] == []
