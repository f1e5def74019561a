"""Coded arrays against loops over every number."""

import itertools

import numpy as np
import pytest

from fritz_compress.ops import codes as forms

SHAPE = (2, 4, 6)
GROUPS = [(1, 1, 1), (1, 1, 6), (1, 2, 6), (2, 4, 2), (2, 4, 6)]


def group_of(index, groups, shape):
    """Which group a position belongs to, one axis at a time."""
    return tuple(i // (n // g) for i, g, n in zip(index, groups, shape))


def positions(shape):
    return itertools.product(*map(range, shape))


@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_linear_codes_decode_by_group(groups):
    rng = np.random.default_rng(0)
    scale, offset = rng.normal(size=(2, *groups)).astype("float32")
    codes = rng.integers(0, 8, SHAPE).astype("uint8")
    coded = forms.LinearCodes(codes, scale, offset, 3)
    decoded = coded.decode()
    for index in positions(SHAPE):
        group = group_of(index, groups, SHAPE)
        expected = float(scale[group]) * codes[index] + float(offset[group])
        assert decoded[index] == np.float32(expected)
    assert (coded.shape, coded.groups) == (SHAPE, groups)


@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_codebooks_decode_by_group(groups):
    rng = np.random.default_rng(1)
    books = rng.normal(size=(*groups, 5)).astype("float32")
    codes = rng.integers(0, 5, SHAPE).astype("uint8")
    decoded = forms.CodebookCodes(codes, books, 3).decode()
    for index in positions(SHAPE):
        group = group_of(index, groups, SHAPE)
        assert decoded[index] == books[group][codes[index]]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_product_codes_decode_by_group(groups, axis):
    rng = np.random.default_rng(2)
    books = rng.normal(size=(*groups, 5, 3)).astype("float32")
    codes = rng.integers(0, 5, SHAPE).astype("uint8")
    coded = forms.ProductCodes(codes, books, axis, 3)
    decoded = coded.decode()
    assert decoded.shape == coded.shape
    assert coded.shape[axis] == 3 * SHAPE[axis] and coded.length == 3
    for index in positions(decoded.shape):
        place = list(index)
        place[axis], within = divmod(index[axis], 3)
        group = group_of(place, groups, SHAPE)
        expected = books[group][codes[tuple(place)], within]
        assert decoded[index] == expected


@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_rows_are_groups_and_come_back(groups):
    array = np.arange(48).reshape(SHAPE)
    rows = forms.to_rows(array, groups)
    expected = {}
    for index in positions(SHAPE):
        group = group_of(index, groups, SHAPE)
        expected.setdefault(group, []).append(array[index])
    for row, group in zip(rows, positions(groups), strict=True):
        assert row.tolist() == expected[group]
    assert (forms.from_rows(rows, groups, SHAPE) == array).all()


def test_bytes_counted_by_hand():
    codes = np.zeros((3, 5), "uint8")

    def linear(offset):
        scale = np.full((1, 5), 0.5, "float32")
        return forms.LinearCodes(codes, scale, np.float32(offset) * scale, 4)

    # 15 codes of 4 bits and 5 scales: 60 + 160 bits.
    assert linear([[-7] * 5]).nbytes == 28
    # And 5 zero points of 4 bits, or 5 floats.
    assert linear([[-7, -7, -7, -7, -3]]).nbytes == 30
    assert linear([[-7, -7, -7, -7, 0.3]]).nbytes == 48
    books = np.zeros((1, 5, 9), "float32")
    assert forms.CodebookCodes(codes, books, 4).nbytes == 8 + 180
    books = np.zeros((1, 1, 9, 2), "float32")
    assert forms.ProductCodes(codes, books, 0, 4).nbytes == 8 + 72


def test_zero_points_are_whole_or_none():
    codes = np.zeros((1, 2), "uint8")
    scale = np.float32([[0.1, 3]])
    whole = forms.LinearCodes(codes, scale, -scale * np.float32(4), 3)
    assert whole.zero_points.tolist() == [[4, 4]]
    other = forms.LinearCodes(codes, scale, np.float32([[0, 1]]), 3)
    assert other.zero_points is None
