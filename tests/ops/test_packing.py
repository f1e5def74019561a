"""Packed codes against bytes written by hand."""

import numpy as np
import pytest

from fritz_compress.ops import packing

NBITS = range(1, 17)


def test_bits_are_packed_highest_first():
    packed = packing.pack_bits([1, 2, 3, 0, 2], 2)
    assert packed == bytes([0b01101100, 0b10000000])
    assert packing.unpack_bits(packed, 2, 5).tolist() == [1, 2, 3, 0, 2]


@pytest.mark.parametrize("nbits", NBITS)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_packed_codes_come_back(nbits, count):
    codes = np.random.default_rng(count).integers(0, 2**nbits, count)
    packed = packing.pack_bits(codes, nbits)
    assert len(packed) == -(-count * nbits // 8)
    unpacked = packing.unpack_bits(packed, nbits, count)
    assert (unpacked == codes).all()
    assert unpacked.dtype == ("uint8" if nbits <= 8 else "uint16")


def test_three_bit_codes_cross_bytes():
    # 101 011 00|1 000000
    assert packing.pack_bits([5, 3, 1], 3) == bytes([0b10101100, 0x80])


def test_twelve_bit_codes_cross_bytes():
    # 0xabc 0x123
    assert packing.pack_bits([0xABC, 0x123], 12).hex() == "abc123"


@pytest.mark.parametrize("nbits", [0, 17, 2.5, None, True])
def test_wrong_nbits_are_refused(nbits):
    with pytest.raises(
        ValueError, match="`nbits` must be .* 1 to 16. Received"
    ):
        packing.pack_bits([1], nbits)


def test_codes_out_of_range_and_short_data_are_refused():
    with pytest.raises(ValueError, match=r"in \[0, 4\). Received.*0 to 4"):
        packing.pack_bits([0, 4], 2)
    with pytest.raises(ValueError, match="need 2 bytes. Received: 1 bytes"):
        packing.unpack_bits(b"a", 4, 3)
