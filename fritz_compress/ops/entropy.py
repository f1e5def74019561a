"""Whole numbers in about as many bytes as their entropy.

A stream is what `encode_integers` makes of an array of `n` whole numbers in
`[0, 2**31)`. The reader is told `n`; no numbers make no bytes.

Byte 0 is 255 for *packed* numbers. Byte 1 is then their width in bits, 0 to
31, and the numbers follow one after the other, the highest bit first, the last
byte filled up with zeros.

Any other byte 0 is `32 * precision + split` for *coded* numbers, with a
precision of 0, 1, 2 or 3 and a split of 0 to 12. A number below `2**split` is
its own token. A larger one, of `b + 1` bits, stands in a bucket with all that
share its highest `1 + m` bits, where `m = min(split, 2)`; the token is
`2**split + (b - split) * 2**m` and the `m` bits after the highest one, and its
other `b - m` bits are written elsewhere, as they are. Then follow

1. The frequencies of the tokens, the highest bit of a byte first:
   - Which tokens occur, as lengths of runs in Elias' gamma code: their number,
     then the first token that occurs, plus 1 as it may be 0, then how many
     occur, how many do not, how many occur, and so on.
   - Two bits, `k`.
   - For each token that occurs its level, as the difference from that of the
     one before (for the first, from 0), `d` coded as `2d` or `-2d - 1`,
     whichever is not negative, in a Rice code: the quotient by `2**k` as so
     many ones and a zero, then the remainder in `k` bits.
   - Zeros up to the next byte.
2. If any token that occurs is a bucket: the number of bytes of part 3, as a
   varint, that is seven bits per byte, the lowest first, with 128 added to all
   but the last.
3. The tokens, coded by asymmetric numeral systems, unless one token alone
   occurs: 32-bit words, the lowest byte first, without the zero bytes at the
   end of the last word.
4. The other bits of the numbers in buckets, in their order, the highest bit
   first, the last byte filled up with zeros.

A level `v` is a weight of `2**(v // p)` times entry `v % p * 8 / p` of
`OCTAVE`, where `p = 2**precision`. A token of weight `w`, one of `t` tokens
whose weights add up to `W`, has the frequency `1 + w * (2**24 - t) // W`; what
is missing to `2**24` goes to the first of those with the largest weight.

The coder is `AnsCoder` of `constriction`: its state has 64 bits, its words 32,
its probabilities 24. The state starts as the last two words, the last one
being the higher half. To read a token, the lowest 24 bits of the state are
looked up among the running sums of the frequencies. With the token's frequency
`f` and the sum `c` of those before it, the state becomes
`(state >> 24) * f + (state & 0xffffff) - c`. If that is below `2**32`, the
next word from the end becomes its lower half. After the last token the state
is 0 and no word is left.

Reference: Duda, "Asymmetric numeral systems", https://arxiv.org/abs/1311.2540;
Bamler, "Understanding Entropy Coding With Asymmetric Numeral Systems",
https://arxiv.org/abs/2201.01741 (constriction).
"""

import dataclasses

import numpy as np

from fritz_compress.ops import bitstream, token_tables

LARGEST = 2**31 - 1
PACKED = 255
SPLITS = (0, 2, 3, 4, 5, 6, 8, 10, 12)
PRECISIONS = (0, 1, 2, 3)
SMALL = 2**16  # Up to here a table is faster than to sort.


def encode_integers(values: np.ndarray) -> bytes:
    """The shortest stream for whole numbers.

    Args:
        values: Whole numbers in `[0, 2**31)`, taken in C order.

    Raises:
        TypeError: for numbers that are not whole.
        ValueError: for a number out of range.

    Example: 1,000 numbers with an entropy of 1.5 bits, 188 bytes.

    >>> len(encode_integers(np.tile([0, 0, 1, 2], 250)))
    195
    """
    values = _checked(values)
    if not values.size:
        return b""
    plan = min(_plans(values), key=lambda plan: plan.bits)
    width = int(values.max()).bit_length()
    if len(values) * width <= plan.bits:
        return _packed(values, width)
    return plan.encode(values)


def decode_integers(data: bytes, count: int) -> np.ndarray:
    """The `count` numbers of a stream.

    Takes no more memory than `count` numbers need, whatever the bytes are.

    Returns: int64 array of shape `(count,)`.

    Raises:
        ValueError: for bytes that are no stream of so many numbers.
    """
    if not count:
        if data:
            raise ValueError(f"{len(data)} bytes for no number")
        return np.zeros(0, "int64")
    reader = bitstream.Reader(data)
    head = reader.byte()
    if head == PACKED:
        return _unpacked(reader, count)
    plan = _Plan.read(head, reader)
    return plan.decode(reader, count)


