"""Codes found in numbers against those that made the numbers."""

import numpy as np
import pytest

from fritz_compress.ops import codes as forms
from fritz_compress.ops.quantization import linear_quantize
from fritz_compress.ops.recognition import recognize, recognize_linear

GROUPS = [(1, 1, 1, 1), (1, 1, 1, 32), (1, 1, 2, 32), (1, 1, 64, 1)]


def kernel(seed=0, shape=(3, 3, 64, 32)):
    rng = np.random.default_rng(seed)
    widths = rng.uniform(0.1, 4, shape[-1])
    return (rng.normal(size=shape) * widths).astype("float32")


@pytest.mark.parametrize("groups", GROUPS, ids=str)
@pytest.mark.parametrize("nbits", [1, 2, 3, 4, 6, 8, 12])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("ranges", ["minmax", "least_squares"])
def test_linear_codes_come_back(groups, nbits, symmetric, ranges):
    made = linear_quantize(kernel(), nbits, groups, symmetric, ranges=ranges)
    found = recognize(made.decode())
    assert isinstance(found, forms.LinearCodes)
    assert (found.groups, found.nbits) == (groups, nbits)
    assert (found.codes == made.codes).all()
    assert (found.scale == made.scale).all()
    assert (found.offset == made.offset).all()


@pytest.mark.parametrize("groups", GROUPS[:2] + [(1, 1, 1, 4)], ids=str)
@pytest.mark.parametrize("size", [2, 5, 16])
def test_codebooks_come_back(groups, size):
    rng = np.random.default_rng(size)
    books = np.sort(rng.normal(size=(*groups, size))).astype("float32")
    codes = rng.integers(0, size, (3, 3, 64, 32)).astype("uint8")
    made = forms.CodebookCodes(codes, books, int(np.ceil(np.log2(size))))
    found = recognize(made.decode())
    assert isinstance(found, forms.CodebookCodes)
    assert found.nbits == made.nbits and (found.codes == codes).all()
    assert (found.codebooks == books).all()


@pytest.mark.parametrize("shape", [(1568, 10), (300, 7), (5, 5, 1, 20)])
def test_codebooks_of_awkward_shapes_come_back(shape):
    rng = np.random.default_rng(1)
    book = np.sort(rng.normal(size=(*[1] * len(shape), 16))).astype("float32")
    codes = rng.integers(0, 16, shape).astype("uint8")
    found = recognize(forms.CodebookCodes(codes, book, 4).decode())
    assert isinstance(found, forms.CodebookCodes)
    assert (found.codebooks == book).all() and (found.codes == codes).all()


def test_a_codebook_of_a_pruned_matrix_comes_back():
    """Of two axes: input and output channel together are one number."""
    rng = np.random.default_rng(0)
    book = np.append(np.float32(0), np.sort(rng.normal(size=31)))
    codes = rng.integers(1, 32, (300, 100)) * (rng.random((300, 100)) < 0.1)
    found = recognize(book.astype("float32")[codes])
    assert isinstance(found, forms.CodebookCodes)
    assert found.groups == (1, 1) and found.codebooks.size == 32


@pytest.mark.parametrize("axis, split", [(2, False), (2, True), (3, False)])
def test_product_codes_come_back(axis, split):
    rng = np.random.default_rng(0)
    shape = [3, 3, 32, 64]
    shape[axis] //= 4
    groups = [1, 1, 1, 1]
    groups[axis] = shape[axis] if split else 1
    books = rng.normal(size=(*groups, 16, 4)).astype("float32")
    codes = rng.integers(0, 16, shape).astype("uint8")
    made = forms.ProductCodes(codes, books, axis, 4)
    found = recognize(made.decode())
    assert isinstance(found, forms.ProductCodes)
    assert (found.axis, found.length, found.groups) == (axis, 4, made.groups)
    assert found.nbytes == made.nbytes
    assert (found.decode() == made.decode()).all()


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (3, 3, 16, 8)])
def test_what_was_not_quantized_has_no_codes(shape):
    values = np.random.default_rng(0).normal(size=shape).astype("float32")
    assert recognize(values) is None


def test_pruned_weights_have_codes_only_if_the_rest_repeats():
    values = kernel()
    values[np.abs(values) < 1] = 0
    assert recognize(values) is None
    made = linear_quantize(values, 5, (1, 1, 1, 32), symmetric=True)
    found = recognize(made.decode())
    assert (found.codes == made.codes).all()
    assert (found.decode()[values == 0] == 0).all()


def test_unused_levels_and_empty_channels_do_no_harm():
    values = kernel(shape=(3, 3, 4, 6))
    values[..., 2] = 0
    values[..., 4] = 0.75
    made = linear_quantize(values, 4, (1, 1, 1, 6))
    found = recognize(made.decode())
    assert (found.decode() == made.decode()).all()
    assert found.nbytes <= made.nbytes


def test_negative_zeros_are_zeros():
    values = np.tile(np.float32([-0.0, 0.0, 1.0, -1.0]), 50)
    found = recognize(values)
    assert found.nbits == 2 and (found.decode() == values).all()


@pytest.mark.parametrize(
    "values",
    [np.array([np.nan] * 40, "float32"), np.arange(40), np.ones(40, "float16")],
    ids=["nan", "integers", "half"],
)
def test_what_is_not_finite_float32_has_no_codes(values):
    assert recognize(values) is None


def test_largest_and_smallest_numbers():
    values = np.tile(np.float32([3e38, -3e38, 0.0]), 20)
    assert (recognize(values).decode() == values).all()
    values = np.tile(np.float32([1e-45, 3e-45, 0.0]), 20)
    assert (recognize(values).decode() == values).all()


def test_vectors_are_found_where_their_numbers_repeat_over_the_array():
    """64 vectors of 4: 256 numbers, each many times, in 8 bits."""
    rng = np.random.default_rng(0)
    book = rng.normal(size=(64, 4)).astype("float32")
    values = book[rng.integers(0, 64, (40, 50))]  # (40, 50, 4)
    values = values.transpose(0, 2, 1).reshape(160, 50)
    found = recognize(values)
    assert isinstance(found, forms.ProductCodes)
    assert (found.axis, found.length, found.nbits) == (0, 4, 6)
    assert (found.decode() == values).all()


def test_a_grid_whose_ends_are_no_float32_is_not_symmetric():
    """A channel of one number: 127 of it below zero have too many digits."""
    long = np.tile(np.float32([2**23 + 1, 0]), 128)
    even = np.clip(np.arange(256) - 127, -127, 127) * np.float32(2**16)
    values = np.stack([long, even], axis=1).astype("float32")
    found = recognize_linear(values, (1, 2))
    np.testing.assert_array_equal(found.decode(), values)


@pytest.mark.parametrize("tuned", [False, True], ids=["grid", "codebook"])
def test_a_pruned_array_of_few_numbers_has_one_codebook(tuned):
    """Its channels have fewer numbers each, and its zeros take no bits."""
    rng = np.random.default_rng(0)
    kept = rng.random((300, 100)) < 0.05
    levels = np.rint(rng.normal(0, 6, kept.shape)) * kept
    if tuned:  # No longer at even distances; zero stays zero.
        levels = levels + 0.003 * levels**2
    values = (levels * 0.5).astype("float32")

    found = recognize(values)

    form = forms.CodebookCodes if tuned else forms.LinearCodes
    assert found.groups == (1, 1) and found.nbits == 6
    assert isinstance(found, form)
    np.testing.assert_array_equal(found.decode(), values)
