"""Sparse forms against SciPy, loops over single numbers, and counted bytes."""

import math

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse

from fritz_compress.ops import sparse
from fritz_compress.ops.packing import pack_bits

DTYPES = [
    *("float32", "float64", "float16", "int8", "uint16", "int64", "bool"),
    *("complex64", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn),
]
SHAPES = [(), (1,), (7,), (3, 5), (3, 3, 4, 8), (5, 1), (1, 300), (0, 4)]
SHAPES += [(4, 0), (0,), (2, 0, 3)]


def pruned(shape, density, seed, dtype="float32"):
    """Numbers of which about `1 - density` are zero, those left distinct."""
    rng = np.random.default_rng(seed)
    values = (rng.integers(1, 100, shape) * rng.choice([-1, 1], shape)) / 8
    if np.dtype(dtype).kind in "iu":
        values = values * 8
    kept = np.asarray(rng.random(shape) < density)
    return (
        np.where(kept, values, 0)
        .astype("int64" if dtype == "uint16" else "float64")
        .astype(dtype)
    )


def relative_by_hand(array, bits):
    """One number after the other, as section 2 of the paper puts it."""
    values, gaps, before = [], [], -1
    for position, value in enumerate(array.reshape(-1).tolist()):
        if value != 0:
            while position - before > 2**bits:
                before += 2**bits
                values.append(0)
                gaps.append(2**bits - 1)
            values.append(value)
            gaps.append(position - before - 1)
            before = position
    return values, gaps


def same_bits(left, right):
    assert left.shape == right.shape and left.dtype == right.dtype
    return left.tobytes() == right.tobytes()


def test_the_worked_rows():
    array = np.array([[0, 7, 0], [0, 0, 0], [5, 0, 6]], "int8")
    rows = sparse.to_csr(array)
    assert rows.shape == (3, 3)
    assert rows.values.tolist() == [7, 5, 6] and rows.values.dtype == "int8"
    assert rows.columns.tolist() == [1, 0, 2]
    assert rows.row_starts.tolist() == [0, 1, 1, 3]
    # 3 bytes; 3 columns of 2 bits, 4 starts of 2 bits: 14 bits are 2 bytes.
    assert rows.nbytes == 5


def test_the_figure_of_the_paper():
    """Figure 2: positions 1, 4 and 15; 15 is 11 after 4, more than 8."""
    array = np.zeros(16, "float32")
    array[[1, 4, 15]] = 3.4, 0.9, 1.7
    indices = sparse.to_relative(array, index_bits=3)
    assert indices.values.tolist() == array[[1, 4, 12, 15]].tolist()
    # The figure's differences are 1, 3, 8 and 3, its first from position 0.
    assert (indices.gaps + 1).tolist() == [2, 3, 8, 3]
    assert indices.fillers == 1
    # 4 numbers of 4 bytes and 4 gaps of 3 bits: 16 + 1.5 bytes.
    assert indices.nbytes == 18
    assert same_bits(sparse.from_relative(indices), array)


@pytest.mark.parametrize(
    "difference, fillers", [(8, 0), (9, 1), (16, 1), (17, 2), (24, 2), (25, 3)]
)
def test_a_filler_follows_each_largest_difference(difference, fillers):
    array = np.zeros(40)
    array[[5, 5 + difference]] = 1, 2
    indices = sparse.to_relative(array, index_bits=3)
    assert indices.fillers == fillers
    assert len(indices.values) == len(indices.gaps) == 2 + fillers
    assert (sparse.from_relative(indices) == array).all()


def test_zeros_at_the_end_cost_nothing():
    array = np.zeros(10**6, "float32")
    array[2] = 1
    indices = sparse.to_relative(array, index_bits=5)
    assert indices.nbytes == 5 and indices.gaps.tolist() == [2]


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 9, 16])
@pytest.mark.parametrize("seed", range(8))
def test_relative_indices_are_those_of_a_loop(bits, seed):
    density = [0.001, 0.02, 0.1, 0.3, 0.6, 0.9, 0, 1][seed]
    array = pruned((30, 41), density, seed)
    indices = sparse.to_relative(array, bits)
    values, gaps = relative_by_hand(array, bits)
    assert indices.values.tolist() == values
    assert indices.gaps.tolist() == gaps
    assert indices.gaps.dtype == ("uint8" if bits <= 8 else "uint16")
    assert same_bits(sparse.from_relative(indices), array)


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, rng.integers(2, 5)))
    array = pruned(shape, rng.random(), seed)
    rows = sparse.to_csr(array)
    peer = scipy.sparse.csr_matrix(array.reshape(-1, shape[-1]))
    assert (rows.values == peer.data).all()
    assert (rows.columns == peer.indices).all()
    assert (rows.row_starts == peer.indptr).all()
    assert same_bits(sparse.from_csr(rows), array)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("density", [0, 0.3, 1])
