import pytest

from fritz_compress.files import (
    check_suffix,
    size_in_bytes,
    whole_file,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_body_ends(tmp_path):
    path = tmp_path / "a.bin"
    with whole_file(path) as unfinished:
        unfinished.write_bytes(b"new")
        assert unfinished.name == "a.bin"
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"):
        with whole_file(path) as unfinished:
            unfinished.write_bytes(b"new")
            raise RuntimeError("half way")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_folder_replaces_a_folder(tmp_path):
    path = tmp_path / "a.mlpackage"
    path.mkdir()
    (path / "old").write_bytes(b"old")
    with whole_file(path) as unfinished:
        unfinished.mkdir()
        (unfinished / "new").write_bytes(b"new")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["a.mlpackage"]


def test_a_file_does_not_replace_a_folder(tmp_path):
    path = tmp_path / "a.tflite"
    path.mkdir()
    (path / "mine").write_bytes(b"mine")
    with pytest.raises(ValueError, match="is a folder; a file shall not"):
        with whole_file(path) as unfinished:
            unfinished.write_bytes(b"new")
    assert names(path) == ["mine"]
    assert names(tmp_path) == ["a.tflite"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="The folder of .* does not exist"):
        with whole_file(tmp_path / "missing" / "a.bin"):
            pass


def test_suffixes():
    assert check_suffix("A.TFLITE", [".tflite"]).name == "A.TFLITE"
    with pytest.raises(
        ValueError, match="ends with .mlmodel or .mlpackage. Received: 'a.h5'"
    ):
        check_suffix("a.h5", [".mlmodel", ".mlpackage"])


def test_size_of_files_and_folders(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"45")
    assert size_in_bytes(tmp_path / "a") == 3
    assert size_in_bytes(tmp_path) == 5
