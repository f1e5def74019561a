"""Forms of coded kernels: coremltools decodes each of them to the kernel."""

import numpy as np
import pytest
from coremltools.converters.mil.mil.ops.defs.iOS16 import constexpr_ops
from coremltools.converters.mil.mil.ops.defs.iOS18 import compression

from fritz_compress.convert.mil_constants import DECODERS
from fritz_compress.convert.mil_storage import smallest
from fritz_compress.ops.codes import CodebookCodes, LinearCodes, ProductCodes

SHAPE = (8, 12, 3, 3)
COUNT = 8 * 12 * 9
OPTIONAL = {
    "constexpr_blockwise_shift_scale": "offset",
    "constexpr_lut_to_dense": "vector_axis",
    "constexpr_lut_to_sparse": "vector_axis",
    "constexpr_sparse_blockwise_shift_scale": "offset",
}


def random_codes(nbits, shape=SHAPE, seed=0):
    codes = np.random.default_rng(seed).integers(0, 2**nbits, shape)
    return codes.astype("uint8" if nbits <= 8 else "uint16")


def linear(nbits, groups, zero_point, symmetric=False):
    """Scales are powers of two, so that every product is exact."""
    rng = np.random.default_rng(1)
    scale = np.ldexp(1.0, rng.integers(-4, 2, groups)).astype("float32")
    codes = random_codes(nbits)
    if symmetric:
        codes = np.minimum(codes, 2**nbits - 2)
    offset = (-zero_point * scale).astype("float32")
    return LinearCodes(codes, scale, offset, nbits)


def codebook(nbits, groups=(1, 1, 1, 1), entries=None):
    size = entries or 2**nbits
    rng = np.random.default_rng(2)
    books = np.sort(rng.normal(size=(*groups, size)).astype("float32"))
    return CodebookCodes(random_codes(nbits) % size, books, nbits)


def product(nbits, axis, length, groups=(1, 1, 1, 1)):
    shape = list(SHAPE)
    shape[axis] //= length
    books = np.random.default_rng(3).normal(size=(*groups, 2**nbits, length))
    codes = random_codes(nbits, shape)
    return ProductCodes(codes, books.astype("float32"), axis, nbits)


def zeros(codes, share=0.8):
    """The codes with the level zero, and many codes of it."""
    pruned = np.random.default_rng(4).random(SHAPE) < share
    if isinstance(codes, LinearCodes):
        zero = codes.zero_points
    else:
        codes.codebooks[..., 3] = 0
        zero = 3
    replaced = np.where(pruned, zero, codes.codes).astype(codes.codes.dtype)
    kept = {**vars(codes), "codes": replaced}
    return type(codes)(**kept)


def decode(stored, target, ours):
    """The kernel, as coremltools or as our interpreter decodes it."""
    result = ()
    for kind, arguments in stored.operations:
        values = {name: part.values for name, part in arguments.items()}
        if result:
            values = dict(zip(("mask", "nonzero_data"), result))
        if ours:
            result = DECODERS[kind](**values)
            continue
        module = compression if target >= "iOS18" else constexpr_ops
        if target >= "iOS18" and kind in OPTIONAL:
            values.setdefault(OPTIONAL[kind], None)
        result = getattr(module, kind).decompress(**values)
    return result


