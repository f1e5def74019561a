"""Codebooks against every possible one, and against simpler ones."""

import itertools

import numpy as np
import pytest

from fritz_compress.ops import codebooks, quantization


def squared_error(values, codebook, codes):
    return float(np.square(codebook[codes] - np.asarray(values)).sum())


def test_worked_example():
    codebook, codes = codebooks.kmeans_codebook([0, 1, 4, 6], 2)
    assert codebook.tolist() == [0.5, 5.0]
    assert codes.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_no_partition_is_better(size, seed):
    values = np.random.default_rng(seed).normal(size=9).astype("float32")
    ascending = np.sort(values)
    # The clusters of an optimum are runs of the sorted values: try them all.
    best = min(
        sum(
            np.square(run - run.mean()).sum()
            for run in np.split(ascending, borders)
        )
        for borders in itertools.combinations(range(1, 9), size - 1)
    )
    found = squared_error(values, *codebooks.kmeans_codebook(values, size))
    assert found == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("size", [2, 4, 16, 64, 256])
def test_never_worse_than_uniform_or_quantile_codebooks(size):
    values = np.random.default_rng(0).laplace(size=(9, 9, 9)).astype("float32")
    codebook, codes = codebooks.kmeans_codebook(values, size)
    ours = squared_error(values, codebook, codes)
    uniform = np.linspace(values.min(), values.max(), size)
    quantiles = np.quantile(values, (np.arange(size) + 0.5) / size)
    for other in (uniform, quantiles):
        nearest = np.abs(values[..., None] - other).argmin(-1)
        assert ours <= squared_error(values, other, nearest)


def test_every_value_gets_its_nearest_entry():
    values = np.random.default_rng(0).normal(size=(5, 100)).astype("float32")
    codebook, codes = codebooks.kmeans_codebook(values, 8)
    assert codes.shape == values.shape and codes.dtype == np.uint8
    distances = np.abs(values[..., None] - codebook)
    chosen = np.take_along_axis(distances, codes[..., None].astype(int), -1)
    assert (chosen[..., 0] == distances.min(-1)).all()


@pytest.mark.parametrize("size", [2, 4, 16])
def test_few_distinct_values_are_kept_exactly(size):
    values = np.array([[3.0, -1.0], [3.0, 3.0]])
    codebook, codes = codebooks.kmeans_codebook(values, size)
    assert codebook.shape == (size,) and (np.diff(codebook) >= 0).all()
    assert (codebook[codes] == values).all()


def test_large_arrays_come_close_to_the_optimum(monkeypatch):
    values = np.random.default_rng(0).normal(size=4000).astype("float32")
    exact = squared_error(values, *codebooks.kmeans_codebook(values, 16))
    monkeypatch.setattr(codebooks, "LARGEST_TABLE", 16 * 500)
    picked = squared_error(values, *codebooks.kmeans_codebook(values, 16))
    assert exact <= picked < 1.01 * exact


def test_large_arrays_with_few_picked_values(monkeypatch):
    values = np.repeat(np.arange(20, dtype="float32"), [1] * 19 + [5000])
    monkeypatch.setattr(codebooks, "LARGEST_TABLE", 16 * 40)
    codebook, codes = codebooks.kmeans_codebook(values, 16)
    assert np.isfinite(codebook).all() and (np.diff(codebook) >= 0).all()
    assert np.abs(codebook[codes] - values).max() < 19


def test_beats_linear_quantization_of_as_many_bits():
    values = np.random.default_rng(0).normal(size=729).astype("float32")
    coded = quantization.linear_quantize(values, 4, ranges="least_squares")
    linear = np.square(coded.decode() - values).sum()
    assert (
        squared_error(values, *codebooks.kmeans_codebook(values, 16)) < linear
    )


@pytest.mark.parametrize("size", [0, 1, 257, 2.5])
def test_wrong_sizes_are_refused(size):
    with pytest.raises(ValueError, match="`size` must be .* 2 to 256"):
        codebooks.kmeans_codebook([1.0, 2.0], size)


@pytest.mark.parametrize("values", [[], [np.nan]])
def test_values_without_codebook_are_refused(values):
    with pytest.raises(ValueError, match="finite, non-empty"):
        codebooks.kmeans_codebook(values, 4)
