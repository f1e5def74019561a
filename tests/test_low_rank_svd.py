"""A slice of the command that times truncated SVD beside numpy's."""

import csv
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
COMMAND = pathlib.Path(__file__).parent / "benchmarks" / "low_rank_svd.py"


def table(folder, *options):
    path = folder / "table.csv"
    arguments = [sys.executable, COMMAND, "--table", path, *options]
    subprocess.run(
        list(map(str, arguments)), check=True, stdout=subprocess.DEVNULL
    )
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_errors_are_near_the_least_there_are(tmp_path):
    options = ["--rows", 900, "--columns", 400, "--ranks", 12, 100, "--numpy"]
    full, few, many = table(tmp_path, *options)
    assert [row["how"] for row in (full, few, many)] == [
        "numpy",
        "ours",
        "ours",
    ]
    assert (few["rank"], many["rank"]) == ("12", "100")
    assert 1 - 1e-5 < float(few["error_ratio"]) < 1.02  # By random projections.
    assert float(many["error_ratio"]) == pytest.approx(1, abs=1e-5)
    assert float(many["faster"]) > 0 and float(full["seconds"]) > 0


def test_memory_stays_under_three_kernels(tmp_path):
    """38 MB, decomposed in both ways: the committed table has 411 MB."""
    options = ["--rows", 12000, "--columns", 800, "--ranks", 20, 200]
    rows = table(tmp_path, *options)
    for row in rows:
        assert 1 < float(row["kernels"]) < 3
        assert not row["faster"] and not row["error_ratio"]
