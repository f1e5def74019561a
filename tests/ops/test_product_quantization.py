"""Product quantization against scikit-learn and hand-made vectors."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from fritz_compress.ops import product_quantization as pq


def squared_error(values, codes):
    return float(np.square(codes.decode() - values).sum())


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_worked_example():
    codes = pq.product_quantize([[0.0, 1.0, 5.0, 6.0]], 1, 2, axis=1)
    assert codes.codes.tolist() == [[0, 1]]
    assert codes.codebooks.tolist() == [[[[0, 1], [5, 6]]]]
    assert (codes.decode() == [[0, 1, 5, 6]]).all()


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2])
def test_as_many_entries_as_vectors_are_exact_along_any_axis(axis):
    values = normal(4, 2, 6, 4)
    codes = pq.product_quantize(values, 7, 2, axis)
    assert codes.axis == axis % 4
    assert (codes.decode() == values).all()
    # Each entry in use is a pair of neighbours along the axis.
    pairs = np.moveaxis(values, axis, -1).reshape(-1, 2)
    entries = np.unique(codes.codebooks.reshape(-1, 2), axis=0)
    assert (entries == np.unique(pairs, axis=0)).all()


def test_as_good_as_scikit_learn():
    values = normal(3, 3, 16, 32)
    codes = pq.product_quantize(values, 4, 4)
    vectors = values.reshape(9, 4, 4, 32).swapaxes(2, 3).reshape(-1, 4)
    peers = [
        KMeans(16, n_init=1, random_state=seed).fit(vectors).inertia_
        for seed in range(5)
    ]
    assert squared_error(values, codes) < 1.05 * np.mean(peers)


def test_every_vector_has_its_nearest_entry():
    values = normal(8, 40)
    codes = pq.product_quantize(values, 3, 4, axis=0)
    vectors = values.reshape(2, 4, 40).swapaxes(1, 2)
    book = codes.codebooks.reshape(8, 4)
    distances = np.square(vectors[..., None, :] - book).sum(-1)
    chosen = np.take_along_axis(
        distances, codes.codes[..., None].astype(int), -1
    )
    np.testing.assert_allclose(chosen[..., 0], distances.min(-1), rtol=1e-5)


def test_a_codebook_per_sub_space():
    values = normal(16, 64)
    codes = pq.product_quantize(values, 3, 4, axis=0, groups=(4, 1))
    assert codes.codebooks.shape == (4, 1, 8, 4)
    for place in range(4):
        rows = values[4 * place : 4 * place + 4]
        alone = pq.product_quantize(rows, 3, 4, axis=0)
        decoded = codes.decode()[4 * place : 4 * place + 4]
        assert (decoded == alone.decode()).all()
    shared = pq.product_quantize(values, 3, 4, axis=0)
    assert squared_error(values, codes) < squared_error(values, shared)


def test_pruned_sub_vectors_stay_zero():
    values = normal(8, 50)
    values[:4, ::2] = 0
    decoded = pq.product_quantize(values, 3, 4, axis=0).decode()
    assert (decoded[:4, ::2] == 0).all()


def test_weights_count():
    values = normal(8, 100)
    weights = np.ones_like(values)
    weights[:, :10] = 1000
    plain = pq.product_quantize(values, 3, 4, axis=0)
    weighted = pq.product_quantize(values, 3, 4, axis=0, weights=weights)
    first = np.s_[:, :10]
    assert (
        np.square(weighted.decode() - values)[first].sum()
        < 0.5 * np.square(plain.decode() - values)[first].sum()
    )


def test_all_weights_zero_count_equally():
    values = normal(8, 20)
    plain = pq.product_quantize(values, 3, 4, axis=0)
    weighted = pq.product_quantize(
        values, 3, 4, axis=0, weights=np.zeros_like(values)
    )
    assert (plain.decode() == weighted.decode()).all()


def test_a_seed_gives_the_same_codes():
    values = normal(8, 100)
    first, again, other = (
        pq.product_quantize(values, 3, 4, axis=0, seed=seed).codes
        for seed in (1, 1, 2)
    )
    assert (first == again).all() and (first != other).any()


def test_many_vectors_in_mini_batches(monkeypatch):
    values = normal(8, 1000)
    exact = squared_error(values, pq.product_quantize(values, 4, 4, axis=0))
    monkeypatch.setattr(pq, "MINI_BATCHES_FROM", 1)
    batched = squared_error(values, pq.product_quantize(values, 4, 4, axis=0))
    assert exact != batched < 1.1 * exact


@pytest.mark.parametrize("dimension", [0, 3, 16, 1.5])
def test_dimensions_that_do_not_divide_are_refused(dimension):
    with pytest.raises(ValueError, match="`dimension` must divide.*8 numbers"):
        pq.product_quantize(normal(8, 5), 3, dimension)


def test_wrong_arguments_are_refused():
    values = normal(8, 5)
    with pytest.raises(ValueError, match="`axis`.*axis=2"):
        pq.product_quantize(values, 3, 4, axis=2)
    with pytest.raises(ValueError, match="`nbits`.*Received: 17"):
        pq.product_quantize(values, 17, 4)
    with pytest.raises(ValueError, match=r"`groups`.*shape \(2, 5\)"):
        pq.product_quantize(values, 3, 4, groups=(4, 1))
    with pytest.raises(ValueError, match="finite, non-empty"):
        pq.product_quantize(values * np.nan, 3, 4)
    with pytest.raises(ValueError, match="`weights` must have the shape"):
        pq.product_quantize(values, 3, 4, weights=[1.0])
