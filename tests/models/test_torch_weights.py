"""Files of PyTorch are read as arrays, and nothing else in them is run."""

import collections
import os
import pathlib
import pickle

import numpy as np
import pytest
from torch_files import KINDS, Tensor, legacy_file, zip_file

from fritz_compress.models.torch_weights import read_state_dict

FORMATS = {"legacy": legacy_file, "zip": zip_file}


def written(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_arrays_of_every_kind_come_back(write, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        name: (
            (rng.uniform(-100, 100, (3, 4)) > 0)
            if name == "bool"
            else rng.uniform(0, 100, (3, 4)).astype(name)
        )
        for name in KINDS
    }
    content = collections.OrderedDict(
        (name, Tensor(array)) for name, array in arrays.items()
    )
    content["scalar"] = Tensor(np.array(7))
    content["empty"] = Tensor(np.zeros((0, 3), "float32"))
    read = read_state_dict(written(tmp_path, write(content)))
    assert list(read) == [*arrays, "scalar", "empty"]
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    assert read["scalar"] == 7 and read["empty"].shape == (0, 3)


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_views_of_one_storage(write, tmp_path):
    numbers = np.arange(24, dtype="float32")
    content = {
        "transposed": Tensor(numbers, shape=(4, 6), strides=(1, 4)),
        "part": Tensor(numbers, shape=(2, 3), strides=(6, 1), offset=8),
    }
    read = read_state_dict(written(tmp_path, write(content)))
    np.testing.assert_array_equal(
        read["transposed"], numbers.reshape(6, 4).transpose()
    )
    np.testing.assert_array_equal(read["part"], numbers.reshape(4, 6)[1:3, 2:5])
    read["part"][:] = 0
    assert read["transposed"].any()


class Command:
    """What a pickle can do: run a command when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_code_in_a_file_is_refused_and_not_run(write, tmp_path):
    trace = tmp_path / "trace"
    content = {"kernel": Tensor(np.ones(3)), "x": Command(trace)}
    path = written(tmp_path, write(content))
    with pytest.raises(ValueError, match="system', which is no tensor"):
        read_state_dict(path)
    assert not trace.exists()


def view(shape, strides, offset=0):
    numbers = np.arange(24, dtype="float32")
    return {"x": Tensor(numbers, strides, shape, offset)}


@pytest.mark.parametrize(
    "content, message",
    [
        (view((4, 7), (7, 1)), "reaches beyond its storage"),
        (view((4, 6), (6, 1), 1), "reaches beyond its storage"),
        (view((25,), (0,)), "larger than its storage"),
        (view((4, 6), (-6, 1), 23), "a tensor of sizes"),
        (view((4, 6), (6,)), "a tensor of sizes"),
        (view((2.5,), (1,)), "a tensor of sizes"),
        ([1, 2], "it holds a list"),
        ({"epoch": 3}, "it holds a int as 'epoch'"),
        ({3: Tensor(np.ones(2))}, "it holds a _Tensor as 3"),
    ],
)
@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_other_content_is_an_error(write, content, message, tmp_path):
    path = written(tmp_path, write(content))
    with pytest.raises(ValueError, match=f"weights.pth.*{message}"):
        read_state_dict(path)


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_damaged_file_is_an_error(write, tmp_path):
    whole = write({"x": Tensor(np.arange(50.0))})
    for end in range(0, len(whole), 7):
        path = written(tmp_path, whole[:end])
        with pytest.raises(ValueError, match="is not a file of tensors"):
            read_state_dict(path)


def test_flipped_bytes_never_raise_anything_else(tmp_path):
    whole = legacy_file({"x": Tensor(np.arange(5.0)), "y": Tensor(np.ones(2))})
    rng, refused = np.random.default_rng(0), 0
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        try:
            read_state_dict(written(tmp_path, bytes(damaged)))
        except ValueError:
            refused += 1
    assert refused > 100


def test_another_file_is_an_error(tmp_path):
    content = legacy_file({"x": Tensor(np.ones(2))}, magic=5)
    with pytest.raises(ValueError, match="does not start like one"):
        read_state_dict(written(tmp_path, content))
    with pytest.raises(ValueError, match="is not a file of tensors"):
        read_state_dict(written(tmp_path, pickle.dumps({"x": 1})))
    with pytest.raises(ValueError, match="No weight file at 'nowhere.pth'"):
        read_state_dict(pathlib.Path("nowhere.pth"))
