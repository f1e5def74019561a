"""Slices of the commands behind the tables on networks small by design."""

import argparse
import csv
import sys

import channel_shuffle
import factorized_resnet
import keras
import pytest
import temperature_sweep
from synthetic_data import synthetic

pytestmark = pytest.mark.slow


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_resnet_at_half_its_macs(tmp_path, monkeypatch):
    monkeypatch.setattr(factorized_resnet, "RESULTS", tmp_path / "table.csv")
    monkeypatch.setattr(factorized_resnet, "SAMPLES", 100)
    data = synthetic(300)
    args = argparse.Namespace(work=tmp_path, alpha=0.5, seed=0, epochs=2)
    keras.utils.set_random_seed(0)
    model = factorized_resnet.trained(
        "baseline", lambda: factorized_resnet.resnet(args), data, args, 0.1
    )
    factorized_resnet.record("baseline", "", model, data, args)
    assert not factorized_resnet.done("channel", args)
    factorized_resnet.stages(model, "channel", data, args)
    assert factorized_resnet.done("channel", args)
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


def test_channels_shuffled_or_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(channel_shuffle, "TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(channel_shuffle, "load", lambda _: synthetic(64))
    options = "--groups 3 --seeds 0 1 --images 64 --epochs 1".split()
    monkeypatch.setattr(sys, "argv", ["channel_shuffle.py", *options])
    channel_shuffle.main()
    rows = table(tmp_path / "table.csv")
    assert {(row["shuffle"], row["seed"]) for row in rows} == {
        *(("False", "0"), ("False", "1")),
        *(("True", "0"), ("True", "1")),
    }
    assert {row["parameters"] for row in rows} == {"18349"}
    assert "3 groups, no shuffle" in capsys.readouterr().out
    channel_shuffle.main()
    assert table(tmp_path / "table.csv") == rows, "trained again"


def test_temperatures_of_a_teacher(tmp_path, monkeypatch):
    for name, value in {
        "TEMPERATURES": (2,),
        "SEEDS": (0, 1),
        "TEACHER_EPOCHS": 1,
        "EPOCHS": 2,
    }.items():
        monkeypatch.setattr(temperature_sweep, name, value)
    data = synthetic(256)
    teacher = temperature_sweep.trained_teacher(data, tmp_path)
    rows = temperature_sweep.sweep(teacher, data, tmp_path)
    assert [(row["temperature"], row["seed"]) for row in rows] == [
        *((0, 0), (0, 1), (2, 0), (2, 1)),
    ]
    *_, mean = temperature_sweep.summary(rows)
    tests = [row["test"] for row in rows[2:]]
    assert mean["test"] == pytest.approx(sum(tests) / 2)
    assert mean["test_spread"] == pytest.approx(
        abs(tests[0] - tests[1]) / 2**0.5
    )
    again = temperature_sweep.sweep(None, data, tmp_path)
    assert again == rows, "trained again"
    seconds = temperature_sweep.epochs_in_turn(teacher, data, tmp_path)
    assert set(seconds) == {"disk", "teacher"} and min(seconds.values()) > 0
