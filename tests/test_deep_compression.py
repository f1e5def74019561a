"""The command that compresses the LeNets: its logic, and a run of it."""

import csv
import dataclasses

import deep_compression
import deep_compression_results as results
import keras
import numpy as np
import pytest
from deep_compression_networks import (
    RECIPES,
    lenet_5,
    lenet_300_100,
    load,
)
from deep_compression_results import (
    columns,
    dense_size,
    indexed_size,
    kept_parameters,
    with_losses,
    zeros_entropy,
)
from deep_compression_training import (
    DIVERGENCE,
    STEPS,
    batches,
    choose_step,
    rounded,
    short,
)
from synthetic_data import synthetic


@pytest.mark.parametrize(
    ("build", "parameters", "kernels"),
    [
        (lenet_300_100, 266_610, [235_200, 30_000, 1_000]),
        (lenet_5, 431_080, [500, 25_000, 400_000, 5_000]),
    ],
)
def test_networks_are_those_of_the_papers(build, parameters, kernels):
    model = build()

    assert model.count_params() == parameters
    sizes = [w.numpy().size for w in model.weights if len(w.shape) > 1]
    assert sizes == kernels


def dense(kernel, bias):
    model = keras.Sequential(
        [keras.Input((len(kernel),)), keras.layers.Dense(len(bias))]
    )
    model.set_weights([np.float32(kernel), np.float32(bias)])
    return model


def test_pruned_weights_are_counted_with_their_indices():
    kernel = np.zeros((40, 2))
    kernel[0, 0], kernel[39, 1] = 0.5, -0.5  # Positions 0 and 79.
    model = dense(kernel, [0, 0])

    size = indexed_size(model, shared=False)

    # 78 zeros between two weights need two fillers, for 32 positions each.
    assert size.nbytes == (4 * (32 + 5) + 2 * 32 + 7) // 8
    assert size.weight_bits == 4 * 32 / 2
    assert size.index_bits == 4 * 5 / 2
    assert kept_parameters(model) == 2 + 2


def test_shared_weights_are_counted_with_their_codebook():
    kernel = [[0.5, 0.0], [0.0, 0.25], [0.5, -1.0]]
    model = dense(kernel, [1, 2])

    size = indexed_size(model, shared=True)

    # Four weights of three values: two bits each, and three floats.
    assert size.nbytes == (4 * (2 + 5) + 3 * 32 + 2 * 32 + 7) // 8
    assert (size.weight_bits, size.index_bits) == (2, 5)


def test_columns_say_how_many_times_smaller():
    model = dense([[0.5, 0.0], [0.0, 0.25]], [1, 2])

    row = columns(model, dense_size(model))

    assert row["parameters_kept"] == 4
    assert row["fraction_kept"] == round(4 / 6, 4)
    assert (row["bytes"], row["ratio"]) == (24, 1.0)
    assert row["entropy_bytes"] == row["file_bytes"] == ""


@pytest.mark.parametrize(
    ("values", "bits"),
    [([1, 2, 3], 0), ([0, 0], 0), ([0, 1, 0, 2], 4), ([0, 0, 0, 5], 3.245)],
)
def test_zeros_take_the_entropy_of_their_share(values, bits):
    assert zeros_entropy(np.array(values)) == pytest.approx(bits, abs=1e-3)


def test_points_are_lost_to_both_dense_networks():
    rows = [
        {"stage": "baseline", "test_accuracy": 0.905},
        {"stage": "control", "test_accuracy": 0.907},
        {"stage": "pruned", "test_accuracy": 0.9035},
    ]

    row = with_losses(rows)[2]

    assert row["points_lost"] == 0.15
    assert row["points_below_control"] == 0.35


def test_rounding_keeps_zeros_and_biases():
    model = dense([[0.5, 0.0], [0.2, -0.9]], [0.123, 2])

    rounded(model, 0.25)

    kernel, bias = model.get_weights()
    np.testing.assert_array_equal(kernel, [[0.5, 0], [0.25, -1]])
    np.testing.assert_array_equal(bias, np.float32([0.123, 2]))


