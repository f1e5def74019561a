"""The file around the coded weights: sections, sizes, checksum."""

import dataclasses
import hashlib
import math
import os
import zlib
from collections.abc import Sequence
from importlib import resources

from fritz_compress.ops.bitstream import Reader, varint
from fritz_compress.ops.entropy import LARGEST
from fritz_compress.storage.encodings import DTYPES, Encoded, dtype_of

MAGIC = b"FCZ"
VERSION = 1
CHECKSUM_BYTES = 8
HEADER_BYTES = len(MAGIC) + 1 + CHECKSUM_BYTES
LONGEST_ARCHITECTURE = 2**22  # Bytes of text.
MOST_WEIGHTS = 2**16
MOST_AXES = 16
# A weight may be larger than its bytes, as zeros take next to none. Beyond
# these the file must be larger, so that no small one fills the memory.
FREE_BYTES = 2**26
LARGEST_EXPANSION = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """One weight as it lies in a file, not yet decoded.

    Attributes:
        shape: Its shape.
        dtype: Name of its type, one of `encodings.DTYPES`.
        places, form, payload: As in `encodings.Encoded`.
    """

    shape: tuple[int, ...]
    dtype: str
    places: int
    form: int
    payload: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded weight."""
        return math.prod(self.shape) * dtype_of(self.dtype).itemsize


def write(
    architecture: str,
    weights: Sequence[tuple[tuple[int, ...], str, Encoded]],
) -> bytes:
    """The bytes of a file.

    Args:
        architecture: The model's configuration as JSON.
        weights: Shape, name of the dtype and coding of each weight.

    Raises:
        ValueError: for an architecture that is too long.
    """
    text = architecture.encode("ascii")
    if len(text) > LONGEST_ARCHITECTURE:
        raise ValueError(
            "The configuration of a model must be JSON of at most "
            f"{LONGEST_ARCHITECTURE} bytes. Received: {len(text)} bytes."
        )
    deflated = _deflate(text)
    parts = [varint(len(text)), varint(len(deflated)), deflated]
    parts.append(varint(len(weights)))
    parts += [_entry(*weight) for weight in weights]
    parts += [coded.payload for _, _, coded in weights]
    size = sum(
        math.prod(shape) * dtype_of(dtype).itemsize
        for shape, dtype, _ in weights
    )
    body = b"".join(parts)
    needed = -(-(size - FREE_BYTES) // LARGEST_EXPANSION) - HEADER_BYTES
    body += bytes(max(needed - len(body), 0))
    start = MAGIC + bytes([VERSION])
    return start + _checksum(start, body) + body


def read(data: bytes) -> tuple[str, list[Stored]]:
    """The architecture and the weights, not yet decoded.

    Raises:
        ValueError: for bytes that `write` did not make.
    """
    check_start(data)
    start, body = data[: len(MAGIC) + 1], data[HEADER_BYTES:]
    if data[len(start) : HEADER_BYTES] != _checksum(start, body):
        raise ValueError(
            "its checksum is wrong: bytes are missing or were changed"
        )
    reader = Reader(body)
    size, deflated = reader.varint(), reader.varint()
    if size > LONGEST_ARCHITECTURE:
        raise ValueError(
            f"its architecture is {size} bytes long; at most "
            f"{LONGEST_ARCHITECTURE} are allowed"
        )
    text = _inflate(reader.take(deflated), size)
    count = reader.varint()
    if count > MOST_WEIGHTS:
        raise ValueError(f"it has {count} weights, of {MOST_WEIGHTS} at most")
    entries = [_read_entry(reader) for _ in range(count)]
    limit = FREE_BYTES + LARGEST_EXPANSION * len(data)
    _check_size(entries, limit)
    weights = [
        Stored(shape, dtype, places, form, reader.take(size))
        for shape, dtype, places, form, size in entries
    ]
    if any(reader.take(reader.left)):
        raise ValueError("there are bytes after the last weight")
    return text, weights


def architecture_bytes(architecture: str) -> int:
    """Bytes of an architecture in a file."""
    return len(_deflate(architecture.encode("ascii")))


def check_start(data: bytes) -> None:
    """Whether a file starts as one of this format and version.

    Raises:
        ValueError: if it does not.
    """
    if not data.startswith(MAGIC):
        raise ValueError("it does not start as a file of `save_compressed`")
    if len(data) < HEADER_BYTES:
        raise ValueError(f"it ends after {len(data)} bytes")
    if data[len(MAGIC)] != VERSION:
        raise ValueError(
            f"it has version {data[len(MAGIC)]} of the format; this release "
            f"reads version {VERSION}"
        )


def read_bytes(path: str | os.PathLike) -> bytes:
    """The bytes of a file, if it starts as one of this format.

    Raises:
        OSError: if it can not be read.
        ValueError: if it is another file.
    """
    with open(path, "rb") as file:
        start = file.read(HEADER_BYTES)
        check_start(start)
        return start + file.read()


def _checksum(start, body):
    digest = hashlib.blake2b(start, digest_size=CHECKSUM_BYTES)
    digest.update(body)
    return digest.digest()


def _entry(shape, dtype, coded):
    code = bytes([DTYPES.index(dtype), 16 * coded.places + coded.form])
    sizes = [len(shape), *shape, len(coded.payload)]
    return code + b"".join(map(varint, sizes))


def _read_entry(reader):
    dtype, coding = reader.byte(), reader.byte()
    if dtype >= len(DTYPES):
        raise ValueError(f"a weight has the unknown type {dtype}")
    axes = reader.varint()
    if axes > MOST_AXES:
        raise ValueError(f"a weight has {axes} axes, of {MOST_AXES} at most")
    shape = tuple(reader.varint() for _ in range(axes))
    places, form = divmod(coding, 16)
    return shape, DTYPES[dtype], places, form, reader.varint()


def _check_size(entries, limit):
    total = 0
    for shape, dtype, *_ in entries:
        # Each axis too: a product with a zero among its sizes is small.
        if max(shape, default=0) > LARGEST:
            raise ValueError(f"a weight has shape {shape}")
        total += math.prod(shape) * dtype_of(dtype).itemsize
    if total > limit:
        raise ValueError(
            f"its weights would take {total} bytes; at most {limit} are "
            "allowed for a file of this size"
        )


def _deflate(text):
    # Raw: the file has a checksum of its own.
    compressor = zlib.compressobj(9, wbits=-15, memLevel=9, zdict=_words())
    return compressor.compress(text) + compressor.flush()


def _inflate(data, size):
    inflater = zlib.decompressobj(wbits=-15, zdict=_words())
    try:
        text = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"its architecture is damaged: {error}") from error
    if len(text) != size or not inflater.eof or inflater.unused_data:
        raise ValueError(
            f"its architecture is not the {size} bytes that it should be"
        )
    if not text.isascii():
        raise ValueError("its architecture is not ASCII text")
    return text.decode("ascii")


def _words():
    """What deflate may point back to: part of the format, never to change."""
    folder = resources.files("fritz_compress.storage")
    return folder.joinpath("architecture_words_1.txt").read_bytes()
