"""Codebooks against every possible one, and against simpler ones."""

import itertools

import kmeans1d
import numpy as np
import pytest

from fritz_compress.ops import codebooks, line_clusters, quantization


def squared_error(values, codebook, codes):
    return float(np.square(codebook[codes] - np.asarray(values)).sum())


def least_error(values, size, weights=None):
    """Least weighted squared error, by a table over all first and last."""
    order = np.argsort(values)
    x = np.asarray(values, "float64")[order]
    w = np.ones(len(x)) if weights is None else np.float64(weights)[order]
    n = len(x)
    error = np.zeros((n + 1, n + 1))
    for first, last in itertools.combinations(range(n + 1), 2):
        run, share = x[first:last], w[first:last]
        mean = np.average(run, weights=share) if share.sum() else 0.0
        error[first, last] = (share * (run - mean) ** 2).sum()
    best = error[0]
    for _ in range(size - 1):
        best = np.min(
            best[:, None]
            + error
            + np.tril(np.full((n + 1, n + 1), np.inf), -1),
            axis=0,
        )
    return best[n]


def test_worked_example():
    codebook, codes = codebooks.kmeans_codebook([1, 2, 5, 7], 2)
    assert codebook.tolist() == [1.5, 6.0]
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


DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy": lambda rng, n: rng.standard_t(1.5, n),
    "log_normal": lambda rng, n: np.exp(3 * rng.normal(size=n)),
    "outliers": lambda rng, n: np.append(
        rng.normal(0, 1e-3, n - 10), rng.normal(0, 50, 10)
    ),
    "two_widths": lambda rng, n: np.append(
        rng.normal(5, 1e-3, n // 2), rng.normal(0, 1, n // 2)
    ),
    "halves": lambda rng, n: rng.normal(size=n).astype("float16"),
}


@pytest.mark.parametrize("size", [4, 16, 64])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_within_a_thousandth_of_the_optimum(name, size):
    rng = np.random.default_rng(0)
    values = DISTRIBUTIONS[name](rng, 20_000).astype("float32")
    clusters, centers = kmeans1d.cluster(values.tolist(), size)
    least = np.square(np.array(centers)[clusters] - values).sum()
    found = squared_error(values, *codebooks.kmeans_codebook(values, size))
    assert found <= 1.001 * least


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_no_weighted_partition_is_better(size, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=25).astype("float32")
    weights = rng.exponential(size=25) ** 3
    codebook, codes = codebooks.kmeans_codebook(values, size, weights)
    found = (weights * np.square(codebook[codes] - values)).sum()
    # Entries are float32.
    assert found == pytest.approx(least_error(values, size, weights), rel=1e-5)


def test_a_weight_counts_as_that_many_numbers():
    rng = np.random.default_rng(0)
    values = rng.standard_t(3, 5000).astype("float32")
    counts = rng.integers(0, 6, 5000)
    repeated = np.repeat(values, counts)
    wanted, _ = codebooks.kmeans_codebook(repeated, 16)
    codebook, codes = codebooks.kmeans_codebook(values, 16, counts)
    error = (counts * np.square(codebook[codes] - values)).sum()
    least = squared_error(
        repeated, wanted, codebooks.nearest_codes(repeated, wanted)
    )
    assert error == pytest.approx(least, rel=1e-4)


def test_weights_that_are_all_zero_count_equally():
    values = np.random.default_rng(0).normal(size=100)
    codebook, _ = codebooks.kmeans_codebook(values, 4, np.zeros(100))
    assert (codebook == codebooks.kmeans_codebook(values, 4)[0]).all()


def test_few_numbers_with_a_weight_are_kept_exactly():
    values = np.arange(10.0)
    weights = np.isin(values, [2, 5])
    codebook, codes = codebooks.kmeans_codebook(values, 4, weights)
    assert codebook.tolist() == [2, 5, 5, 5]
    assert codes.tolist() == [0] * 4 + [1] * 6


@pytest.mark.parametrize("start", codebooks.STARTS)
@pytest.mark.parametrize("weighted", [False, True])
def test_zeros_stay_zeros(start, weighted):
    rng = np.random.default_rng(0)
    values = rng.normal(0.3, 1, 3000) * (rng.uniform(size=3000) < 0.2)
    weights = rng.uniform(size=3000) if weighted else None
    codebook, codes = codebooks.kmeans_codebook(values, 8, weights, start=start)
    assert (codebook == 0).sum() == 1 and (np.diff(codebook) > 0).all()
    assert (codebook[codes][values == 0] == 0).all()


def test_no_codebook_with_a_zero_is_better():
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(0.5, 1, 11), 0).astype("float32")
    found = squared_error(values, *codebooks.kmeans_codebook(values, 4))
    # Any partition into runs, one of them coded as zero.
    least = np.inf
    for borders in itertools.combinations(range(1, 12), 3):
        runs = np.split(np.sort(values), borders)
        errors = [np.square(run - run.mean()).sum() for run in runs]
        for run, own in zip(runs, errors):
            if 0 in run:
                total = sum(errors) - own + np.square(run).sum()
                least = min(least, total)
    assert found == pytest.approx(least, rel=1e-5)


