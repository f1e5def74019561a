"""Weight files as PyTorch writes them, written without PyTorch.

The pickles name functions of `torch`, which must exist while they are made:
stand-ins are entered as modules for that time.
"""

import collections
import contextlib
import io
import pickle
import sys
import types
import zipfile

import numpy as np

KINDS = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


class Tensor:
    """Pickled as a view of the numbers in a storage, as torch does it."""

    def __init__(self, array, strides=None, shape=None, offset=0):
        self.storage = array
        self.shape = array.shape if shape is None else shape
        own = tuple(s // array.itemsize for s in array.strides)
        self.strides = own if strides is None else strides
        self.offset = offset

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        hooks = collections.OrderedDict()
        return rebuild, (
            Storage(self.storage),
            self.offset,
            self.shape,
            self.strides,
            False,
            hooks,
        )


class Storage:
    def __init__(self, array):
        self.array = array


@contextlib.contextmanager
def stand_ins():
    """Modules `torch` and `torch._utils` with the names that files use."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in KINDS.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*args):
        raise AssertionError("never called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def pickled(content):
    """The pickle, and the arrays it refers to by key."""
    arrays, file = {}, io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            key = str(id(value.array))
            arrays[key] = value.array
            kind = KINDS[str(value.array.dtype)]
            storage = getattr(sys.modules["torch"], kind)
            return ("storage", storage, key, "cpu", value.array.size, None)

    with stand_ins():
        Pickler(file, protocol=2).dump(content)
    return file.getvalue(), arrays


def legacy_file(content, magic=0x1950A86A20F9469CFC6C):
    """The format of before 2020."""
    content, arrays = pickled(content)
    parts = [pickle.dumps(x, 2) for x in (magic, 1001, {"little_endian": True})]
    parts += [content, pickle.dumps(sorted(arrays), 2)]
    for key in sorted(arrays):
        parts.append(arrays[key].size.to_bytes(8, "little"))
        parts.append(np.ravel(arrays[key], "K").tobytes())
    return b"".join(parts)


def zip_file(content):
    """The format of today."""
    content, arrays = pickled(content)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        for key, array in arrays.items():
            numbers = np.ravel(array, "K").tobytes()
            archive.writestr(f"archive/data/{key}", numbers)
    return file.getvalue()
