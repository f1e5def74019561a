"""A slice of the command behind the table of accuracy against bits."""

import sys

import binary_networks
import numpy as np
import pytest
from binary_ways import NETWORKS, ORDER, STOCHASTIC
from result_tables import read
from synthetic_data import synthetic

pytestmark = pytest.mark.slow
TABLE = binary_networks.TABLE


@pytest.fixture(name="command")
def _command(monkeypatch, tmp_path):
    """The command on few images, with tables of its own."""
    for name in ("TABLE", "RATES"):
        path = tmp_path / f"{name.lower()}.csv"
        monkeypatch.setattr(binary_networks, name, path)
    settings = {"resnet": (4, 1e-2), "mlp": (6, 3e-3)}
    monkeypatch.setattr(binary_networks, "SETTINGS", settings)
    monkeypatch.setattr(binary_networks, "load", lambda _: synthetic(1024))

    def run(*options):
        words = ["binary_networks.py", "--images", "1024", *options]
        monkeypatch.setattr(sys, "argv", words)
        binary_networks.main()
        return read(tmp_path / "table.csv")

    return run


@pytest.mark.parametrize(
    "network, way",
    [
        ("mlp", STOCHASTIC),
        ("mlp", "xnor"),
        ("resnet", "activations_2"),
        ("resnet", ORDER),
    ],
)
def test_networks_of_few_bits_learn(command, network, way, capsys):
    options = ["--networks", network, "--seeds", "0", "--ways", way]
    (row,) = command(*options)
    assert float(row["test_accuracy"]) > 0.3  # Chance is 0.1.
    latent = row["test_accuracy_of_latent_weights"]
    assert bool(latent) == (way == STOCHASTIC)
    assert way in capsys.readouterr().out


def test_what_is_in_the_table_is_not_trained_again(command, capsys):
    options = ["--networks", "mlp", "--ways", "float", "bwn", "--seeds"]
    rows = command(*options, "0")
    assert [row["way"] for row in rows] == ["float", "bwn"]
    more = command(*options, "0", "1")
    assert more[:2] == rows and [r["seed"] for r in more] == [*"0011"]
    assert "(2 seeds)" in capsys.readouterr().out
    assert binary_networks.TABLE.with_suffix(".png").stat().st_size


def test_learning_rates_see_no_test_image(command, monkeypatch):
    monkeypatch.delattr(binary_networks, "accuracies")
    monkeypatch.setattr(binary_networks, "SEARCH", 1)
    options = ["--networks", "mlp", "--ways", "float", "bwn", "--seeds", "0"]
    assert command(*options, "--rates", "0.001", "0.01") == []
    rows = read(binary_networks.RATES)
    found = [(row["way"], row["rate"]) for row in rows]
    assert found == [
        (way, rate) for way in ("float", "bwn") for rate in ("0.001", "0.01")
    ]
    assert all(0 < float(r["validation_accuracy"]) <= 1 for r in rows)


@pytest.mark.parametrize("network", ["resnet", "mlp"])
def test_the_rate_is_the_best_one_that_was_tried(network):
    found = {}
    for row in read(binary_networks.RATES):
        if row["network"] == network:
            accuracies = found.setdefault(float(row["rate"]), {})
            accuracies[row["way"]] = float(row["validation_accuracy"])
    assert all(set(ways) == {"float", "bwn", "xnor"} for ways in found.values())
    means = {rate: np.mean(list(ways.values())) for rate, ways in found.items()}
    best = max(means, key=means.get)
    assert min(means) < best < max(means)
    assert binary_networks.SETTINGS[network][1] == best


def mean(network, way):
    rows = [
        r for r in read(TABLE) if (r["network"], r["way"]) == (network, way)
    ]
    return np.mean([float(row["test_accuracy"]) for row in rows])


@pytest.mark.parametrize("network", list(NETWORKS))
def test_the_table_holds_what_was_asked_for(network):
    """Three seeds of every way, trained alike."""
    rows = [row for row in read(TABLE) if row["network"] == network]
    found = [(row["way"], int(row["seed"])) for row in rows]
    assert sorted(found) == [
        (way, seed) for way in sorted(NETWORKS[network]) for seed in range(3)
    ]
    setting = binary_networks.SETTINGS[network]
    assert {(int(r["epochs"]), float(r["rate"])) for r in rows} == {setting}


@pytest.mark.parametrize("network", ["resnet", "mlp"])
def test_few_bits_cost_what_the_table_says(network):
    floats, bwn, xnor = (mean(network, w) for w in ("float", "bwn", "xnor"))
    assert floats >= bwn > xnor
    assert floats - bwn <= 0.005 and floats - xnor <= 0.03
