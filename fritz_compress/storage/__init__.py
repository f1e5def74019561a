"""Compressed checkpoints: a model in one small file, weights bit by bit.

A file holds the configuration of a model and all its weights, each in the
smallest of several lossless codings: as they are, as planes of bytes, as codes
of a grid, a codebook or sub-vectors where the numbers are such
(`ops.recognition`), and without zeros where there are many. Whole numbers,
those of bytes, codes and positions, are entropy coded (`ops.entropy`, which
describes a *stream*). What `quantize_weights`, pruning or any other tool left
in the weights is found again by itself; kernels of signs, as
`convert_to_binary` leaves them, take a bit per number.

The format, version 1. Numbers are unsigned and *varints* unless their bytes
are given: seven bits per byte, the lowest first, with 128 added to all bytes
but the last. Several bytes go from the lowest to the highest.

The file:

    3 bytes   "FCZ"
    1 byte    the version, 1
    8 bytes   BLAKE2b with a digest of 8 bytes, of all other bytes of the file
    varint    A, bytes of the architecture as text, 4,194,304 at most
    varint    D, its bytes in the file
    D bytes   the text, by raw deflate (RFC 1951) with a preset dictionary: the
              file `architecture_words_1.txt` of this folder. It is ASCII JSON,
              the object that `keras.saving.deserialize_keras_object` reads.
    varint    W, weights in the order of `model.weights`, 65,536 at most
    then for each weight
        1 byte    type: its place among float32, float16, bfloat16, float64,
                  bool, int8, int16, int32, int64, uint8, uint16, uint32,
                  uint64, float8_e4m3fn, float8_e5m2, from 0
        1 byte    16 * places + form
        varint    number of its axes, 16 at most
        varints   their sizes
        varint    bytes of its payload
    then the payloads, one after the other
    then zeros: the weights in memory may not exceed 67,108,864 bytes and 256
    times those of the file. Only files with hardly anything but zeros in their
    weights need such.

A payload is its places, then its numbers. *Coded* stands for a varint, the
number of bytes of a stream, and the stream.

Places tell which numbers are stored; all others are zeros.

    0  All, in C order. No bytes.
    1  Gaps: varint, how many are stored; coded, the zeros before each, from
       the one before, in C order.
    2  The same, with the weight as a matrix of as many columns as its last
       axis is long, column by column.
    3  Rows of that matrix: coded, how many each stores; coded, for each number
       the columns left out before it, from the one before in its row.

Forms tell how these numbers, in the order of their places, are stored.

    0  As they are, the lowest byte first.
    1  Planes: for each byte of a number, the lowest first, coded: that byte of
       all numbers.
    2  Grids: varint, bits of a code; one varint per axis, the groups along it
       (see `ops.codes`); 1 byte, Z; scales, one for each group, as float32 in
       planes; offsets, in planes if Z is 0. If Z is 1 coded, the code `p` of
       zero, as `2 * p` or `-2 * p - 1`, whichever is not negative; the offset
       is `-p * scale`, computed in float64. Then coded, the codes.
    3  Codebooks: varint, bits of a code; varints, the groups; varint, entries
       of one codebook; all entries, those of the first group first, as float32
       in planes; coded, the codes.
    4  Sub-vectors, places 0 only: varint, bits of a code; varints, the groups
       of the codes; varint, the axis; varint, numbers of a sub-vector; varint,
       entries of one codebook; all their numbers, as float32 in planes; coded,
       the codes.

Codes give float32 numbers, which are then rounded to the type of the weight.
"""

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress.checks import check_built, check_model
from fritz_compress.files import check_suffix, whole_file
from fritz_compress.storage import architecture, container, encodings
from fritz_compress.storage.report import CompressionReport, WeightReport

__all__ = [
    "CompressionReport",
    "WeightReport",
    "load_compressed",
    "save_compressed",
]

SUFFIX = ".fcz"


