"""Loops over packed words, compiled by numba where they are first called.

`ops.binary_products` imports this file when it needs it: numba takes long to
import, and longer to compile. Nothing is kept in files. Every loop covers a
range of a first axis, so that threads share it, and lets them run: it holds no
lock of Python.
"""

import numba
import numpy as np
from numba.extending import intrinsic

from fritz_compress.ops.binary_products import BLOCK, WORD


@intrinsic
def _count(context, word):
    """How many bits of a word are 1: an instruction, of vectors as well."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return word(word), generate


@numba.njit(nogil=True)
def pack(first, last, values, low, high, words):
    """Sets the bits of rows of `words` where a value is within its limits.

    Args:
        first, last: The rows.
        values: `(rows, channels)`.
        low, high: Limits of each channel; a value that is one is within.
        words: `(rows, words)`, written.
    """
    channels = values.shape[1]
    one = np.uint64(1)
    for row in range(first, last):
        for place in range(words.shape[1]):
            begin = place * WORD
            word = np.uint64(0)
            for bit in range(min(WORD, channels - begin)):
                value = values[row, begin + bit]
                within = low[begin + bit] <= value <= high[begin + bit]
                word |= np.uint64(within) << (one * np.uint64(bit))
            words[row, place] = word


@numba.njit(nogil=True)
def _seen(words, y, x, window, steps, border, pads, found, places):
    """Lists the words that a filter sees and which of its own they meet.

    Returns: how many. Positions outside count only if there is padding.
    """
    height, width, depth = words.shape
    count = 0
    for i in range(window[0]):
        row = y + i * steps[0]
        for j in range(window[1]):
            column = x + j * steps[1]
            inside = 0 <= row < height and 0 <= column < width
            if not (inside or pads):
                continue
            for place in range(depth):
                word = words[row, column, place] if inside else border[place]
                found[count] = word
                places[count] = (i * window[1] + j) * depth + place
                count += 1
    return count


@numba.njit(nogil=True)
def convolve(
    first,
    last,
    words,
    blocks,
    window,
    strides,
    steps,
    before,
    border,
    pads,
    channels,
    sums,
):
    """Writes sums of products of signs at positions of all pictures.

    Args:
        first, last: The positions, counted through all pictures.
        words: `(samples, height, width, words)`.
        blocks: Words of the filters, those of `BLOCK` filters together:
            first the first word of each, then the second.
        window, strides, steps: Of the convolution; steps are its dilation.
        before: Padding above and on the left.
        border: Words of a position outside.
        pads: Whether positions outside count.
        channels: Bits of a position that count.
        sums: `(samples, rows, columns, filters)`, written.
    """
    _, rows, columns, filters = sums.shape
    depth = words.shape[3]
    length = window[0] * window[1] * depth
    found = np.empty(length, np.uint64)
    places = np.empty(length, np.int64)
    counts = np.empty(BLOCK, np.uint64)
    for begin in range(0, filters, BLOCK):
        wide = min(BLOCK, filters - begin)
        own = blocks[begin * length : (begin + wide) * length]
        block = own.reshape(length, wide)
        for position in range(first, last):
            sample, inner = divmod(position, rows * columns)
            y, x = divmod(inner, columns)
            count = _seen(
                words[sample],
                y * strides[0] - before[0],
                x * strides[1] - before[1],
                window,
                steps,
                border,
                pads,
                found,
                places,
            )
            _differences(found, places, count, block, counts)
            products = count // depth * channels
            for f in range(wide):
                different = np.int32(counts[f])
                sums[sample, y, x, begin + f] = products - 2 * different


@numba.njit(nogil=True)
def _differences(found, places, count, block, counts):
    """Counts for each filter the bits in which it differs from words."""
    wide = block.shape[1]
    counts[:wide] = 0
    fours = count // 4 * 4
    for i in range(0, fours, 4):
        a, b, c, d = found[i], found[i + 1], found[i + 2], found[i + 3]
        row_a, row_b = block[places[i]], block[places[i + 1]]
        row_c, row_d = block[places[i + 2]], block[places[i + 3]]
        for f in range(wide):
            counts[f] += (
                _count(a ^ row_a[f])
                + _count(b ^ row_b[f])
                + _count(c ^ row_c[f])
                + _count(d ^ row_d[f])
            )
    for i in range(fours, count):
        word, row = found[i], block[places[i]]
        for f in range(wide):
            counts[f] += _count(word ^ row[f])
