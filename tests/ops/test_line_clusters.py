"""Runs of cells against every possible cut; borders against float64."""

import itertools

import numpy as np
import pytest

from fritz_compress.ops import line_clusters


def running(values):
    return np.concatenate([[0.0], np.cumsum(values)])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("seed", range(4))
def test_no_cut_of_weighted_cells_is_better(size, seed):
    rng = np.random.default_rng(seed)
    means, weights = np.sort(rng.normal(size=9)), rng.exponential(size=9) ** 2

    def error(borders):
        runs = [slice(*pair) for pair in itertools.pairwise(borders)]
        return sum(
            (weights[run] * (means[run] - center) ** 2).sum()
            for run in runs
            for center in [np.average(means[run], weights=weights[run])]
        )

    borders = line_clusters.best_partition(
        running(weights), running(weights * means), size
    )
    assert borders[0] == 0 and borders[-1] == 9 and len(borders) == size + 1
    least = min(
        error([0, *inner, 9])
        for inner in itertools.combinations(range(1, 9), size - 1)
    )
    assert error(borders) == pytest.approx(least, abs=1e-12)


def test_midpoints_belong_to_the_lower_center():
    rng = np.random.default_rng(0)
    centers = np.sort(rng.normal(size=1000).astype("float32"))
    borders = line_clusters.midpoints(centers)
    assert borders.dtype == np.float32
    above = np.nextafter(borders, np.float32(np.inf))
    low, high = centers[:-1].astype("float64"), centers[1:].astype("float64")
    assert (borders - low <= high - borders).all()
    assert (above - low > high - above).all()


def test_means_far_from_zero_keep_their_digits():
    rng = np.random.default_rng(0)
    values = (1e4 + rng.normal(size=5000)).astype("float32")
    line = line_clusters.line(values, None, keep_zeros=True)
    borders = np.array([0, 10, 20, 5000])
    means = line.means(borders)
    wanted = [part.mean() for part in np.split(np.sort(values), borders[1:-1])]
    np.testing.assert_allclose(means, wanted, rtol=1e-7)


def test_empty_runs_have_no_mean():
    line = line_clusters.line(np.float32([1, 2, 4]), None, keep_zeros=True)
    means = line.means(np.array([0, 2, 2, 3]))
    assert means[[0, 2]].tolist() == [1.5, 4] and np.isnan(means[1])


def test_a_center_without_numbers_stays():
    line = line_clusters.line(np.float32([0, 1, 9]), None, keep_zeros=False)
    centers = line_clusters.refined_centers(line, np.array([0.4, 5, 5.1, 9.5]))
    assert centers.tolist() == [0.5, 5, 5.1, 9]


def test_cells_are_as_many_as_wanted_and_reach_outliers():
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(0, 1e-3, 50_000), [-40, 7, 8, 50])
    line = line_clusters.line(values.astype("float32"), None, False)
    cells = line_clusters._cells(line, 2048)
    assert 1024 < len(cells) <= 2051
    assert cells[0] == 0 and cells[-1] == 50_004
    assert {1, 50_001, 50_002, 50_003} <= set(cells.tolist())
