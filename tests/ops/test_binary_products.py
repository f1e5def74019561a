"""Sums from packed words equal those of whole numbers, one by one."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from fritz_compress.ops import binary_products
from fritz_compress.ops.binary_products import Threads, pack, pack_kernel

CHANNELS = (1, 20, 64, 65, 200)


def signs(*shape, seed=0):
    return np.random.default_rng(seed).choice([-1, 1], shape).astype("int32")


def bordered(pictures, window, strides, dilation, value):
    """Pictures with a border after TensorFlow's rule for "same"."""
    pads = []
    for length, size, stride, step in zip(
        pictures.shape[1:3], window, strides, dilation
    ):
        count = -(-length // stride)
        total = max((count - 1) * stride + (size - 1) * step + 1 - length, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(pictures, [(0, 0), *pads, (0, 0)], constant_values=value)


def convolved(pictures, kernel, strides, dilation):
    """Sums of whole numbers, position by position."""
    height, width = kernel.shape[:2]
    spans = [(s - 1) * d for s, d in zip((height, width), dilation)]
    rows, columns = (
        range(0, length - span, stride)
        for length, span, stride in zip(pictures.shape[1:3], spans, strides)
    )
    found = [
        np.tensordot(
            pictures[
                :,
                y : y + spans[0] + 1 : dilation[0],
                x : x + spans[1] + 1 : dilation[1],
            ],
            kernel,
            3,
        )
        for y, x in itertools.product(rows, columns)
    ]
    found = np.stack(found, 1)
    return found.reshape(len(pictures), len(rows), len(columns), -1)


def check(pictures, kernel, padding, strides, dilation, value, threads=1):
    got = binary_products.convolve(
        pack(pictures, 0, 1),
        pack_kernel(kernel),
        strides,
        padding,
        dilation,
        value,
        Threads(threads),
    )
    if padding == "same":
        window = kernel.shape[:2]
        pictures = bordered(pictures, window, strides, dilation, value)
    assert got.dtype == np.int32
    want = convolved(pictures, kernel, strides, dilation)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("value", [-1, 0, 1])
@pytest.mark.parametrize("channels", CHANNELS)
def test_convolutions_of_any_number_of_channels(channels, value):
    pictures = signs(2, 6, 7, channels)
    kernel = signs(3, 3, channels, 70, seed=1)
    check(pictures, kernel, "same", (1, 1), (1, 1), value)


@pytest.mark.parametrize("value", [-1, 0, 1])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    "window, strides, dilation",
    [
        ((3, 3), (2, 2), (1, 1)),
        ((1, 1), (2, 2), (1, 1)),
        ((5, 2), (1, 3), (1, 1)),
        ((2, 3), (1, 1), (3, 2)),
        ((7, 7), (2, 1), (1, 1)),
    ],
    ids=str,
)
def test_windows_strides_and_dilation(
    window, strides, dilation, padding, value
):
    pictures = signs(2, 8, 9, 20)
    kernel = signs(*window, 20, 5, seed=1)
    check(pictures, kernel, padding, strides, dilation, value)


@pytest.mark.parametrize("filters", [1, 63, 64, 65, 130])
def test_filters_in_blocks(filters):
    kernel = signs(3, 3, 65, filters, seed=1)
    check(signs(1, 4, 4, 65), kernel, "same", (1, 1), (1, 1), 0)


@pytest.mark.parametrize("threads", [2, 3, 50])
def test_threads_share_positions_of_all_pictures(threads):
    kernel = signs(3, 3, 65, 6, seed=1)
    pictures = signs(3, 5, 2, 65)
    check(pictures, kernel, "same", (1, 1), (1, 1), 0, threads)


def test_an_error_in_a_thread_is_raised():
    def loop(first, last):
        raise RuntimeError(f"{first} to {last}")

    with pytest.raises(RuntimeError, match="0 to 4"):
        Threads(2).run(loop, 8)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("places", [(3,), (2, 4)], ids=str)
def test_dense(channels, places):
    rows = signs(*places, channels)
    matrix = signs(channels, 67, seed=1)
    got = binary_products.dense(
        pack(rows, 0, 1), pack_kernel(matrix[None, None])
    )
    np.testing.assert_array_equal(got, rows @ matrix)


def test_a_word_by_hand():
    """Bits of channels 0, 2 and 64; -0.0 is not negative, NaN is nothing."""
    values = np.full((1, 66), -1, "float32")
    values[0, [0, 2, 64]] = 3, 0, -0.0
    values[0, 5] = np.nan
    np.testing.assert_array_equal(pack(values, 0, np.inf), [[0b101, 1]])


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_limits_are_within_and_those_of_a_channel(dtype):
    values = np.arange(-40, 40).reshape(1, 80).astype(dtype)
    low = np.arange(-40, 40).astype(dtype)
    low[::2] += 1
    high = low + 5
    high[1] = -40
    words = pack(values, low, high).astype("<u8")
    bits = np.unpackbits(words.view("uint8"), axis=-1, bitorder="little")
    want = np.zeros(128)
    want[:80] = (values >= low) & (values <= high)
    np.testing.assert_array_equal(bits[0], want)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    "window, strides", [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((3, 1), (1, 4))]
)
def test_bits_of_maxima(window, strides, padding):
    """Of numbers with a threshold, rising or falling."""
    import keras

    numbers = np.random.default_rng(0).integers(-9, 9, (2, 7, 9, 70))
    numbers = numbers.astype("int32")
    falls = np.arange(70) % 3 == 0
    low, high = np.where(falls, -99, 4), np.where(falls, -2, 99)
    got = binary_products.maximum(
        pack(numbers, low, high),
        window,
        strides,
        padding,
        pack(falls.astype("int32"), 1, 1),
    )
    pool = keras.layers.MaxPooling2D(window, strides, padding)
    largest = np.array(pool(numbers.astype("float32"))).astype("int32")
    np.testing.assert_array_equal(got, pack(largest, low, high))


def test_a_kernel_takes_a_bit_per_number():
    kernel = pack_kernel(signs(3, 3, 128, 96))
    assert kernel.nbytes == 3 * 3 * 128 * 96 / 8
    assert pack_kernel(signs(3, 3, 1, 96)).nbytes == 3 * 3 * 8 * 96


def test_a_kernel_of_other_numbers():
    kernel = signs(1, 1, 4, 4).astype("float32")
    kernel[0, 0, 1:3, 2] = 0.5
    message = r"holds 1 and -1\. Received: 0\.5, and 2 numbers that are neither"
    with pytest.raises(ValueError, match=message):
        pack_kernel(kernel)


def test_numba_is_imported_by_the_loops_alone():
    """It takes a second; the package is imported without."""
    code = (
        "import sys, fritz_compress.ops.binary_products as products\n"
        "assert 'numba' not in sys.modules\n"
        "import numpy as np\n"
        "products.pack(np.ones((1, 2), 'float32'), 0, 1)\n"
        "assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