def save_compressed(
    model: keras.Model,
    path: str | os.PathLike,
    custom_objects: Mapping[str, Any] | None = None,
) -> CompressionReport:
    """Writes a model to one file, as small as its weights allow.

    Every weight comes back bit by bit. The file appears complete or not at
    all, and the same model gives the same bytes.

    Not stored are the optimizer, the loss and the metrics, nor the states of
    seed generators: training goes on from the weights alone, after
    `compile`. Layers that keep more than weights are refused: vocabularies,
    and layers with a `save_own_variables` or `save_assets` of their own.

    Args:
        model: Any model that is built. To make it small, prune and quantize
            its weights first; nothing is rounded here.
        path: File to write, ending in `.fcz`.
        custom_objects: Classes and functions of your own in the model, by
            name, as `load_compressed` will need them. Keras' own and those of
            this package are known.

    Returns: how each weight is stored, and sizes; print it for a table.

    Raises:
        TypeError: for what is no model.
        ValueError: for a model that is not built or could not be loaded
            again, or another file name.

    Reference: Han, Mao and Dally, "Deep Compression",
    https://arxiv.org/abs/1510.00149, with an asymmetric numeral system in
    place of Huffman codes.

    Example:

    >>> print(fc.save_compressed(model, "lenet.fcz"))
    """
    check_model(model)
    check_built(model)
    check_suffix(path, (SUFFIX,))
    text = architecture.to_text(model)
    arrays = [_array(weight) for weight in model.weights]
    _check_loadable(model, text, arrays, custom_objects)
    coded = [encodings.encode(array) for array in arrays]
    data = container.write(
        text,
        [(a.shape, str(a.dtype), c) for a, c in zip(arrays, coded)],
    )
    with whole_file(path) as unfinished:
        unfinished.write_bytes(data)
    return CompressionReport(
        tuple(map(_weight_report, model.weights, arrays, coded)),
        container.architecture_bytes(text),
        len(data),
    )


def load_compressed(
    path: str | os.PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> keras.Model:
    """The model in a file of `save_compressed`, on any backend.

    Files of strangers may be loaded: a damaged or made-up one is an error
    before it takes time or memory. What a file may ask for is limited by its
    size, and the weights that its architecture would have are compared with
    those stored before any is made. A valid architecture takes as long to
    build as Keras takes.

    Args:
        path: The file.
        custom_objects: Classes and functions of your own, by name. Those that
            are only registered with Keras are not used.
        safe_mode: Whether to refuse Python code in the file, that of `Lambda`
            layers. Pass `False` only if you trust who wrote it.

    Returns: the model, not compiled.

    Raises:
        OSError: if the file can not be read.
        ValueError: for any file but one that `save_compressed` wrote.
    """
    check_suffix(path, (SUFFIX,))
    try:
        data = container.read_bytes(path)
        return _loaded(data, custom_objects, safe_mode)
    except ValueError as error:
        raise ValueError(f"'{path}' can not be loaded: {error}.") from error


def _loaded(data, custom_objects, safe_mode):
    text, weights = container.read(data)
    architecture.checked(text, custom_objects, safe_mode)
    built = architecture.weight_shapes(text, custom_objects, safe_mode)
    stored = [(weight.shape, weight.dtype) for weight in weights]
    _check_same(built, stored)
    arrays = [_decoded(index, weight) for index, weight in enumerate(weights)]
    model = architecture.build(text, custom_objects, safe_mode)
    architecture.set_weights(model, arrays)
    return model


def _decoded(index, weight):
    try:
        return encodings.decode(
            weight.places,
            weight.form,
            weight.payload,
            weight.shape,
            weight.dtype,
        )
    except ValueError as error:
        raise ValueError(f"weight {index} is damaged: {error}") from error


def _check_same(built, stored):
    if len(built) != len(stored):
        raise ValueError(
            f"its architecture has {len(built)} weights, but "
            f"{len(stored)} are stored"
        )
    for index, pair in enumerate(zip(built, stored)):
        if pair[0] != pair[1]:
            (shape, dtype), (other, other_dtype) = pair
            raise ValueError(
                f"weight {index} of its architecture has shape {shape} and "
                f"dtype {dtype}, but {other} and {other_dtype} is stored"
            )


def _check_loadable(model, text, arrays, custom_objects):
    """Whether the configuration gives back a model with these weights."""
    for array, weight in zip(arrays, model.weights):
        if str(array.dtype) not in encodings.DTYPES:
            raise ValueError(
                f"Weight '{weight.path}' must be of numbers. Received: dtype "
                f"{array.dtype}."
            )
    try:
        architecture.checked(text, custom_objects, safe_mode=False)
        built = architecture.weight_shapes(text, custom_objects, False)
        _check_same(built, [(a.shape, str(a.dtype)) for a in arrays])
    except ValueError as error:
        raise ValueError(
            f"Model '{model.name}' could not be loaded again: {error}."
        ) from error


def _array(weight):
    return keras.ops.convert_to_numpy(weight)


def _weight_report(weight, array, coded):
    return WeightReport(
        path=weight.path,
        shape=array.shape,
        dtype=str(array.dtype),
        encoding=coded.name,
        nbits=coded.nbits,
        size=array.size,
        nonzero=int(np.count_nonzero(array)),
        bytes=len(coded.payload),
        entropy_bytes=-(-int(np.ceil(coded.entropy)) // 8),
    )
