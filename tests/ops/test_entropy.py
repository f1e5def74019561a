"""Streams of whole numbers against a reader written from the description."""

import bisect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fritz_compress.ops import bitstream
from fritz_compress.ops.entropy import (
    decode_integers,
    encode_integers,
    entropy_bits,
)

OCTAVE = [round(2**16 * 2 ** (i / 8)) for i in range(8)]


class Described:
    """Decodes a stream, step by step as `ops.entropy` describes it."""

    def __init__(self, data):
        self.text = "".join(f"{byte:08b}" for byte in data)

    def bits(self, count):
        found, self.text = self.text[:count], self.text[count:]
        return int(found, 2) if found else 0

    def gamma(self):
        zeros = len(self.text) - len(self.text.lstrip("0"))
        return self.bits(2 * zeros + 1)

    def rice(self, k):
        ones = len(self.text) - len(self.text.lstrip("1"))
        self.bits(ones + 1)
        return (ones << k) + self.bits(k)

    def varint(self):
        byte = self.bits(8)
        return byte if byte < 128 else byte - 128 + 128 * self.varint()

    def decode(self, count):
        head = self.bits(8)
        if head == 255:
            width = self.bits(8)
            return [self.bits(width) for _ in range(count)]
        precision, split = divmod(head, 32)
        tokens = self.tokens()
        frequencies = self.frequencies(len(tokens), 2**precision)
        self.bits(len(self.text) % 8)
        buckets = tokens[-1] >= 2**split
        length = self.varint() if buckets else len(self.text) // 8
        coded = bytes(self.bits(8) for _ in range(length))
        places = [0] * count
        if len(tokens) > 1:
            places = asymmetric_numerals(coded, frequencies, count)
        return [self.number(tokens[place], split) for place in places]

    def tokens(self):
        runs = [self.gamma() for _ in range(self.gamma())]
        runs[0] -= 1
        ends = np.cumsum(runs).tolist()
        pairs = zip(ends[::2], ends[1::2])
        return [token for start, end in pairs for token in range(start, end)]

    def frequencies(self, count, p):
        k, level, weights = self.bits(2), 0, []
        for _ in range(count):
            step = self.rice(k)
            level += -(step + 1) // 2 if step % 2 else step // 2
            weights.append(2 ** (level // p) * OCTAVE[level % p * 8 // p])
        total = sum(weights)
        found = [1 + w * (2**24 - count) // total for w in weights]
        found[weights.index(max(weights))] += 2**24 - sum(found)
        return found

    def number(self, token, split):
        if token < 2**split:
            return token
        m = min(split, 2)
        bucket, leading = divmod(token - 2**split, 2**m)
        rest = bucket + split - m
        return ((2**m + leading) << rest) + self.bits(rest)


def asymmetric_numerals(coded, frequencies, count):
    coded += bytes(-len(coded) % 4)
    words = [
        int.from_bytes(coded[i : i + 4], "little")
        for i in range(0, len(coded), 4)
    ]
    sums = [0, *np.cumsum(frequencies).tolist()]
    state, found = 0, []
    for _ in range(2):
        state = state << 32 | words.pop() if words else state
    for _ in range(count):
        low = state & (2**24 - 1)
        place = bisect.bisect_right(sums, low) - 1
        state = (state >> 24) * frequencies[place] + low - sums[place]
        if state < 2**32 and words:
            state = state << 32 | words.pop()
        found.append(place)
    assert state == 0 and not words
    return found


def codes(seed=0, count=5000, deviation=6.0):
    """Codes of 6 bits, those in the middle the most frequent."""
    numbers = np.random.default_rng(seed).normal(32, deviation, count)
    return np.clip(np.rint(numbers), 0, 63).astype("uint8")


ARRAYS = {
    "codes": codes(),
    "few": codes(count=40),
    "gaps": np.random.default_rng(0).geometric(0.06, 4000) - 1,
    "wide gaps": np.random.default_rng(0).geometric(0.0005, 800) - 1,
    "even": np.random.default_rng(0).integers(0, 32, 999),
    "large": np.random.default_rng(0).integers(0, 2**31, 50),
    "extremes": np.array([0, 2**31 - 1] * 30),
    "one kind": np.full(300, 77),
    "one kind of bucket": np.full(300, 2**20),
    "one": np.array([5]),
    "zero": np.array([0]),
    "zeros": np.zeros(100, bool),
    "two kinds apart": np.array([3, 250] * 50 + [3] * 200),
    "skewed": np.array([0] * 100_000 + [1]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_reader_made_from_the_description_agrees(name):
    values = ARRAYS[name]
    data = encode_integers(values)
    assert Described(data).decode(len(values)) == values.tolist()
    decoded = decode_integers(data, len(values))
    assert decoded.dtype == "int64" and (decoded == values).all()


def test_bytes_by_hand():
    """Packed: 4 numbers of 3 bits. Coded: one token, which takes no bits."""
    assert encode_integers([5, 0, 7, 2]).hex() == "ff03" + "a3a0"
    # Split 2 is enough for 3: one run of 3 + 1 tokens left out and one of 1;
    # gamma 2, 4, 1; k; the level of 200 is 8 (its logarithm 7.6, rounded).
    data = encode_integers([3] * 200)
    assert data[0] == 2
    bits = "010" + "00100" + "1"
    best = min(
        (f"{k:02b}" + "1" * (16 >> k) + "0" + "0" * k for k in range(4)),
        key=len,
    )
    assert f"{int(data[1:].hex(), 16):0{8 * len(data) - 8}b}" == (
        bits + best
    ).ljust(8 * len(data) - 8, "0")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 2**31 - 1), max_size=60)
    | st.lists(st.integers(0, 40), max_size=400)
    | st.lists(st.sampled_from([0, 1, 2, 2000]), max_size=400)
)
def test_any_numbers_come_back(numbers):
    values = np.array(numbers, "int64")
    data = encode_integers(values)
    assert decode_integers(data, len(values)).tolist() == numbers
    if numbers:
        assert Described(data).decode(len(numbers)) == numbers


@pytest.mark.parametrize("deviation", [0.3, 1.0, 3.0, 8.0, 30.0])
def test_large_arrays_take_their_entropy(deviation):
    values = codes(count=20_000, deviation=deviation)
    data = encode_integers(values)
    p = np.bincount(values) / len(values)
    entropy = -len(values) * sum(x * math.log2(x) for x in p if x) / 8
    assert entropy <= len(data) <= 1.01 * entropy + 30
    np.testing.assert_allclose(entropy_bits(values) / 8, entropy)


def test_small_arrays_cost_little_more():
    """260 codes of 5 bits, as of a last layer: 130 bytes of entropy."""
    values = codes(count=260, deviation=4.0)
    size = len(encode_integers(values))
    assert size <= entropy_bits(values) / 8 + 20
    assert size < 260 * 6 / 8


def test_the_entropy_of_no_numbers_and_negative_ones():
    assert entropy_bits([]) == 0
    assert entropy_bits([0, 0, 1, 2]) == 6
    assert entropy_bits([-1, -1, 70_000, 70_000]) == 4


@pytest.mark.parametrize("values", [[-1], [2**31]])
def test_numbers_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match=r"must be in \[0, 2\*\*31\)"):
        encode_integers(values)


def test_numbers_that_are_not_whole_are_refused():
    with pytest.raises(TypeError, match="whole numbers. Received.*float64"):
        encode_integers([0.5])


def test_no_bytes_are_no_numbers():
    assert encode_integers(np.zeros(0, "int64")) == b""
    assert decode_integers(b"", 0).shape == (0,)
    with pytest.raises(ValueError, match="3 bytes for no number"):
        decode_integers(b"abc", 0)


@pytest.mark.parametrize("name", ["codes", "gaps", "even", "one kind"])
def test_cut_streams_are_errors(name):
    data = encode_integers(ARRAYS[name])
    for length in {*range(min(len(data), 40)), len(data) - 1}:
        with pytest.raises(ValueError):
            decode_integers(data[:length], len(ARRAYS[name]))
    with pytest.raises(ValueError):
        decode_integers(data + b"\1", len(ARRAYS[name]))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 300))
