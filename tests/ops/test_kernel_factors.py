"""Kernels as products: exact where they can be, best where that is known."""

import itertools

import numpy as np
import pytest

from fritz_compress.ops.kernel_factors import Channel, Separable, Spatial
from fritz_compress.ops.tensor_factors import CP, Tucker
from fritz_compress.ops.toeplitz_factors import ToeplitzLike

SHAPE = (3, 2, 5, 4)
CASES = {
    "channel": Channel(),
    "spatial": Spatial(),
    "separable": Separable(),
    "tucker": Tucker(),
    "cp": CP(),
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def difference(decomposition, kernel, rank):
    factors = decomposition.factors(kernel, rank)
    assert all(factor.dtype == "float32" for factor in factors)
    found = decomposition.shapes(kernel.shape, rank)
    assert [factor.shape for factor in factors] == list(found)
    rebuilt = decomposition.reconstruct(factors, kernel.shape)
    assert rebuilt.shape == kernel.shape
    return np.square(rebuilt - kernel).sum() / np.square(kernel).sum()


# Written out, one number after the other.
REBUILT = {
    "channel": lambda f, h, w, i, o: sum(
        f[0][2 * h + w, i, r] * f[1][r, o] for r in range(3)
    ),
    "spatial": lambda f, h, w, i, o: sum(
        f[0][h, i, r] * f[1][w, r, o] for r in range(3)
    ),
    "separable": lambda f, h, w, i, o: sum(
        f[0][2 * h + w, i, m] * f[1][i, m, o] for m in range(3)
    ),
    "tucker": lambda f, h, w, i, o: sum(
        f[0][i, s] * f[1][2 * h + w, s, t] * f[2][t, o]
        for s in range(3)
        for t in range(3)
    ),
    "cp": lambda f, h, w, i, o: sum(
        f[0][i, r] * f[1][h, r] * f[2][w, r] * f[3][r, o] for r in range(3)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_factors_stand_for_what_their_layers_compute(name):
    decomposition = CASES[name]
    rank = decomposition.checked(SHAPE, 3)
    factors = [normal(*s) for s in decomposition.shapes(SHAPE, rank)]
    rebuilt = decomposition.reconstruct(factors, SHAPE)
    for place in itertools.product(*map(range, SHAPE)):
        expected = REBUILT[name](factors, *place)
        assert rebuilt[place] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["channel", "spatial", "separable", "tucker"])
def test_the_largest_rank_loses_nothing(name):
    kernel = normal(*SHAPE)
    decomposition = CASES[name]
    rank = tuple(map(int, decomposition.candidates(SHAPE)[-1]))
    assert decomposition.checked(SHAPE, rank if name == "tucker" else rank[0])
    assert difference(decomposition, kernel, rank) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_of_some_rank_is_found(name):
    decomposition = CASES[name]
    shape = (3, 3, 8, 7)
    rank = decomposition.checked(shape, 2)
    factors = [normal(*s) for s in decomposition.shapes(shape, rank)]
    kernel = decomposition.reconstruct(factors, shape).astype("float32")
    assert difference(decomposition, kernel, rank) < 1e-9
    noisy = kernel + 0.01 * normal(*shape, seed=1)
    found = decomposition.bayesian_rank(noisy)
    assert found == rank


@pytest.mark.parametrize("name", ["channel", "spatial", "separable"])
def test_errors_are_the_least_there_are(name):
    """Of a matrix, by Eckart and Young, unfolded here by hand."""
    kernel = normal(*SHAPE)
    unfolded = {
        "channel": [kernel.reshape(30, 4)],
        "spatial": [kernel.transpose(0, 2, 1, 3).reshape(15, 8)],
        "separable": [kernel[:, :, i].reshape(6, 4) for i in range(5)],
    }[name]
    squares = sum(
        np.linalg.svd(matrix, compute_uv=False) ** 2 for matrix in unfolded
    )
    decomposition = CASES[name]
    ranks = decomposition.candidates(SHAPE)
    assert len(ranks) == len(squares)
    errors = decomposition.errors(kernel, ranks)
    for rank, error in zip(ranks[:, 0], errors):
        expected = squares[rank:].sum() / squares.sum()
        assert error == pytest.approx(expected, abs=1e-6)
        assert difference(decomposition, kernel, (rank,)) == pytest.approx(
            expected, abs=1e-5
        )


def test_errors_of_tucker_are_close_from_above():
    kernel = normal(*SHAPE)
    ranks = Tucker().candidates(SHAPE)
    errors = Tucker().errors(kernel, ranks)
    for rank, error in zip(ranks, errors):
        found = difference(Tucker(), kernel, tuple(map(int, rank)))
        assert found - 1e-6 <= error <= 1.3 * found + 1e-6


def test_errors_of_cp_fall():
    kernel = normal(*SHAPE)
    ranks = CP().candidates(SHAPE)
    errors = CP().errors(kernel, ranks)
    assert (np.diff(errors) <= 0).all() and 0.8 < errors[0] < 1
    assert errors[-1] < 1e-3
    middle = len(ranks) // 2
    found = difference(CP(), kernel, tuple(map(int, ranks[middle])))
    assert found == pytest.approx(errors[middle], rel=0.2)


def test_ranks_of_cp_grow_by_a_fifth():
    ranks = CP().candidates((3, 3, 64, 32))[:, 0]
    assert ranks[0] == 1 and ranks[-1] == 3 * 3 * 32
    assert (np.diff(ranks) >= 1).all()
    assert (ranks[1:] <= np.ceil(1.2 * (ranks[:-1] + 1))).all()


def test_a_seed_decides_where_cp_begins():
    kernel = normal(*SHAPE)
    first, again, other = (
        CP().factors(kernel, (3,), seed)[0] for seed in (1, 1, 2)
    )
    assert (first == again).all() and (first != other).any()


def test_columns_of_cp_have_one_norm():
    norms = [
        np.linalg.norm(factor, axis=axis)
        for factor, axis in zip(
            CP().factors(normal(*SHAPE), (3,)), (0, 0, 0, 1)
        )
    ]
    for other in norms[1:]:
        np.testing.assert_allclose(other, norms[0], rtol=1e-4)


@pytest.mark.parametrize(
    "name, numbers",
    [
        ("channel", 6 * 5 * 3 + 3 * 4),
        ("spatial", 3 * 5 * 3 + 2 * 3 * 4),
        ("separable", 6 * 5 * 3 + 5 * 3 * 4),
        ("tucker", 5 * 3 + 6 * 3 * 3 + 3 * 4),
        ("cp", 5 * 3 + 3 * 3 + 2 * 3 + 3 * 4),
    ],
)
def test_numbers_in_the_factors(name, numbers):
    decomposition = CASES[name]
    rank = decomposition.checked(SHAPE, 3)
    assert decomposition.parameters(SHAPE, rank) == numbers
    # Several ranks at once.
    ranks = np.array([rank, rank]).T
    assert list(decomposition.parameters(SHAPE, ranks)) == [numbers] * 2
    counts = [7] * len(decomposition.shapes(SHAPE, rank))
    assert decomposition.macs(SHAPE, rank, counts) == 7 * numbers


@pytest.mark.parametrize(
    "name, rank, message",
    [
        ("channel", 5, "from 1 to 4 here. Received: rank=5"),
        ("spatial", 9, "from 1 to 8 here. Received: rank=9"),
        ("separable", 5, "from 1 to 4 here. Received: rank=5"),
        ("cp", 25, "from 1 to 24 here. Received: rank=25"),
        ("tucker", (5, 5), "from 1 to 4 here. Received: rank=5"),
        ("tucker", 5, "from 1 to 4 here. Received: rank=5"),
        ("tucker", (6, 4), "from 1 to 5 here. Received: rank=6"),
        ("tucker", (1, 2, 3), "must be two numbers.*1, 2, 3"),
        ("channel", (2, 3), r"must be one number. Received: \(2, 3\)"),
        ("cp", (2, 3), r"must be one number. Received: \(2, 3\)"),
    ],
)
def test_ranks_that_cannot_be_are_refused(name, rank, message):
    with pytest.raises(ValueError, match=message):
        CASES[name].checked(SHAPE, rank)


def test_sides_of_a_tucker_rank_that_differ_by_more_than_the_positions():
    shape = (1, 2, 9, 8)
    assert Tucker().checked(shape, (4, 2)) == (4, 2)
    with pytest.raises(ValueError, match=r"more than 2 times.*\(5, 2\)"):
        Tucker().checked(shape, (5, 2))
    ranks = Tucker().candidates(shape)
    assert (ranks.max(1) <= 2 * ranks.min(1)).all()
    assert [4, 2] in ranks.tolist() and [2, 4] in ranks.tolist()


@pytest.mark.parametrize("name", CASES)
def test_noise_has_no_rank_and_zeros_have_no_error(name):
    decomposition = CASES[name]
    assert min(decomposition.bayesian_rank(normal(3, 3, 20, 30))) == 0
    zeros = np.zeros(SHAPE, "float32")
    ranks = decomposition.candidates(SHAPE)[:2]
    assert not decomposition.errors(zeros, ranks).any()
    for factor in decomposition.factors(zeros, decomposition.checked(SHAPE, 2)):
        assert np.isfinite(factor).all()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)], ids=str)