def test_zeros_may_move():
    values = np.append(np.random.default_rng(0).normal(2, 0.1, 99), 0.5)
    values = np.append(values, np.zeros(1))
    kept, _ = codebooks.kmeans_codebook(values, 2)
    free, _ = codebooks.kmeans_codebook(values, 2, keep_zeros=False)
    assert kept[0] == 0 and free[0] == 0.25


@pytest.mark.parametrize("start", ["linear", "density", "random"])
def test_no_start_is_better_than_the_optimum(start):
    values = np.random.default_rng(0).standard_t(2, 20_000).astype("float32")
    least = squared_error(values, *codebooks.kmeans_codebook(values, 16))
    found = squared_error(
        values, *codebooks.kmeans_codebook(values, 16, start=start)
    )
    assert least < found < 3 * least


def test_starts_are_what_they_say():
    values = np.float32([0, 1, 2, 3, 4, 5, 6, 100])
    line = line_clusters.line(values, None, keep_zeros=False)
    started = {
        start: codebooks._simple_start(line, 4, start, seed=0).tolist()
        for start in ("linear", "density", "random")
    }
    assert started["linear"] == pytest.approx([0, 100 / 3, 200 / 3, 100])
    assert started["density"] == [0, 2, 4, 6]
    assert set(started["random"]) < set(values.tolist())
    other = codebooks._simple_start(line, 4, "random", seed=1).tolist()
    assert other != started["random"]


def test_more_than_256_entries():
    values = np.random.default_rng(0).normal(size=20_000).astype("float32")
    codebook, codes = codebooks.kmeans_codebook(values, 4096)
    assert codes.dtype == np.uint16 and len(codebook) == 4096
    # 1 / 12 of a step's square, with steps as wide as the density wants.
    density = 6 * np.sqrt(3) * np.pi / 12 / 4096**2
    assert squared_error(values, codebook, codes) / 20_000 < 1.2 * density


def test_codebook_per_group():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 3, 4, 6)).astype("float32")
    weights = rng.uniform(size=values.shape)
    coded = codebooks.codebook_quantize(values, 2, (1, 1, 2, 3), weights)
    assert coded.codebooks.shape == (1, 1, 2, 3, 4)
    assert coded.codes.dtype == np.uint8 and coded.shape == values.shape
    for i, j in itertools.product(range(2), range(3)):
        block = np.s_[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        codebook, codes = codebooks.kmeans_codebook(
            values[block], 4, weights[block]
        )
        assert (coded.decode()[block] == codebook[codes]).all()


def test_one_group_by_default():
    values = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
    coded = codebooks.codebook_quantize(values, 3)
    assert coded.groups == (1, 1) and coded.nbits == 3
    codebook, codes = codebooks.kmeans_codebook(values, 8)
    assert (coded.decode() == codebook[codes]).all()


def test_beats_linear_quantization_of_as_many_bits():
    values = np.random.default_rng(0).normal(size=729).astype("float32")
    coded = quantization.linear_quantize(values, 4, ranges="least_squares")
    linear = np.square(coded.decode() - values).sum()
    assert (
        squared_error(values, *codebooks.kmeans_codebook(values, 16)) < linear
    )


@pytest.mark.parametrize("size", [0, 1, 65537, 2.5])
def test_wrong_sizes_are_refused(size):
    with pytest.raises(ValueError, match="`size` must be .* 2 to 65536"):
        codebooks.kmeans_codebook([1.0, 2.0], size)


@pytest.mark.parametrize("values", [[], [np.nan]])
def test_values_without_codebook_are_refused(values):
    with pytest.raises(ValueError, match="finite, non-empty"):
        codebooks.kmeans_codebook(values, 4)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0, np.inf]])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(ValueError, match="`weights` must be finite and not"):
        codebooks.kmeans_codebook([1.0, 2.0], 2, weights)


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape of `values`.*\(1,\) and"):
        codebooks.kmeans_codebook([1.0, 2.0], 2, [1.0])
    with pytest.raises(ValueError, match=r"shape of `values`.*\(1,\) and"):
        codebooks.codebook_quantize([1.0, 2.0], 2, weights=[1.0])


def test_unknown_starts_are_refused():
    with pytest.raises(ValueError, match="`start`.*optimal, linear.*'best'"):
        codebooks.kmeans_codebook([1.0, 2.0], 2, start="best")


@pytest.mark.parametrize("nbits", [0, 17, 1.5])
def test_wrong_widths_are_refused(nbits):
    with pytest.raises(ValueError, match="`nbits`.* from 1 to 16"):
        codebooks.codebook_quantize([1.0, 2.0], nbits)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="`groups` must have"):
        codebooks.codebook_quantize([1.0, 2.0, 3.0], 1, groups=(2,))