def test_random_bytes_are_numbers_or_an_error(data, count):
    try:
        values = decode_integers(data, count)
    except ValueError as error:
        assert str(error)
    else:
        assert values.shape == (count,)
        assert 0 <= values.min() <= values.max() < 2**31


@pytest.mark.parametrize(
    "data, message",
    [
        (bytes([200]), "unknown kind 200"),
        (bytes([13, 0]), "unknown kind 13"),
        (bytes([255, 40, 1]), "numbers of 40 bits"),
        (bytes([0, 0b01100000]), "3 runs of tokens"),
        (bytes([0, 0]), "end in the middle of a number"),
        (bytes([0]) + bytes(9), "end in the middle of a number"),
        (bytes([0]) + bytes(7) + b"\1" + bytes(9), "a number of 63 bits"),
        (bytes([0, 0b01000000, 0b00100000, 0b11000000]), "a token of"),
    ],
)
def test_what_is_wrong_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        decode_integers(data, 5)


def test_varints():
    for value in [0, 1, 127, 128, 300, 2**31, 2**62]:
        data = bitstream.varint(value)
        reader = bitstream.Reader(data)
        assert reader.varint() == value and not reader.left
    assert bitstream.varint(300).hex() == "ac02"
    with pytest.raises(ValueError, match="more than 9 bytes"):
        bitstream.Reader(bytes([255] * 20)).varint()
    with pytest.raises(ValueError, match="1 bytes expected, 0 left"):
        bitstream.Reader(b"\xff").varint()


@settings(deadline=None)
@given(st.lists(st.integers(0, 31), max_size=50), st.randoms())
def test_bits_of_any_width_come_back(widths, random):
    values = np.array([random.getrandbits(w) for w in widths], "int64")
    widths = np.array(widths, "int64")
    data = bitstream.pack(values, widths)
    text = "".join(f"{v:0{w}b}" for v, w in zip(values, widths) if w)
    assert "".join(f"{b:08b}" for b in data) == text + "0" * (-len(text) % 8)
    assert (bitstream.unpack(data, widths) == values).all()
