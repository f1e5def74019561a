"""Masks against sorted lists and loops."""

import itertools

import numpy as np
import pytest

from fritz_compress.ops import sparsity


def test_lowest_takes_the_first_of_equal_scores():
    scores = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 0.0]])
    for count, expected in {
        0: [[0, 0, 0], [0, 0, 0]],
        1: [[0, 0, 0], [0, 0, 1]],
        2: [[0, 1, 0], [0, 0, 1]],
        3: [[0, 1, 0], [1, 0, 1]],
        6: [[1, 1, 1], [1, 1, 1]],
    }.items():
        found = sparsity.lowest(scores, count)
        np.testing.assert_array_equal(found, np.array(expected, bool))


@pytest.mark.parametrize("levels", [1, 3, 50])
def test_lowest_equals_a_stable_sort(levels):
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, 200).astype("float32")
    for count in range(0, 201, 7):
        expected = np.argsort(scores, kind="stable")[:count]
        found = np.flatnonzero(sparsity.lowest(scores, count))
        assert found.tolist() == sorted(expected.tolist())


@pytest.mark.parametrize(
    "size, fraction, kept",
    [(10, 0.9, 1), (10, 0.75, 2), (10, 0.99, 1), (7, 0.0, 7), (8, 0.5, 4)],
)
def test_kept_count_is_hand_worked(size, fraction, kept):
    assert sparsity.kept_count(size, fraction) == kept


def test_arrays_are_ranked_together():
    small, large = np.array([[1.0, 2.0], [3.0, 4.0]]), np.arange(5.0, 11)
    first, second = sparsity.lowest_of_all([small, large], 0.5)
    # Five of ten go: three of the first, its largest stays, two of the other.
    np.testing.assert_array_equal(first, [[True, True], [True, False]])
    assert np.flatnonzero(second).tolist() == [0, 1]


def test_no_array_is_lost_whole():
    arrays = [np.full(3, 0.001), np.arange(1.0, 4), np.full(4, 1e3)]
    chosen = sparsity.lowest_of_all(arrays, 0.99)
    assert [(~mask).sum() for mask in chosen] == [1, 1, 1]


def m_of_n_by_loops(magnitudes, zeros, size):
    """Along the first axis of a matrix, with sorted lists."""
    chosen = np.zeros(magnitudes.shape, bool)
    for column in range(magnitudes.shape[1]):
        for start in range(0, len(magnitudes), size):
            group = list(range(start, min(start + size, len(magnitudes))))
            missing = size - len(group)
            group.sort(key=lambda row: (magnitudes[row, column], row))
            chosen[group[: max(zeros - missing, 0)], column] = True
    return chosen


@pytest.mark.parametrize("zeros, size", [(2, 4), (1, 2), (3, 8), (1, 4)])
@pytest.mark.parametrize("inputs", [1, 3, 8, 10, 17])
def test_m_of_n_equals_loops(zeros, size, inputs):
    rng = np.random.default_rng(inputs)
    kernel = rng.integers(0, 6, (inputs, 5)).astype("float32")
    expected = m_of_n_by_loops(kernel, zeros, size)
    found = sparsity.lowest_m_of_n(kernel, zeros, size, axes=(0,))
    np.testing.assert_array_equal(found, expected)


def test_m_of_n_along_any_axes():
    rng = np.random.default_rng(0)
    kernel = rng.uniform(size=(3, 2, 8, 6))
    found = sparsity.lowest_m_of_n(kernel, 2, 4, axes=(2,))
    for row, column in itertools.product(range(3), range(2)):
        np.testing.assert_array_equal(
            found[row, column], m_of_n_by_loops(kernel[row, column], 2, 4)
        )
    heads = rng.uniform(size=(4, 3, 5))
    found = sparsity.lowest_m_of_n(heads, 2, 4, axes=(0, 1))
    np.testing.assert_array_equal(
        found.reshape(12, 5), m_of_n_by_loops(heads.reshape(12, 5), 2, 4)
    )


@pytest.mark.parametrize(
    "pooling_type, pool", [("AVG", "mean"), ("MAX", "max")]
)
@pytest.mark.parametrize("block_size", [(1, 4), (2, 3), (5, 1), (16, 16)])
@pytest.mark.parametrize("shape", [(6, 12), (7, 5), (3, 2, 7, 5)])
def test_blocks_equal_loops(pooling_type, pool, block_size, shape):
    rng = np.random.default_rng(0)
    values = rng.uniform(size=shape)
    pooled = sparsity.pool_blocks(values, block_size, pooling_type)
    expanded = sparsity.expand_blocks(pooled, block_size, shape)
    rows, columns = block_size
    expected = np.zeros(shape)
    for top in range(0, shape[-2], rows):
        for left in range(0, shape[-1], columns):
            place = (
                ...,
                slice(top, top + rows),
                slice(left, left + columns),
            )
            block = values[place]
            expected[place] = getattr(block, pool)(axis=(-2, -1), keepdims=True)
    np.testing.assert_allclose(expanded, expected, rtol=1e-12)