def test_every_dtype_and_shape_comes_back(dtype, shape, density):
    array = pruned(shape, density, 1, dtype)
    for form in (
        sparse.to_csr(array),
        sparse.to_relative(array, 2),
        sparse.to_relative(array),
        sparse.smaller_of(array),
    ):
        assert same_bits(sparse.restore(form), array)


def test_what_is_not_a_plain_number():
    array = np.array([0.0, np.nan, -0.0, np.inf, -np.inf, 1e-45], "float32")
    array.view("uint32")[1] = 0x7FC00123  # A NaN that carries a message.
    expected = array.copy()
    expected[2] = 0.0
    for form in (sparse.to_csr(array), sparse.to_relative(array, 4)):
        assert len(form.values) == 4
        assert same_bits(sparse.restore(form), expected)


def test_arrays_that_are_not_contiguous():
    array = pruned((6, 5, 4), 0.4, 0)
    for view in (array.T, array[::2, ::-1], np.asfortranarray(array)):
        assert (sparse.restore(sparse.to_csr(view)) == view).all()
        assert (sparse.restore(sparse.to_relative(view)) == view).all()


def test_the_array_is_neither_changed_nor_kept():
    array = pruned((4, 5), 1, 0)
    before = array.copy()
    forms = sparse.to_csr(array), sparse.to_relative(array)
    assert (array == before).all()
    array[:] = 9
    assert all((sparse.restore(form) == before).all() for form in forms)


@pytest.mark.parametrize("density", [0, 0.01, 0.2, 0.7, 1])
@pytest.mark.parametrize("shape", [(50, 200), (3, 3, 16, 32), (9000, 1)])
def test_nbytes_is_what_packing_needs(shape, density):
    array = pruned(shape, density, 3, "float16")
    indices = sparse.to_relative(array, 5)
    packed = 2 * len(indices.values) + len(pack_bits(indices.gaps, 5))
    assert indices.nbytes == packed
    rows = sparse.to_csr(array)
    columns = [f"{c:b}" for c in rows.columns]
    assert max(map(len, columns), default=0) <= math.log2(shape[-1]) + 1
    column_bits = {200: 8, 32: 5, 1: 0}[shape[-1]] * len(columns)
    start_bits = len(f"{len(columns):b}") if columns else 0
    bits = 16 * len(columns) + column_bits
    bits += start_bits * (math.prod(shape[:-1]) + 1)
    assert rows.nbytes == math.ceil(bits / 8)


@pytest.mark.parametrize("density", [0.002, 0.05, 0.2, 0.6, 1])
def test_the_best_number_of_bits_is_found(density):
    array = pruned((64, 65), density, 0)
    best = sparse.to_relative(array)
    sizes = {b: sparse.to_relative(array, b).nbytes for b in range(1, 17)}
    assert best.nbytes == min(sizes.values()) == sizes[best.index_bits]


def test_the_smaller_form_is_chosen():
    spread = pruned((64, 64), 0.1, 0)
    assert isinstance(sparse.smaller_of(spread), sparse.RelativeIndices)
    # One gap of 20 bits: the indices need fillers, the columns just 20 bits.
    rare = np.zeros((1, 2**20), "int8")
    rare[0, [0, -1]] = 1
    assert isinstance(sparse.smaller_of(rare), sparse.CompressedRows)
    assert sparse.smaller_of(rare).nbytes == 8  # 2, 2 * 20 and 2 * 2 bits.
    for array in (spread, rare):
        sizes = sparse.to_csr(array).nbytes, sparse.to_relative(array).nbytes
        assert sparse.smaller_of(array).nbytes == min(sizes)


@pytest.mark.parametrize("bits", [0, 17, -1, 2.5, "3"])
def test_bits_out_of_range(bits):
    with pytest.raises(ValueError, match="from 1 to 16.*Received: "):
        sparse.to_relative(np.ones(3), bits)


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a"]),
        np.array([object()]),
        np.array([b"a"], "V1"),
        np.array(["2024-01-01"], "datetime64[D]"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_what_does_not_hold_numbers(array):
    for function in (sparse.to_csr, sparse.to_relative, sparse.smaller_of):
        with pytest.raises(TypeError, match="array of numbers.*dtype"):
            function(array)


def test_parts_that_do_not_fit_together():
    rows = sparse.to_csr(np.eye(3))
    short = sparse.CompressedRows(
        (3, 3), rows.values, rows.columns, rows.row_starts[:-1]
    )
    wide = sparse.CompressedRows(
        (3, 3), rows.values, rows.columns + 1, rows.row_starts
    )
    for broken in (short, wide):
        with pytest.raises(ValueError, match="Expected 3 rows of 3 columns"):
            sparse.from_csr(broken)
    indices = sparse.to_relative(np.eye(3))
    long = sparse.RelativeIndices(
        (2, 4), indices.index_bits, indices.values, indices.gaps
    )
    with pytest.raises(ValueError, match="tensor of 8 numbers.*number 9"):
        sparse.from_relative(long)
    with pytest.raises(TypeError, match="Received: ndarray"):
        sparse.restore(np.eye(3))
