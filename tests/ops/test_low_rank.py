"""Truncated singular value decomposition beside numpy's full one."""

import numpy as np
import pytest

from fritz_compress.ops import low_rank

# One for each way to decompose, wide and tall.
SHAPES = [(7, 5), (5, 7), (700, 300), (300, 700)]


def decaying(rows, columns, seed=0):
    """A matrix whose singular values fall, as those of trained kernels."""
    rng = np.random.default_rng(seed)
    scales = np.arange(1, columns + 1) ** -0.5
    turned, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    return (rng.normal(size=(rows, columns)) * scales) @ turned


def least_error(matrix, rank):
    """Eckart and Young: what no matrix of this rank can go below."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return np.sqrt(np.square(values[rank:]).sum())


def test_worked_example():
    left, right = low_rank.truncated_svd([[3.0, 0.0], [0.0, 4.0]], rank=1)
    np.testing.assert_allclose(left @ right, [[0, 0], [0, 4]], atol=1e-6)
    np.testing.assert_allclose(abs(left), [[0], [2]], atol=1e-6)
    assert low_rank.singular_values([[3.0, 0.0], [0.0, -4.0]]).tolist() == [
        4,
        3,
    ]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_singular_values_are_those_of_numpy(shape):
    matrix = decaying(*shape)
    expected = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(
        low_rank.singular_values(matrix), expected, atol=1e-6 * expected[0]
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_matrix_of_the_rank_is_nearer(shape):
    matrix = decaying(*shape)
    smallest = min(shape)
    for rank in {1, 3, smallest // 2, smallest}:
        left, right = low_rank.truncated_svd(matrix, rank)
        assert left.shape == (shape[0], rank)
        assert right.shape == (rank, shape[1])
        error = np.linalg.norm(left @ right - matrix)
        assert error <= 1.01 * least_error(matrix, rank) + 1e-4
        # Exact but for few directions of many, which are drawn at random.
        if rank > smallest / 32 or smallest < 10:
            assert error <= 1.00001 * least_error(matrix, rank) + 1e-4


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rank", [2, 5])
def test_both_factors_have_the_square_roots_of_the_values(shape, rank):
    matrix = decaying(*shape)
    left, right = low_rank.truncated_svd(matrix, rank)
    assert left.dtype == right.dtype == "float32"
    values = np.linalg.svd(matrix, compute_uv=False)[:rank]
    for products in (left.T @ left, right @ right.T):
        np.testing.assert_allclose(
            products, np.diag(values), atol=0.02 * values[0]
        )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matrices_of_a_lower_rank_are_kept(shape):
    one, other = np.random.default_rng(0).normal(size=(2, max(shape), 1))
    matrix = one[: shape[0]] @ other[: shape[1]].T
    left, right = low_rank.truncated_svd(matrix, 3)
    np.testing.assert_allclose(left @ right, matrix, atol=1e-4)
    for rank in (1, 3):
        zeros = low_rank.truncated_svd(np.zeros(shape), rank)
        assert not np.any(zeros[0] @ zeros[1])


def test_a_seed_decides():
    matrix = decaying(700, 300)
    first, again, other = (
        low_rank.truncated_svd(matrix, 3, seed)[0] for seed in (1, 1, 2)
    )
    assert (first == again).all() and (first != other).any()


def test_the_matrix_is_not_changed():
    matrix = decaying(700, 300).astype("float32")
    before = matrix.copy()
    for rank in (3, 100):
        low_rank.truncated_svd(matrix, rank)
    low_rank.singular_values(matrix)
    assert (matrix == before).all()


@pytest.mark.parametrize(
    "matrix, rank, message",
    [
        (np.ones((4, 3)), 0, "`rank` must be from 1 to 3 here.*rank=0"),
        (np.ones((4, 3)), 4, "`rank` must be from 1 to 3 here.*rank=4"),
        (np.ones(4), 1, r"rows and columns. Received: shape \(4,\)"),
        (np.ones((4, 0)), 1, r"rows and columns. Received: shape \(4, 0\)"),
        (np.full((4, 3), np.nan), 1, "must be finite"),
        (np.full((4, 3), -np.inf), 1, "must be finite"),
    ],
    ids=["rank 0", "rank above", "vector", "empty", "nan", "infinite"],
)
def test_bad_input_is_refused(matrix, rank, message):
    with pytest.raises(ValueError, match=message):
        low_rank.truncated_svd(matrix, rank)
