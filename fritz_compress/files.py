"""Files and folders that are written whole or not at all."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence


def check_suffix(
    path: str | os.PathLike, suffixes: Sequence[str]
) -> pathlib.Path:
    """`path` as a `pathlib.Path`, if its name ends with one of `suffixes`.

    Raises:
        ValueError: if it does not.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(
            f"Expected a file name that ends with {' or '.join(suffixes)}. "
            f"Received: '{path}'."
        )
    return path


def check_replaceable(path: pathlib.Path, folder: bool) -> None:
    """Whether a file, or a folder, may be written to `path`.

    Raises:
        ValueError: if one would replace the other.
    """
    if path.exists() and path.is_dir() != folder:
        raise ValueError(
            f"'{path}' exists and is a {_kind(not folder)}; a {_kind(folder)} "
            "shall not replace it. Choose another name, or remove it."
        )


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Where to write what shall appear at `path` only once it is complete.

    Yields a path of the same name in a temporary folder beside the target.
    What the body wrote there, a file or a folder, takes the place of the
    target when the body ends; if the body raises, it is removed and the
    target is as it was.

    Raises:
        ValueError: if the folder of `path` does not exist, or a file would
            replace a folder or the reverse.

    Example:

    >>> with whole_file("weights.bin") as unfinished:
    ...     unfinished.write_bytes(data)
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise ValueError(
            f"The folder of '{path}' does not exist. Create "
            f"'{path.parent}' first."
        )
    with tempfile.TemporaryDirectory(
        prefix=f".{path.stem}-", dir=path.parent
    ) as folder:
        unfinished = pathlib.Path(folder) / path.name
        yield unfinished
        check_replaceable(path, unfinished.is_dir())
        if path.is_dir():
            # A folder cannot be renamed over one that holds files.
            path.rename(pathlib.Path(folder) / "replaced")
        os.replace(unfinished, path)


def size_in_bytes(path: str | os.PathLike) -> int:
    """Size of a file, or of all files in a folder and below, in bytes."""
    path = pathlib.Path(path)
    if path.is_dir():
        return sum(
            file.stat().st_size for file in path.rglob("*") if file.is_file()
        )
    return path.stat().st_size


def _kind(folder):
    return "folder" if folder else "file"
