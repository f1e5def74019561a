import keras
import numpy as np
import pytest

from fritz_compress.analysis import LatencyRow, LatencyTable, profile
from fritz_compress.convert import to_tflite


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("conversion is TensorFlow's")
    model = keras.Sequential(
        [keras.Input((64, 64, 8)), keras.layers.Conv2D(32, 5)]
    )
    path = tmp_path_factory.mktemp("files") / "net.tflite"
    to_tflite(model, path, samples=np.ones((1, 64, 64, 8), "float32"))
    return path


def test_every_setting_is_measured(file):
    table = profile.latency(file, runs=3)
    assert [(row.threads, row.xnnpack, row.runs) for row in table.rows] == [
        (1, True, 3),
        (1, False, 3),
        (2, True, 3),
        (2, False, 3),
    ]
    assert all(row.milliseconds > 0 for row in table.rows)
    assert table.file == "net.tflite"


def test_settings_are_chosen(file):
    table = profile.latency(str(file), threads=[1], xnnpack=[False], runs=1)
    ((threads, xnnpack),) = [(r.threads, r.xnnpack) for r in table.rows]
    assert (threads, xnnpack) == (1, False)


def test_table():
    rows = (LatencyRow(1, True, 12.345, 15), LatencyRow(2, False, 140.0, 15))
    assert str(LatencyTable("net.tflite", rows)).splitlines() == [
        "net.tflite: one sample",
        "threads  XNNPACK  milliseconds",
        "1        yes             12.35",
        "2        no             140.00",
    ]


def test_other_files_and_counts_are_refused(file):
    with pytest.raises(ValueError, match="ends with .tflite.*'net.mlmodel'"):
        profile.latency("net.mlmodel")
    with pytest.raises(ValueError, match="No network at 'missing.tflite'"):
        profile.latency("missing.tflite")
    with pytest.raises(ValueError, match="at least one thread.*threads=0"):
        profile.latency(file, threads=(1, 0))
    with pytest.raises(ValueError, match="one run.*runs=0"):
        profile.latency(file, runs=0)