def test_every_epoch_has_an_order_of_its_own():
    images = np.arange(1000)
    endless = batches(images, -images, seed=0)

    epochs = [[next(endless) for _ in range(4)] for _ in range(3)]
    resumed = next(batches(images, -images, seed=0, first_epoch=1))

    orders = [np.concatenate([x for x, _ in epoch]) for epoch in epochs]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), images)
    assert (orders[0] != orders[1]).any() and (orders[1] != orders[2]).any()
    np.testing.assert_array_equal(resumed[0], epochs[1][0][0])
    np.testing.assert_array_equal(resumed[1], -resumed[0])


def test_multiples_of_a_short_step_are_exact():
    step = short(0.0483)

    assert step == pytest.approx(0.0483, rel=1 / 256)
    levels = np.arange(-1000, 1000) * np.float32(step)
    assert (levels == np.arange(-1000, 1000) * step).all()  # In float64.


def test_the_step_is_the_largest_that_hardly_changes_outputs():
    rng = np.random.default_rng(0)
    kernel = np.where(rng.random((20, 10)) < 0.3, rng.normal(size=(20, 10)), 0)
    model = dense(kernel, np.zeros(10))
    images = rng.normal(size=(200, 20)).astype("float32")

    step = choose_step(model, images)

    def divergence(step):
        scores = images @ kernel, images @ (np.rint(kernel / step) * step)
        before, after = (
            s - np.log(np.exp(s).sum(axis=1, keepdims=True)) for s in scores
        )
        return (np.exp(before) * (before - after)).sum(axis=1).mean()

    deviation = kernel[kernel != 0].std()
    apart = {s: divergence(short(s * deviation)) for s in STEPS}
    expected = max(s for s in STEPS if apart[s] <= DIVERGENCE)
    assert min(STEPS) < expected < max(STEPS)
    assert step == pytest.approx(expected * deviation, rel=1 / 256)
    np.testing.assert_array_equal(model.get_weights()[0], np.float32(kernel))


def test_images_are_mixed_in_pairs():
    images = np.eye(1000, dtype="float32")

    mixed, targets = next(batches(images, -images, seed=0, mixup=0.3))

    np.testing.assert_array_equal(targets, -mixed)
    shares = [row[row > 0] for row in mixed]
    assert all(len(row) in (1, 2) for row in shares)
    (share,) = {round(float(row.max()), 5) for row in shares if len(row) == 2}
    assert 0.5 <= share < 1
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)


def test_mnist_that_cannot_be_loaded_is_told(monkeypatch):
    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with pytest.raises(SystemExit, match="cannot load MNIST: URL fetch"):
        load("mnist", None)


@pytest.mark.slow
def test_all_stages_in_a_few_steps(tmp_path, monkeypatch):
    recipe = dataclasses.replace(
        RECIPES["lenet_300_100"],
        baseline_epochs=2,
        pruned_epochs=2,
        tuned_epochs=1,
    )
    monkeypatch.setitem(RECIPES, "lenet_300_100", recipe)
    monkeypatch.setattr(deep_compression, "load", lambda *_: synthetic(1000))
    monkeypatch.setattr(results, "RESULTS", tmp_path / "table.csv")
    monkeypatch.setattr(results, "PICTURE", tmp_path / "picture.png")

    deep_compression.main(["lenet_300_100", "--work", str(tmp_path)])
    deep_compression.main(["plot"])

    with (tmp_path / "table.csv").open(newline="") as file:
        table = {row["stage"]: row for row in csv.DictReader(file)}
    assert list(table) == [
        *("baseline", "control", "pruned"),
        *("quantized", "coded", "uniform", "uniform_coded"),
    ]
    assert float(table["baseline"]["test_accuracy"]) > 0.9
    kept = {row["parameters_kept"] for row in list(table.values())[2:5]}
    assert kept == {str(round(266_200 * (1 - recipe.sparsity)) + 410)}
    ratios = [float(table[s]["ratio"]) for s in ("pruned", "quantized")]
    coded, uniform = table["coded"], table["uniform_coded"]
    ratios += [float(coded["ratio"]), float(uniform["ratio"])]
    assert ratios == sorted(ratios) and ratios[2] > 35
    for row in (coded, uniform):
        assert 1 <= int(row["codes_bytes"]) / int(row["entropy_bytes"]) < 1.1
    assert coded["test_accuracy"] == table["quantized"]["test_accuracy"]
    assert (tmp_path / "picture.png").stat().st_size > 10_000
