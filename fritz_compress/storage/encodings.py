"""A weight in its smallest lossless coding, and back."""

import dataclasses
import math

import ml_dtypes
import numpy as np

from fritz_compress.ops.bitstream import Reader, varint
from fritz_compress.ops.codes import (
    CodebookCodes,
    LinearCodes,
    ProductCodes,
    check_groups,
    code_dtype,
)
from fritz_compress.ops.entropy import LARGEST
from fritz_compress.ops.recognition import recognize
from fritz_compress.storage import positions
from fritz_compress.storage.positions import read_stream, write_stream

# Their places in this list are part of the format.
DTYPES = (
    *("float32", "float16", "bfloat16", "float64", "bool"),
    *("int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
    *("float8_e4m3fn", "float8_e5m2"),
)
RAW, PLANES, LINEAR, CODEBOOK, PRODUCT = range(5)
NAMES = ("raw", "byte planes", "linear", "codebook", "product")
LARGEST_CODE = 2**16


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """A weight as bytes.

    Attributes:
        places: Which numbers are stored, a kind of `positions.Places`.
        form: How: `RAW`, `PLANES`, `LINEAR`, `CODEBOOK` or `PRODUCT`.
        payload: The bytes.
        nbits: Bits of one code; `None` where there are none.
        entropy: Bits that all whole numbers in the payload need at least;
            for raw numbers all their bits.
    """

    places: int
    form: int
    payload: bytes
    nbits: int | None
    entropy: float

    @property
    def name(self) -> str:
        """In words, such as `"gaps + codebook"`."""
        names = [positions.NAMES[self.places], NAMES[self.form]]
        return " + ".join(name for name in names if name)


def dtype_of(name: str) -> np.dtype:
    """The numpy type of one of `DTYPES`."""
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def encode(array: np.ndarray) -> Encoded:
    """The smallest coding that gives back the very same bits."""
    by_size = sorted(_candidates(array), key=lambda c: len(c.payload))
    # Not all are exact: negative zeros are not in codes. All raw numbers are.
    return next(coded for coded in by_size if _same_bits(array, coded))


def decode(
    places: int, form: int, payload: bytes, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    """The weight that `encode` was given.

    Raises:
        ValueError: for bytes that are no coded weight of this shape.
    """
    reader = Reader(payload)
    size, numpy_dtype = math.prod(shape), dtype_of(dtype)
    where = positions.read(places, reader, shape)
    count = size if where is None else len(where)
    if form in (RAW, PLANES):
        numbers = _READERS[form](reader, count, numpy_dtype)
    elif form in (LINEAR, CODEBOOK, PRODUCT):
        if form == PRODUCT and where is not None:
            raise ValueError("sub-vectors without their zeros")
        codes = _READERS[form](reader, shape, where)
        numbers = codes.decode().reshape(-1).astype(numpy_dtype)
        numbers = numbers if where is None else numbers[where]
    else:
        raise ValueError(f"unknown form {form}")
    if reader.left:
        raise ValueError(f"{reader.left} bytes too many")
    if where is None:
        return numbers.reshape(shape)
    array = np.zeros(size, numpy_dtype)
    array[where] = numbers
    return array.reshape(shape)


def _same_bits(array, coded):
    name = str(array.dtype)
    back = decode(coded.places, coded.form, coded.payload, array.shape, name)
    return back.tobytes() == array.tobytes()


def _candidates(array):
    codes = _codes(array)
    for places in (positions.Places(), positions.without_zeros(array)):
        if places is None:
            continue
        numbers = places.among(array)
        parts = [_raw(numbers), _planes(numbers)]
        if codes and not (places.kind and _form(codes) == PRODUCT):
            parts.append(_coded(codes, places))
        for form, nbits, data, bits in parts:
            data, bits = places.data + data, places.entropy + bits
            yield Encoded(places.kind, form, data, nbits, bits)


def _codes(array):
    """What the numbers are codes of, if they can be."""
    floats = not np.issubdtype(array.dtype, np.integer) and array.dtype != bool
    if not floats or array.dtype.itemsize > 4 or array.size < 2:
        return None
    codes = recognize(array.astype("float32"))
    # The reader refuses a table larger than what it stands for.
    return codes if codes and _table_size(codes) <= array.size else None


def _table_size(codes):
    if isinstance(codes, LinearCodes):
        return codes.scale.size
    return codes.codebooks.size


def _form(codes):
    kinds = {LinearCodes: LINEAR, CodebookCodes: CODEBOOK}
    return kinds.get(type(codes), PRODUCT)


def _raw(numbers):
    data = _little(numbers).tobytes()
    return RAW, None, data, 8 * len(data)


def _planes(numbers):
    """The first byte of every number, then the second byte of each, ..."""
    shape = (len(numbers), numbers.dtype.itemsize)
    data = _little(numbers).view("uint8").reshape(shape)
    streams, bits = zip(*(write_stream(plane) for plane in data.T))
    return PLANES, None, b"".join(streams), sum(bits)


def _coded(codes, places):
    stream, bits = write_stream(places.among(codes.codes))
    form = _form(codes)
    table = b"".join(map(varint, [codes.nbits, *codes.groups]))
    if form == LINEAR:
        table += _linear_table(codes)
    else:
        if form == PRODUCT:
            table += varint(codes.axis) + varint(codes.length)
        table += varint(codes.codebooks.shape[len(codes.groups)])
        table += _floats(codes.codebooks)
    return form, codes.nbits, table + stream, bits


def _linear_table(codes):
    points = codes.zero_points
    limit = LARGEST // 2
    if points is not None and np.abs(points).max() <= limit:
        offset = _offset(points, codes.scale)
        if offset.tobytes() == codes.offset.tobytes():
            signed = np.where(points < 0, -2 * points - 1, 2 * points)
            stream = write_stream(signed)[0]
            return b"\1" + _floats(codes.scale) + stream
    return b"\0" + _floats(codes.scale) + _floats(codes.offset)


def _offset(points, scale):
    # Plus zero: no negative zeros.
    exact = -points.astype("float64") * scale + 0.0
    return exact.astype("float32")


def _floats(array):
    return _planes(array.astype("float32").reshape(-1))[2]


def _little(numbers):
    numbers = np.ascontiguousarray(numbers)
    return numbers.astype(numbers.dtype.newbyteorder("<"))


def _read_raw(reader, count, dtype):
    data = reader.take(count * dtype.itemsize)
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)


def _read_planes(reader, count, dtype):
    data = np.empty((count, dtype.itemsize), "uint8")
    for plane in data.T:
        numbers = read_stream(reader, count)
        if count and numbers.max() > 255:
            raise ValueError(f"a byte of {numbers.max()}")
        plane[:] = numbers
    little = data.reshape(-1).view(dtype.newbyteorder("<"))
    return little.astype(dtype)


def _read_floats(reader, shape):
    count = math.prod(shape)
    return _read_planes(reader, count, np.dtype("float32")).reshape(shape)


def _read_linear(reader, shape, where):
    nbits, groups = _read_head(reader, shape, shape)
    exact = reader.byte()
    scale = _read_floats(reader, groups)
    if exact:
        points = read_stream(reader, scale.size).reshape(groups)
        points = np.where(points % 2, -(points + 1) // 2, points // 2)
        offset = _offset(points, scale)
    else:
        offset = _read_floats(reader, groups)
    codes = _read_codes(reader, shape, where, 2**nbits, nbits)
    return LinearCodes(codes, scale, offset, nbits)


def _read_codebook(reader, shape, where):
    nbits, groups = _read_head(reader, shape, shape)
    size = _read_size(reader, groups, 1, math.prod(shape))
    codebooks = _read_floats(reader, (*groups, size))
    codes = _read_codes(reader, shape, where, size, nbits)
    return CodebookCodes(codes, codebooks, nbits)


def _read_product(reader, shape, where):
    nbits, groups = _read_head(reader, shape, None)
    axis, length = reader.varint(), reader.varint()
    if axis >= len(shape) or not length or shape[axis] % length:
        raise ValueError(
            f"sub-vectors of {length} along axis {axis} of shape {shape}"
        )
    coded = list(shape)
    coded[axis] //= length
    check_groups(groups, tuple(coded))
    size = _read_size(reader, groups, length, math.prod(shape))
    codebooks = _read_floats(reader, (*groups, size, length))
    codes = _read_codes(reader, tuple(coded), None, size, nbits)
    return ProductCodes(codes, codebooks, axis, nbits)


def _read_head(reader, shape, coded_shape):
    nbits = reader.varint()
    if not 1 <= nbits <= 16:
        raise ValueError(f"codes of {nbits} bits")
    groups = tuple(reader.varint() for _ in shape)
    if coded_shape is not None:
        check_groups(groups, coded_shape)
    return nbits, groups


def _read_size(reader, groups, length, limit):
    size = reader.varint()
    # Else few bytes could ask for any amount of memory.
    if size > LARGEST_CODE or math.prod(groups) * size * length > limit:
        raise ValueError(
            f"codebooks of {size} entries are larger than the weight"
        )
    return size


def _read_codes(reader, shape, where, size, nbits):
    count = math.prod(shape) if where is None else len(where)
    numbers = read_stream(reader, count)
    if count and numbers.max() >= size:
        raise ValueError(f"a code of {numbers.max()}, of {size} at most")
    codes = np.zeros(math.prod(shape), code_dtype(nbits))
    codes[... if where is None else where] = numbers
    return codes.reshape(shape)


_READERS = {
    RAW: _read_raw,
    PLANES: _read_planes,
    LINEAR: _read_linear,
    CODEBOOK: _read_codebook,
    PRODUCT: _read_product,
}
