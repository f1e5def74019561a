"""Constant expressions, worked out by hand and by coremltools."""

import types

import numpy as np
import pytest
from coremltools.converters.mil.mil.ops.defs.iOS18 import compression

from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.mil_constants import DECODERS, constant


def uint8(*values):
    return np.array(values, "uint8")


def test_codes_of_three_bits_cross_bytes():
    """1, 2, 3: from the lowest bit up 100 010 110."""
    lut = np.arange(8, dtype="float32") * 10
    decoded = DECODERS["constexpr_lut_to_dense"](
        indices=uint8(0b11010001, 0), lut=lut, shape=np.array([3])
    )
    np.testing.assert_array_equal(decoded, [10, 20, 30])


def test_a_scale_for_each_block():
    decoded = DECODERS["constexpr_blockwise_shift_scale"](
        data=np.int8([[1, 2, 3, -4]]),
        scale=np.float32([[10, 100]]),
        offset=np.int8([[1, -1]]),
    )
    np.testing.assert_array_equal(decoded, [[0, 10, 400, -300]])


def test_a_table_for_each_block_of_vectors():
    """Two tables for two rows each, their vectors along the columns."""
    lut = np.float32([[[[1, 2], [3, 4]]], [[[5, 6], [7, 8]]]])
    indices = uint8([0, 1], [1, 1], [0, 0], [1, 0])
    decoded = DECODERS["constexpr_lut_to_dense"](
        indices=indices, lut=lut, vector_axis=np.int32(-1)
    )
    expected = [[1, 2, 3, 4], [3, 4, 3, 4], [5, 6, 5, 6], [7, 8, 5, 6]]
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_masks_of_vectors_are_those_of_coremltools(axis):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (4, 6)).astype("uint8")
    arguments = {
        "indices_mask": mask,
        "indices_nonzero_data": rng.integers(0, 4, mask.sum()).astype("uint8"),
        "lut": rng.normal(size=(2, 1, 4, 3)).astype("float32"),
        "vector_axis": np.int32(axis),
    }
    kind = "constexpr_lut_to_sparse"
    theirs = getattr(compression, kind).decompress(**arguments)
    for one, other in zip(DECODERS[kind](**arguments), theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_unknown_expressions_are_refused_by_name():
    value = types.SimpleNamespace(name="odd")
    value.op = types.SimpleNamespace(op_type="constexpr_odd")
    with pytest.raises(ConversionError, match="'odd' of kind 'constexpr_odd'"):
        constant(value)