def entropy_bits(values: np.ndarray) -> float:
    """Bits that numbers need at least, if their order tells nothing.

    The empirical entropy of zeroth order times their number, without what it
    takes to know their frequencies.

    >>> entropy_bits([0, 0, 1, 2])
    6.0
    """
    counts = _counts(np.asarray(values).reshape(-1))[1]
    total = counts.sum()
    return float((counts * np.log2(total / counts)).sum()) if total else 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
    """How to code numbers: buckets, and levels of the tokens that occur.

    Attributes:
        split, precision: As in the description of the stream.
        present: The tokens that occur, ascending.
        levels: Their levels.
        bits: What a stream will take, about.
    """

    split: int
    precision: int
    present: np.ndarray
    levels: np.ndarray
    bits: float = 0.0

    @classmethod
    def read(cls, head, reader):
        precision, split = divmod(head, 32)
        if precision not in PRECISIONS or split > max(SPLITS):
            raise ValueError(f"unknown kind {head} of a stream")
        present = token_tables.read_present(reader, split)
        levels = token_tables.read_levels(reader, len(present), precision)
        reader.align()
        return cls(split, precision, present, levels)

    def encode(self, values):
        head = bytes([32 * self.precision + self.split])
        table = bitstream.Writer()
        token_tables.write_present(table, self.present)
        token_tables.write_levels(table, self.levels)
        if not self._has_buckets:
            coded = self._coder(self._symbols(values))
            return head + table.to_bytes() + coded
        tokens, rests, widths = token_tables.split_numbers(values, self.split)
        coded = self._coder(self._symbols(tokens))
        length = bitstream.varint(len(coded))
        rest = bitstream.pack(rests, widths)
        return b"".join([head, table.to_bytes(), length, coded, rest])

    def decode(self, reader, count):
        length = reader.varint() if self._has_buckets else reader.left
        symbols = self._decoded(reader.take(length), count)
        bases, widths = token_tables.smallest_numbers(self.present, self.split)
        numbers, widths = bases[symbols], widths[symbols]
        size = -(-int(widths.sum()) // 8)
        if reader.left != size:
            raise ValueError(
                f"{size} bytes for the lower bits of numbers expected, "
                f"{reader.left} received"
            )
        if size:
            numbers += bitstream.unpack(reader.take(size), widths)
        return numbers

    @property
    def _has_buckets(self):
        return bool(self.present[-1] >= 2**self.split)

    def _symbols(self, tokens):
        """The place of each token among those that occur."""
        places = np.zeros(self.present[-1] + 1, "int32")
        places[self.present] = np.arange(len(self.present))
        return places[tokens]

    def _coder(self, symbols):
        import constriction

        if len(self.present) == 1:
            return b""
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(symbols, self._model())
        words = coder.get_compressed().astype("<u4")
        return words.tobytes().rstrip(b"\0")

    def _decoded(self, data, count):
        import constriction

        if len(self.present) == 1:
            if data:
                raise ValueError(f"{len(data)} bytes for one token")
            return np.zeros(count, "int32")
        if not data or data.endswith(b"\0"):
            raise ValueError("coded numbers are missing, or end in a zero")
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4")
        coder = constriction.stream.stack.AnsCoder(words.astype("uint32"))
        symbols = coder.decode(self._model(), count)
        if not coder.is_empty():
            raise ValueError("coded numbers do not end where they should")
        return symbols

    def _model(self):
        import constriction

        frequencies = token_tables.frequencies(self.levels, self.precision)
        # Exact in floats; `perfect` keeps such probabilities as they are.
        return constriction.stream.model.Categorical(
            np.array(frequencies) / token_tables.WHOLE, perfect=True
        )


def _checked(values):
    values = np.asarray(values).reshape(-1)
    if values.dtype.kind not in "iub":
        raise TypeError(
            "Expected whole numbers. Received: an array of dtype "
            f"{values.dtype}. Convert it with `astype` first."
        )
    if values.size and not 0 <= values.min() <= values.max() <= LARGEST:
        raise ValueError(
            "Numbers must be in [0, 2**31). Received: numbers from "
            f"{values.min()} to {values.max()}."
        )
    return values.astype("int64")


def _packed(values, width):
    return bytes([PACKED, width]) + bitstream.pack(values, width)


def _unpacked(reader, count):
    width = reader.byte()
    size = -(-count * width // 8)
    if width > 31 or reader.left != size:
        raise ValueError(
            f"{count} numbers of {width} bits in {reader.left} bytes"
        )
    return bitstream.unpack(reader.take(size), width, count)


def _plans(values):
    """A plan for each split and precision, with about the bits it takes."""
    distinct, counts = _counts(values)
    for split in SPLITS:
        tokens, _, widths = token_tables.split_numbers(distinct, split)
        present, where = np.unique(tokens, return_inverse=True)
        totals = np.bincount(where, weights=counts)
        rest = float((widths * counts).sum())
        for precision in PRECISIONS:
            levels = np.rint(np.log2(totals) * 2**precision).astype("int64")
            bits = rest + token_tables.table_bits(present, levels)
            if len(present) > 1:
                weights = token_tables.weights(levels, precision)
                bits += float(totals @ np.log2(weights.sum() / weights))
            yield _Plan(split, precision, present, levels, bits)
        if present[-1] < 2**split:
            return  # A larger split is the same.


def _counts(values):
    """The numbers that occur, ascending, and how often."""
    if values.size and 0 <= values.min() <= values.max() < SMALL:
        counts = np.bincount(values)
        distinct = np.flatnonzero(counts)
        return distinct, counts[distinct]
    return np.unique(values, return_counts=True)
