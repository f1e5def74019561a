"""A slice of the command behind the table of accuracy against bits."""

import argparse
import csv
import importlib
import pathlib

import numpy as np
import pytest
from synthetic_data import synthetic

pytestmark = pytest.mark.slow
BENCHMARKS = pathlib.Path(__file__).parent / "benchmarks"


@pytest.fixture(name="benchmark")
def command(monkeypatch, tmp_path):
    """Commands import their neighbours by name alone."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    benchmark = importlib.import_module("binary_networks")
    monkeypatch.setattr(benchmark, "TABLE", tmp_path / "table.csv")
    settings = {"resnet": (4, 1e-2), "mlp": (6, 3e-3)}
    monkeypatch.setattr(benchmark, "SETTINGS", settings)
    return benchmark


@pytest.mark.parametrize(
    "network, run",
    [
        ("mlp", "float"),
        ("mlp", "binaryconnect_stochastic"),
        ("mlp", "xnor"),
        ("resnet", "activations_2"),
        ("resnet", "convolution_normalization_sign"),
    ],
)
def test_networks_of_few_bits_learn(benchmark, network, run, tmp_path):
    data = synthetic(1024)
    args = argparse.Namespace(images=1024)
    wanted = benchmark.key(network, run, 0, args)
    benchmark.add(wanted | benchmark.measured(data, network, run, 0, args))
    assert benchmark.is_there(wanted)
    assert not benchmark.is_there(benchmark.key(network, run, 1, args))
    with (tmp_path / "table.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["test_accuracy"]) > 0.3  # Chance is 0.1.
    latent = row["test_accuracy_of_latent_weights"]
    assert bool(latent) == (run == "binaryconnect_stochastic")
    (line,) = benchmark.summary([network]) if run != "float" else [run]
    assert run in line


def test_the_table_holds_what_was_asked_for():
    """Three seeds each, of every network and way, trained alike."""
    with (BENCHMARKS / "binary_networks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        found.setdefault((row["network"], row["run"]), []).append(row)
    for of_run in found.values():
        assert sorted(int(row["seed"]) for row in of_run) == [0, 1, 2]
    assert sum(network == "mlp" for network, _ in found) == 9
    assert sum(network == "resnet" for network, _ in found) == 10
    for network in ("mlp", "resnet"):
        of_network = [row for row in rows if row["network"] == network]
        assert len({row["epochs"] for row in of_network}) == 1
        assert len({row["rate"] for row in of_network}) == 1
        mean = {
            run: np.mean(
                [float(r["test_accuracy"]) for r in found[network, run]]
            )
            for network_, run in found
            if network_ == network
        }
        assert mean["float"] >= mean["bwn"] > mean["xnor"]
