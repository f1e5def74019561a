"""Circulant products beside matrices written out."""

import numpy as np
import pytest

from fritz_compress.ops import displacement


def circulant(first, sign):
    """Z(first, sign), each column from the one before."""
    columns = [np.array(first, "float64")]
    for _ in first[1:]:
        moved = np.roll(columns[-1], 1)
        moved[0] *= sign
        columns.append(moved)
    return np.stack(columns, axis=1)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def error(matrix, rank):
    pair = displacement.generators(matrix, rank)
    difference = displacement.toeplitz_like(*pair) - matrix
    return np.linalg.norm(difference) / np.linalg.norm(matrix)


def toeplitz(size, seed=0):
    diagonals = normal(2 * size, seed=seed)
    places = np.arange(size)
    return diagonals[places[:, None] - places]


def test_worked_example():
    np.testing.assert_array_equal(
        displacement.toeplitz_like([[2.0, 0.0]], [[1.0, 3.0]]),
        [[2, -6], [6, 2]],
    )
    np.testing.assert_array_equal(circulant([1, 3, 5], -1)[0], [1, -5, -3])


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_products_of_circulants(size):
    left, right = normal(3, size), normal(3, size, seed=1)
    expected = sum(
        circulant(g, 1) @ circulant(h, -1) for g, h in zip(left, right)
    )
    np.testing.assert_allclose(
        displacement.toeplitz_like(left, right), expected, atol=1e-12
    )


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_the_displacement_is_a_difference_of_products(size):
    matrix = normal(size, size)
    second = np.eye(size)[1 % size]
    down, left = circulant(second, 1), circulant(second, -1)
    if size == 1:
        down, left = np.ones((1, 1)), -np.ones((1, 1))
    np.testing.assert_allclose(
        displacement.displaced(matrix), down @ matrix - matrix @ left
    )


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_as_many_generators_as_rows_make_any_matrix(size):
    assert error(normal(size, size), size) < 1e-6


def test_two_make_a_toeplitz_matrix_and_its_inverse():
    matrix = toeplitz(9) + 3 * np.eye(9)
    assert error(matrix, 2) < 1e-6
    assert error(np.linalg.inv(matrix), 2) < 1e-5
    assert error(matrix, 1) > 0.01


def test_errors_fall_with_the_rank_and_stay_below_zeros():
    matrix = normal(24, 24)
    errors = [error(matrix, rank) for rank in (1, 2, 4, 8, 16)]
    assert errors[0] < 1 and (np.diff(errors) < 0).all()


def test_no_small_step_is_better():
    """Alternating least squares end at a minimum, one side after the other."""
    matrix = toeplitz(8) + 0.3 * normal(8, 8, seed=1)
    _, right = displacement.generators(matrix, 2)
    left = displacement.left_generators(matrix, right)
    turned = matrix.T[::-1, ::-1]
    other = displacement.left_generators(turned, left, -1)

    def squared(one, two):
        product = displacement.toeplitz_like(one, two)
        return np.square(product - matrix).sum()

    for seed in range(5):
        step = 1e-3 * normal(2, 8, seed=seed)
        for sign in (1, -1):
            assert squared(left + sign * step, right) > squared(left, right)
            assert squared(left, other + sign * step) > squared(left, other)


@pytest.mark.parametrize("sign", [1, -1])
def test_left_generators_are_those_of_least_squares(sign):
    matrix, right, root = normal(6, 6), normal(2, 6, seed=1), normal(6, 9)
    own = np.concatenate(
        [
            [
                (circulant(unit, sign) @ circulant(h, -sign) @ root).ravel()
                for unit in np.eye(6)
            ]
            for h in right
        ]
    )
    expected, *_ = np.linalg.lstsq(own.T, (matrix @ root).ravel())
    found = displacement.left_generators(matrix, right, sign, root)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-8)


def test_blocks_of_columns_make_no_difference(monkeypatch):
    matrix, right = normal(7, 7), normal(2, 7, seed=1)
    expected = displacement.left_generators(matrix, right)
    monkeypatch.setattr(displacement, "BLOCK", 7 * 2 * 3)
    found = displacement.left_generators(matrix, right)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_generators_of_a_pair_have_one_norm():
    left, right = displacement.generators(normal(8, 8), 3)
    assert left.dtype == right.dtype == "float32"
    np.testing.assert_allclose(
        np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1), rtol=1e-5
    )
    assert not any(map(np.any, displacement.generators(np.zeros((4, 4)), 2)))
