"""Slices of the commands behind the tables on networks small by design."""

import argparse
import csv
import importlib
import pathlib
import sys

import keras
import pytest
from synthetic_data import synthetic

pytestmark = pytest.mark.slow
BENCHMARKS = pathlib.Path(__file__).parent / "benchmarks"


@pytest.fixture
def command(monkeypatch):
    """Commands import their neighbours by name alone."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_resnet_at_half_its_macs(command, tmp_path, monkeypatch):
    benchmark = command("factorized_resnet")
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "table.csv")
    monkeypatch.setattr(benchmark, "SAMPLES", 100)
    data = synthetic(300)
    args = argparse.Namespace(work=tmp_path, alpha=0.5, seed=0, epochs=2)
    keras.utils.set_random_seed(0)
    model = benchmark.trained(
        "baseline", lambda: benchmark.resnet(args), data, args, 0.1
    )
    benchmark.record("baseline", "", model, data, args)
    assert not benchmark.done("channel", args)
    benchmark.stages(model, "channel", data, args)
    assert benchmark.done("channel", args)
    baseline, alone, corrected, tuned = table(tmp_path / "table.csv")
    rows = alone, corrected, tuned
    assert [row["stage"] for row in rows] == [
        "kernels alone",
        "corrected",
        "trained on",
    ]
    assert baseline["macs"] == "7783872"
    for row in rows:
        assert 0.45 < int(row["macs"]) / 7_783_872 <= 0.5
    # Convolutions without a bias are given one by the correction.
    sizes = [int(row["parameters"]) for row in rows]
    assert sizes[0] < sizes[1] == sizes[2]


def test_channels_shuffled_or_not(command, tmp_path, monkeypatch, capsys):
    benchmark = command("channel_shuffle")
    monkeypatch.setattr(benchmark, "TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(benchmark, "load", lambda _: synthetic(64))
    options = "--groups 3 --seeds 0 1 --images 64 --epochs 1".split()
    monkeypatch.setattr(sys, "argv", ["channel_shuffle.py", *options])
    benchmark.main()
    rows = table(tmp_path / "table.csv")
    assert {(row["shuffle"], row["seed"]) for row in rows} == {
        *(("False", "0"), ("False", "1")),
        *(("True", "0"), ("True", "1")),
    }
    assert {row["parameters"] for row in rows} == {"18349"}
    assert "3 groups, no shuffle" in capsys.readouterr().out
    benchmark.main()
    assert table(tmp_path / "table.csv") == rows, "trained again"


def test_temperatures_of_a_teacher(command, tmp_path, monkeypatch):
    benchmark = command("temperature_sweep")
    for name, value in {
        "TEMPERATURES": (2,),
        "SEEDS": (0, 1),
        "TEACHER_EPOCHS": 1,
        "EPOCHS": 2,
    }.items():
        monkeypatch.setattr(benchmark, name, value)
    data = synthetic(256)
    teacher = benchmark.trained_teacher(data, tmp_path)
    rows = benchmark.sweep(teacher, data, tmp_path)
    assert [(row["temperature"], row["seed"]) for row in rows] == [
        *((0, 0), (0, 1), (2, 0), (2, 1)),
    ]
    *_, mean = benchmark.summary(rows)
    tests = [row["test"] for row in rows[2:]]
    assert mean["test"] == pytest.approx(sum(tests) / 2)
    assert mean["test_spread"] == pytest.approx(
        abs(tests[0] - tests[1]) / 2**0.5
    )
    assert benchmark.sweep(None, data, tmp_path) == rows, "trained again"
    seconds = benchmark.epochs_in_turn(teacher, data, tmp_path)
    assert set(seconds) == {"disk", "teacher"} and min(seconds.values()) > 0