CHANNEL, BLOCK = (8, 1, 1, 1), (8, 3, 1, 1)
# Codes, target, the operations, and bytes counted by hand.
FORMS = {
    "symmetric": (
        linear(8, CHANNEL, 127, symmetric=True),
        "iOS16",
        ["constexpr_affine_dequantize"],
        COUNT + 8 * 4 + 1,
    ),
    "zero points": (
        linear(8, CHANNEL, np.arange(8).reshape(CHANNEL) * 30),
        "iOS16",
        ["constexpr_affine_dequantize"],
        COUNT + 8 * 4 + 8,
    ),
    "zero is no level": (
        linear(8, CHANNEL, 100.25),
        "iOS17",
        ["constexpr_affine_dequantize"],
        COUNT + 8 * 4 + 8 * 4,
    ),
    "zero is out of range": (
        linear(8, (1, 12, 1, 1), -5),
        "iOS16",
        ["constexpr_affine_dequantize"],
        COUNT + 12 * 4 + 12 * 4,
    ),
    "4 bits in 8": (
        linear(4, CHANNEL, 7, symmetric=True),
        "iOS16",
        ["constexpr_affine_dequantize"],
        COUNT + 8 * 4 + 1,
    ),
    "int4": (
        linear(4, BLOCK, 7, symmetric=True),
        "iOS18",
        ["constexpr_blockwise_shift_scale"],
        COUNT // 2 + 24 * 4,
    ),
    "a full range around seven": (
        linear(4, BLOCK, 7),
        "iOS18",
        ["constexpr_blockwise_shift_scale"],
        COUNT // 2 + 24 * 4 + 24 // 2,
    ),
    "int8 blocks": (
        linear(8, BLOCK, 3.5),
        "iOS18",
        ["constexpr_blockwise_shift_scale"],
        COUNT + 24 * 4 + 24 * 4,
    ),
    "even levels of 2 bits": (
        linear(2, (1, 1, 1, 1), 1),
        "iOS16",
        ["constexpr_lut_to_dense"],
        COUNT // 4 + 4 * 4,
    ),
    "vectors of inputs": (
        product(4, 1, 4),
        "iOS18",
        ["constexpr_lut_to_dense"],
        COUNT // 4 // 2 + 16 * 4 * 4,
    ),
    "vectors of outputs": (
        product(3, 0, 2, groups=(1, 4, 1, 1)),
        "iOS18",
        ["constexpr_lut_to_dense"],
        COUNT // 2 * 3 // 8 + 4 * 8 * 2 * 4,
    ),
    "grouped channels": (
        codebook(4, (4, 1, 1, 1)),
        "iOS18",
        ["constexpr_lut_to_dense"],
        COUNT // 2 + 4 * 16 * 4,
    ),
    "11 entries": (
        codebook(4, entries=11),
        "iOS16",
        ["constexpr_lut_to_dense"],
        COUNT // 2 + 16 * 4,
    ),
    "mask and codebook": (
        zeros(codebook(4, (4, 1, 1, 1))),
        "iOS18",
        ["constexpr_lut_to_sparse", "constexpr_sparse_to_dense"],
        None,
    ),
    "mask and even levels": (
        zeros(linear(8, CHANNEL, 127, symmetric=True)),
        "iOS18",
        ["constexpr_sparse_blockwise_shift_scale", "constexpr_sparse_to_dense"],
        None,
    ),
}


@pytest.mark.parametrize(
    "codes, target, kinds, nbytes", FORMS.values(), ids=FORMS
)
def test_coremltools_decodes_the_kernel(codes, target, kinds, nbytes):
    values = codes.decode()
    stored = smallest(values, codes, target)
    assert [kind for kind, _ in stored.operations] == kinds
    if nbytes is None:
        nonzero = np.count_nonzero(values)
        tables = codes.nbytes - COUNT * codes.nbits // 8
        nbytes = COUNT // 8 + -(-nonzero * codes.nbits // 8) + tables
    assert stored.nbytes == nbytes
    theirs = decode(stored, target, ours=False)
    assert theirs.dtype == np.float32
    np.testing.assert_array_equal(theirs, values)
    np.testing.assert_array_equal(decode(stored, target, ours=True), values)


@pytest.mark.parametrize(
    "target, widths",
    [
        ("iOS16", {1: 1, 2: 2, 3: 4, 4: 4, 5: 6, 6: 6}),
        ("iOS18", {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 6}),
    ],
)
def test_tables_have_the_bits_that_a_system_knows(target, widths):
    for nbits, width in widths.items():
        codes = codebook(nbits)
        stored = smallest(codes.decode(), codes, target)
        assert stored.bits == width
        assert stored.code_bits == COUNT * width
        assert stored.nbytes == COUNT * width // 8 + 4 * 2**width
        np.testing.assert_array_equal(
            decode(stored, target, ours=False), codes.decode()
        )


@pytest.mark.parametrize("target", ["iOS16", "iOS18"])
def test_pruned_floats_are_a_mask_and_the_rest(target):
    values = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    values[np.random.default_rng(1).random(SHAPE) < 0.7] = 0
    stored = smallest(values, None, target)
    nonzero = np.count_nonzero(values)
    assert stored.bits == 32 and stored.nbytes == COUNT // 8 + 4 * nonzero
    assert stored.code_bits == COUNT + 32 * nonzero
    for ours in (False, True):
        np.testing.assert_array_equal(decode(stored, target, ours), values)


@pytest.mark.parametrize(
    "codes, target",
    [
        (codebook(4), "iOS15"),
        (codebook(4, (4, 1, 1, 1)), "iOS17"),
        (product(4, 1, 4), "iOS16"),
        (linear(4, BLOCK, 7), "iOS16"),
        (linear(12, CHANNEL, 7), "iOS18"),
        (None, "iOS18"),
    ],
)
def test_what_a_system_does_not_know_has_no_form(codes, target):
    values = np.ones(SHAPE, "float32") if codes is None else codes.decode()
    values = np.where(values == 0, np.float32(1), values)
    assert smallest(values, codes, target) is None
