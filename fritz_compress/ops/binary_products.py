"""Sums of products of signs, computed from 64 of them at once.

A sign is a bit, 1 for +1 and 0 for -1, and 64 channels are a word. Two signs
have the product -1 where their bits differ, so that the sum of n products is
n - 2 popcount(a xor b): Rastegari et al., "XNOR-Net",
https://arxiv.org/abs/1603.05279, section 4.1. Arrays of numpy in and out; sums
are whole numbers, exact. The loops are in `ops.binary_loops`, which are
compiled at the first call: that takes some seconds.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

WORD = 64  # Bits.

# Filters whose words are side by side, so that they stay in the nearest cache.
BLOCK = 64


class Threads:
    """Shares the loops of this file among threads.

    Args:
        count: How many.
    """

    def __init__(self, count: int = 1):
        self.count = count
        self._pool = None
        if count > 1:
            self._pool = concurrent.futures.ThreadPoolExecutor(count)

    def run(self, loop: Callable, length: int, *arguments: Any) -> None:
        """Calls `loop(first, last, *arguments)` for parts of a range."""
        if self._pool is None:
            loop(0, length, *arguments)
            return
        ends = [length * i // self.count for i in range(self.count + 1)]
        calls = [
            self._pool.submit(loop, first, last, *arguments)
            for first, last in zip(ends, ends[1:])
        ]
        for call in calls:
            call.result()


@dataclasses.dataclass(frozen=True, eq=False)
class PackedKernel:
    """The signs of a kernel as words.

    Attributes:
        shape: `(height, width, channels, filters)`.
        words: In the order in which `ops.binary_loops.convolve` reads them.
    """

    shape: tuple[int, int, int, int]
    words: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of the words."""
        return self.words.nbytes


def words_of(channels: int) -> int:
    """How many words hold the signs of one position."""
    return -(-channels // WORD)


def pack(
    values: np.ndarray, low: Any, high: Any, threads: Threads = Threads()
) -> np.ndarray:
    """Which numbers are within limits, as bits of words.

    Bits of the last word that are of no channel are 0, in kernels too, so
    that they never differ.

    Args:
        values: float32 or int32, channels along the last axis.
        low, high: Limits that are themselves within: a number, or one for
            each channel, of the type of the values.
        threads: What shares the work.

    Returns: uint64, words in place of the channels.

    >>> pack(np.float32([[-2, 0, 3]]), 0, np.inf)
    [[6]]
    """
    from fritz_compress.ops import binary_loops

    *places, channels = values.shape
    low, high = (
        np.ascontiguousarray(np.broadcast_to(x, channels), values.dtype)
        for x in (low, high)
    )
    rows = np.ascontiguousarray(values).reshape(-1, channels)
    words = np.empty((len(rows), words_of(channels)), "uint64")
    threads.run(binary_loops.pack, len(rows), rows, low, high, words)
    return words.reshape(*places, -1)


def pack_kernel(levels: np.ndarray) -> PackedKernel:
    """The words of a kernel of signs.

    Args:
        levels: 1 and -1, `(height, width, channels, filters)`.

    Raises:
        ValueError: for other numbers.
    """
    levels = np.asarray(levels, "float32")
    others = levels[np.abs(levels) != 1]
    if others.size:
        raise ValueError(
            f"A packed kernel holds 1 and -1. Received: {others[0]}, and "
            f"{others.size} numbers that are neither."
        )
    filters = levels.shape[-1]
    words = pack(np.moveaxis(levels, -1, 2), 0, np.inf)
    rows = np.moveaxis(words, 2, -1).reshape(-1, filters)
    blocks = [
        rows[:, begin : begin + BLOCK].reshape(-1)
        for begin in range(0, filters, BLOCK)
    ]
    return PackedKernel(levels.shape, np.concatenate(blocks))


def convolve(
    words: np.ndarray,
    kernel: PackedKernel,
    strides: tuple[int, int] = (1, 1),
    padding: str = "valid",
    dilation: tuple[int, int] = (1, 1),
    pad_value: int = 0,
    threads: Threads = Threads(),
) -> np.ndarray:
    """Convolution of signs with signs.

    Args:
        words: What `pack` made of pictures, `(samples, height, width, words)`.
        kernel: The filters.
        strides, padding, dilation: As of `keras.layers.Conv2D`.
        pad_value: What is around the pictures with padding "same": -1, 1, or
            0 for nothing that counts.
        threads: What shares the work.

    Returns: int32, `(samples, rows, columns, filters)`.
    """
    from fritz_compress.ops import binary_loops

    *window, channels, filters = kernel.shape
    sides = [
        _positions(*side, padding)
        for side in zip(words.shape[1:3], window, strides, dilation)
    ]
    (rows, above), (columns, left) = sides
    sums = np.empty((len(words), rows, columns, filters), "int32")
    threads.run(
        binary_loops.convolve,
        len(words) * rows * columns,
        np.ascontiguousarray(words),
        kernel.words,
        tuple(window),
        tuple(strides),
        tuple(dilation),
        (above, left),
        pack(np.full(channels, pad_value, "int32"), 1, 1),
        pad_value != 0,
        channels,
        sums,
    )
    return sums


def dense(
    words: np.ndarray, kernel: PackedKernel, threads: Threads = Threads()
) -> np.ndarray:
    """Products of rows of signs with a matrix of signs.

    Args:
        words: `(..., words)`.
        kernel: Of the shape `(1, 1, channels, units)`.
        threads: What shares the work.

    Returns: int32, `(..., units)`.
    """
    *places, depth = words.shape
    sums = convolve(words.reshape(-1, 1, 1, depth), kernel, threads=threads)
    return sums.reshape(*places, kernel.shape[-1])


def maximum(
    words: np.ndarray,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    falling: np.ndarray,
) -> np.ndarray:
    """The bits of maxima from the bits of what they are maxima of.

    Args:
        words: `(samples, height, width, words)`.
        window, strides, padding: As of `keras.layers.MaxPooling2D`.
        falling: Words with the bits of channels in which a larger number has
            the bit 0: there the bit of a maximum is 1 if all are.
    """
    sides = [
        _positions(*side, 1, padding)
        for side in zip(words.shape[1:3], window, strides)
    ]
    pads = [
        (before, max(0, (count - 1) * stride + size - length - before))
        for (count, before), stride, size, length in zip(
            sides, strides, window, words.shape[1:3]
        )
    ]
    # Where nothing is, is the bit of no maximum: 0 after the exchange.
    words = np.pad(words ^ falling, [(0, 0), *pads, (0, 0)])
    (rows, _), (columns, _) = sides
    found = np.zeros((), "uint64")
    for i, j in np.ndindex(*window):
        down = slice(i, i + rows * strides[0], strides[0])
        right = slice(j, j + columns * strides[1], strides[1])
        found = found | words[:, down, right]
    return found ^ falling


def _positions(length, window, stride, dilation, padding):
    """How many positions a filter has along a side, and the padding before."""
    covered = (window - 1) * dilation + 1
    if padding == "valid":
        return (length - covered) // stride + 1, 0
    count = -(-length // stride)
    return count, max(0, (count - 1) * stride + covered - length) // 2
