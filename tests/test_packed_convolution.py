"""A slice of the command that times packed layers beside those of floats."""

import csv
import pathlib
import subprocess
import sys

import packed_convolution
import pytest

pytestmark = pytest.mark.slow
COMMAND = pathlib.Path(packed_convolution.__file__)
OPTIONS = {
    "--layers": ["128@10", "96"],
    "--alphas": ["0.25"],
    "--depth": ["8"],
    "--threads": ["1"],
    "--rounds": ["1"],
    "--seconds": ["0.05"],
}


def test_all_make_the_same_sums_and_packed_ones_are_faster(tmp_path):
    """The command fails where sums differ."""
    path = tmp_path / "table.csv"
    options = [word for name in OPTIONS for word in (name, *OPTIONS[name])]
    subprocess.run(
        [sys.executable, COMMAND, *options, "--table", path],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ways = {"packed", "packed_floats", "tensorflow", "numpy", "litert"}
    found = {row["how"]: row for row in rows if row["subject"] == "128@10"}
    assert set(found) == ways
    assert {r["how"] for r in rows if r["subject"] == "96"} == ways
    packed = found["packed"]
    assert float(packed["faster_than_tensorflow"]) > 1
    assert float(packed["faster_than_numpy"]) > 1
    assert packed["faster_than_keras"] == ""
    for row in found.values():
        ratio = float(packed["milliseconds"]) / float(row["milliseconds"])
        own = float(row["faster_than_numpy"])
        shown = float(packed["faster_than_numpy"])
        assert own == pytest.approx(shown * ratio, abs=0.02, rel=0.02)
    networks = [row for row in rows if "ResNet-8 x0.25" in row["subject"]]
    assert [(r["batch"], r["how"]) for r in networks] == [
        (batch, how)
        for batch in ("1", "32")
        for how in ("keras", "keras_float", "litert", "packed")
    ]
    assert all(float(row["milliseconds"]) > 0 for row in networks)


@pytest.mark.parametrize("wrong", ["packed", "keras", "litert"])
def test_other_numbers_are_an_error(monkeypatch, wrong):
    values = {how: [1.0, 2.0] for how in ("packed", "keras")}
    values |= {how: [5.0, 3.0] for how in ("keras_float", "litert")}
    values[wrong] = [1.0, 2.01]
    found = {
        ("ResNet", 1, how, 1): [{"values": numbers}]
        for how, numbers in values.items()
    }
    with pytest.raises(AssertionError, match="on ResNet, batch 1"):
        packed_convolution.check_equal(found)