def test_toeplitz_like_kernels_of_any_sides(shape):
    size = max(shape)
    decomposition = ToeplitzLike()
    rng = np.random.default_rng(0)
    diagonals = rng.normal(size=2 * size)
    places = np.arange(size)
    toeplitz = diagonals[places[:, None] - places][: shape[0], : shape[1]]
    kernel = toeplitz.astype("float32")
    factors = decomposition.factors(kernel, (size,))
    np.testing.assert_allclose(
        decomposition.reconstruct(factors, shape), kernel, atol=1e-5
    )
    ranks = decomposition.candidates(shape)
    errors = decomposition.errors(kernel, ranks)
    assert errors[0] < 1 and errors[-1] < 1e-9
    if shape[0] == shape[1]:
        assert errors[1] < 1e-9  # Rank 2 is enough.
    assert decomposition.parameters(shape, (3,)) == 6 * size
    # 3 transforms of 2 n and as many of n, beside the products of spectra.
    transforms = 3 * (2 * size * np.log2(2 * size) + size * np.log2(size))
    products = 2 * 4 * (size + 1 + size // 2 + 1)
    steps = int(np.ceil(transforms + products))
    assert decomposition.macs(shape, (2,), [7]) == 7 * steps
    with pytest.raises(ValueError, match=f"from 1 to {size} here"):
        decomposition.checked(shape, size + 1)
