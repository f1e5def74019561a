"""Arrays of any type come back bit by bit, in the coding that fits them."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_models import pruned

from fritz_compress.ops import codes as forms
from fritz_compress.storage import encodings
from fritz_compress.storage.encodings import DTYPES, decode, dtype_of, encode

SHAPES = [(), (0,), (1,), (7,), (3, 4), (0, 3), (2, 0, 3), (3, 3, 4, 8)]


def back(coded, array):
    return decode(
        coded.places,
        coded.form,
        coded.payload,
        array.shape,
        str(array.dtype),
    )


def check(array):
    coded = encode(array)
    again = back(coded, array)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()
    assert len(coded.payload) <= array.nbytes
    return coded


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_and_shape(dtype, shape):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 100, shape) * (rng.random(shape) < 0.5)
    check(np.asarray(numbers).astype(dtype_of(dtype)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes(data):
    dtype = dtype_of(data.draw(st.sampled_from(DTYPES)))
    shape = tuple(data.draw(st.lists(st.integers(0, 5), max_size=4)))
    size = math.prod(shape) * dtype.itemsize
    numbers = data.draw(
        st.binary(min_size=size, max_size=size)
        | st.lists(
            st.sampled_from([0, 0, 0, 64, 128]), min_size=size, max_size=size
        ).map(bytes)
    )
    if dtype == bool:
        numbers = bytes(number & 1 for number in numbers)
    check(np.frombuffer(numbers, dtype).reshape(shape))


def kernel(shape=(3, 3, 32, 16)):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def linear(groups, symmetric=False):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 16, (3, 3, 32, 16)).astype("uint8")
    scale = rng.integers(1, 99, groups).astype("float32") / 1024
    zero = rng.integers(0, 16, groups).astype("float32")
    return forms.LinearCodes(codes, scale, -zero * scale, 4).decode()


def product():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 16, (3, 3, 8, 64)).astype("uint8")
    books = rng.normal(size=(1, 1, 1, 1, 16, 4)).astype("float32")
    return forms.ProductCodes(codes, books, 2, 4).decode()


def per_channel_codebooks():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (3, 3, 32, 16)).astype("uint8")
    books = np.sort(rng.normal(size=(1, 1, 1, 16, 4)), axis=-1)
    return forms.CodebookCodes(codes, books.astype("float32"), 2).decode()


CODED = {
    "byte planes": (kernel(), None),
    "linear": (linear((1, 1, 1, 1)), 4),
    "linear per channel": (linear((1, 1, 1, 16)), 4),
    "codebook": (pruned((3, 3, 32, 16), density=0.7), 4),
    "codebook per channel": (per_channel_codebooks(), 2),
    "product": (product(), 4),
    "raw": (np.arange(9, dtype="float32") * 0.1 + 0.3, None),
}


@pytest.mark.parametrize("name", CODED)
def test_the_smallest_coding_is_taken(name):
    array, nbits = CODED[name]
    coded = check(array)
    assert coded.name.split(" + ")[-1] == name.split(" per ")[0]
    assert coded.nbits == nbits
    # The codes alone, and tables of as many floats as there are.
    if nbits:
        assert coded.entropy / 8 < len(coded.payload) < array.nbytes / 4


@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16])
def test_codes_of_half_floats_are_found(dtype):
    array = pruned((64, 48), 0.3).astype(dtype)
    assert check(array).name.endswith("codebook")


def test_pruned_numbers_that_are_no_codes():
    array = kernel((200, 50)) * (np.random.default_rng(0).random(50) < 0.1)
    array[::3] = 0
    coded = check(array.astype("float32") + 0)
    assert coded.name in ("gaps + byte planes", "column gaps + byte planes")


def test_rows_pay_where_each_holds_as_many():
    """That it is one per row takes no bits; gaps do not know."""
    columns = np.random.default_rng(0).integers(0, 64, 1000)
    array = (columns[:, None] == np.arange(64)).astype("float32")
    coded = check(array)
    assert coded.name.startswith("rows + ")
    assert len(coded.payload) < 1000 * 6 / 8 + 30
    # With one per column it is the other way round.
    assert check(np.ascontiguousarray(array.T)).name.startswith("column gaps")


@pytest.mark.parametrize("places", range(4))
@pytest.mark.parametrize("form", range(5))
def test_random_payloads_are_arrays_or_an_error(places, form):
    rng = np.random.default_rng(places * 5 + form)
    for length in rng.integers(0, 40, 200):
        payload = bytes(rng.integers(0, 256, length, dtype="uint8"))
        try:
            array = decode(places, form, payload, (4, 6), "float32")
        except ValueError as error:
            assert str(error)
        else:
            assert array.shape == (4, 6)


def changes(payload):
    """The payload with each byte changed, and cut at each byte."""
    for place in range(len(payload)):
        for flip in (1, 0x80, 0xFF):
            changed = bytearray(payload)
            changed[place] ^= flip
            yield bytes(changed)
        yield payload[:place]


@pytest.mark.parametrize("name", CODED)
def test_changed_payloads_are_arrays_or_an_error(name):
    array = np.ascontiguousarray(CODED[name][0][..., :4])
    coded = encode(array)
    errors = 0
    for payload in list(changes(coded.payload))[
        :: len(coded.payload) // 60 + 1
    ]:
        try:
            other = decode(
                coded.places, coded.form, payload, array.shape, "float32"
            )
            assert other.shape == array.shape
        except ValueError:
            errors += 1
    assert errors


@pytest.mark.parametrize(
    "places, form, payload, message",
    [
        (9, 0, b"", "unknown way 9"),
        (0, 7, bytes(24), "unknown form 7"),
        (0, 0, bytes(23), "24 bytes expected, 23 left"),
        (0, 0, bytes(25), "1 bytes too many"),
        (1, 0, b"\x09", "9 numbers in a weight of 6"),
        (1, 0, b"\x01\x03\xff\x05\x06", "unknown|bytes|bits"),
        (1, 4, b"\0\0", "sub-vectors without their zeros"),
        (0, 3, b"\x11", "codes of 17 bits"),
        (0, 3, b"\x04\x05\x05", "divisor of its length"),
        (0, 3, b"\x04\x01\x01\x10", "16 entries are larger than the weight"),
        (0, 4, b"\x04\x01\x01\x05\x02", "along axis 5"),
        (0, 4, b"\x04\x01\x01\x00\x00", "sub-vectors of 0"),
    ],
)
def test_what_is_wrong_is_named(places, form, payload, message):
    with pytest.raises(ValueError, match=message):
        decode(places, form, payload, (2, 3), "float32")


def test_a_number_out_of_the_weight_is_an_error():
    payload = b"\x01" + encodings.write_stream(np.array([6]))[0] + bytes(4)
    with pytest.raises(ValueError, match="number 6 in a weight of 6"):
        decode(1, 0, payload, (2, 3), "float32")
    rows = encodings.write_stream(np.array([4, 0]))[0]
    with pytest.raises(ValueError, match="4 numbers in a row of 3"):
        decode(3, 0, rows, (2, 3), "float32")
    rows = encodings.write_stream(np.array([1, 0]))[0]
    rows += encodings.write_stream(np.array([3]))[0] + bytes(4)
    with pytest.raises(ValueError, match="column 3 in a row of 3"):
        decode(3, 0, rows, (2, 3), "float32")
