"""Tensors of PyTorch's weight files, read without PyTorch.

A file of `torch.save(model.state_dict())` is a pickle, which may run any code
when it is loaded as such. Here only ordered dictionaries and tensors are
admitted; anything else in the file is an error. The layout is described in
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py.
"""

import collections
import dataclasses
import math
import os
import pathlib
import pickle
import zipfile
from typing import Any, BinaryIO

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C  # What files of before 2020 start with.
_PROTOCOL = 1001
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_MALFORMED = (
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    UnicodeDecodeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


@dataclasses.dataclass(frozen=True)
class _Storage:
    """Numbers in a row that tensors look at: where to find them."""

    key: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """Its numbers, copied out of those of its storage."""
        sizes = (self.offset, *self.shape, *self.strides)
        if len(self.shape) != len(self.strides) or any(
            not isinstance(n, int) or n < 0 for n in sizes
        ):
            raise ValueError(f"a tensor of sizes {sizes}")
        if 0 in self.shape:
            return np.zeros(self.shape, numbers.dtype)
        steps = ((n - 1) * s for n, s in zip(self.shape, self.strides))
        if self.offset + sum(steps) >= len(numbers):
            raise ValueError("a tensor that reaches beyond its storage")
        # Every element is one of the storage, but may be named many times.
        if math.prod(self.shape) > len(numbers):
            raise ValueError("a tensor larger than its storage")
        return np.lib.stride_tricks.as_strided(
            numbers[self.offset :],
            self.shape,
            [s * numbers.itemsize for s in self.strides],
        ).copy()


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a `.pth` or `.pt` file that holds a state dict.

    Args:
        path: What `torch.save(model.state_dict(), path)` wrote, in the format
            of today (a zip archive) or that of before 2020.

    Returns: arrays by name, in the order of the file.

    Raises:
        ValueError: if there is no such file, if it is damaged, or if it holds
            anything but tensors. Nothing in it is run.

    Example:

    >>> read_state_dict("efficientnet-lite0.pth")["_conv_stem.weight"].shape
    (32, 3, 3, 3)
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"No weight file at '{path}'.")
    read = _read_zip if zipfile.is_zipfile(path) else _read_legacy
    try:
        with open(path, "rb") as file:
            tensors, numbers = read(file)
        return {
            name: tensor.array(numbers[tensor.storage.key])
            for name, tensor in _checked(tensors)
        }
    except (ValueError, *_MALFORMED) as error:
        raise ValueError(
            f"'{path}' is not a file of tensors by name, as "
            f"`torch.save(model.state_dict(), path)` writes it: {error}."
        ) from error


def _checked(tensors):
    """Pairs of a name and a tensor."""
    if not isinstance(tensors, dict):
        raise ValueError(f"it holds a {type(tensors).__name__}")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            kind = type(tensor).__name__
            raise ValueError(f"it holds a {kind} as {name!r}")
        yield name, tensor


def _read_zip(file: BinaryIO):
    with zipfile.ZipFile(file) as archive:
        (content,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
        with archive.open(content) as pickled:
            unpickler = _TensorUnpickler(pickled)
            tensors = unpickler.load()
        folder = content.removesuffix("data.pkl") + "data/"
        numbers = {}
        for storage in unpickler.storages.values():
            raw = archive.read(folder + storage.key)
            numbers[storage.key] = np.frombuffer(raw, storage.dtype)
    return tensors, numbers


def _read_legacy(file: BinaryIO):
    """Four pickles (magic, protocol, machine, content), keys, raw numbers."""
    header = [_TensorUnpickler(file).load() for _ in range(3)]
    if header[:2] != [_MAGIC, _PROTOCOL]:
        raise ValueError("it does not start like one")
    unpickler = _TensorUnpickler(file)
    tensors = unpickler.load()
    numbers = {}
    for key in _TensorUnpickler(file).load():
        storage = unpickler.storages[key]
        count = int.from_bytes(file.read(8), "little")
        size = storage.count * storage.dtype.itemsize
        raw = file.read(size)
        if count != storage.count or len(raw) != size:
            raise ValueError("a storage ends too early")
        numbers[key] = np.frombuffer(raw, storage.dtype)
    return tensors, numbers


class _TensorUnpickler(pickle.Unpickler):
    """Admits ordered dictionaries and tensors; runs nothing of the file."""

    def __init__(self, file):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise ValueError(f"it wants '{module}.{name}', which is no tensor")

    def persistent_load(self, identifier):
        kind, dtype, key, _, count, *_ = identifier
        if (
            kind != "storage"
            or dtype not in _DTYPES.values()
            or not isinstance(count, int)
            or count < 0
        ):
            raise ValueError(f"it refers to {identifier!r}")
        storage = _Storage(key, np.dtype(dtype), count)
        return self.storages.setdefault(key, storage)


def _rebuild_tensor(storage, offset, shape, strides, *_):
    """`requires_grad` and hooks, which follow, do not matter here."""
    return _Tensor(storage, offset, tuple(shape), tuple(strides))
