"""Linear quantization against worked examples and brute force."""

import numpy as np
import pytest

from fritz_compress.ops import quantization

NBITS = range(1, 9)


def test_worked_example():
    codes, scale, offset = quantization.linear_quantize([-1, 0.2, 0.4, 2], 2)
    assert codes.tolist() == [0, 1, 1, 3]
    assert (scale, offset) == (1, -1)
    restored = quantization.dequantize(codes, scale, offset)
    assert restored.tolist() == [-1, 0, 0, 2]


@pytest.mark.parametrize("nbits", NBITS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_error_is_at_most_half_a_step(nbits, axis):
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
    codes, scale, offset = quantization.linear_quantize(values, nbits, axis)
    restored = quantization.dequantize(codes, scale, offset, axis)
    assert codes.shape == values.shape and codes.max() < 2**nbits
    assert scale.shape == (() if axis is None else (values.shape[axis],))
    assert np.abs(restored - values).max() <= np.max(scale) * 0.5001


def test_every_index_of_the_axis_uses_its_own_range():
    values = np.array([[0, 1, 2, 3], [0, 10, 20, 30]])
    codes, scale, offset = quantization.linear_quantize(values, 2, axis=0)
    assert codes.tolist() == [[0, 1, 2, 3]] * 2
    assert scale.tolist() == [1, 10] and offset.tolist() == [0, 0]


@pytest.mark.parametrize("value", [0, -3.5, 1e-30, 3e38])
def test_constant_arrays_are_exact(value):
    values = np.full((2, 3), value, "float32")
    restored = quantization.dequantize(*quantization.linear_quantize(values, 4))
    assert (restored == values).all()


def test_the_full_range_of_float32_does_not_overflow():
    values = np.array([-3e38, 0, 3e38], "float32")
    codes, scale, _ = quantization.linear_quantize(values, 8)
    assert np.isfinite(scale) and codes.tolist() == [0, 128, 255]


@pytest.mark.parametrize("nbits", NBITS)
def test_narrowing_never_adds_error(nbits):
    values = np.random.default_rng(1).normal(size=(4, 300)).astype("float32")
    values[0, 0] = 20  # An outlier, which stretches the full range.

    def error(narrow):
        parts = quantization.linear_quantize(values, nbits, 0, narrow)
        return np.square(quantization.dequantize(*parts, 0) - values).sum(1)

    assert (error(True) <= error(False)).all()
    if nbits <= 4:
        assert (error(True) < 0.9 * error(False)).any()


def test_bits_are_packed_highest_first():
    packed = quantization.pack_bits([1, 2, 3, 0, 2], 2)
    assert packed == bytes([0b01101100, 0b10000000])
    assert quantization.unpack_bits(packed, 2, 5).tolist() == [1, 2, 3, 0, 2]


@pytest.mark.parametrize("nbits", NBITS)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_packed_codes_come_back(nbits, count):
    codes = np.random.default_rng(count).integers(0, 2**nbits, count)
    packed = quantization.pack_bits(codes, nbits)
    assert len(packed) == -(-count * nbits // 8)
    assert (quantization.unpack_bits(packed, nbits, count) == codes).all()


def test_three_bit_codes_cross_bytes():
    # 101 011 00|1 000000
    assert quantization.pack_bits([5, 3, 1], 3) == bytes([0b10101100, 0x80])


@pytest.mark.parametrize("nbits", [0, 9, 2.5, None])
def test_wrong_nbits_are_refused(nbits):
    with pytest.raises(ValueError, match="`nbits` must be .* 1 to 8. Received"):
        quantization.linear_quantize([1.0], nbits)


@pytest.mark.parametrize("values", [[], [np.nan], [1, np.inf]])
def test_values_that_cannot_be_quantized_are_refused(values):
    with pytest.raises(ValueError, match="finite, non-empty"):
        quantization.linear_quantize(values, 8)


def test_codes_out_of_range_and_short_data_are_refused():
    with pytest.raises(ValueError, match=r"in \[0, 4\). Received.*0 to 4"):
        quantization.pack_bits([0, 4], 2)
    with pytest.raises(ValueError, match="need 2 bytes. Received: 1 bytes"):
        quantization.unpack_bits(b"a", 4, 3)
