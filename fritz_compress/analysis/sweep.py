"""Evaluations on disk, so that a sweep goes on after a kill.

The only file of `analysis` that touches files: a sweep of hours must not
depend on the process that started it.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import IO

Metrics = dict[str, float]
# A layer, and how much of it is changed; `None` and 0.0 for the model as it is.
Key = tuple[str | None, float]
BASELINE: Key = (None, 0.0)


class Sweep:
    """Measurements by layer and amount, each on disk as soon as it is made.

    Attributes:
        measured: The metrics of each evaluation so far.
    """

    def __init__(
        self,
        measured: dict[Key, Metrics],
        file: IO[str] | None,
        amount: str = "fraction",
    ):
        self.measured = measured
        self._file = file
        self._amount = amount

    def add(self, key: Key, metrics: Metrics) -> None:
        """Takes a measurement, and writes its line through to the disk."""
        self.measured[key] = metrics
        if self._file is not None:
            layer, amount = key
            _write(
                self._file,
                {"layer": layer, self._amount: amount, "metrics": metrics},
            )


@contextlib.contextmanager
def opened(
    path: str | os.PathLike | None,
    settings: Mapping[str, str],
    kind: str = "sensitivity",
    amount: str = "fraction",
) -> Iterator[Sweep]:
    """A sweep that goes on where the file ends; with `None` one in memory.

    The file has one JSON object per line, the first with the settings. A last
    line that a kill tore is cut off.

    Args:
        path: The file; it is made if it is not there.
        settings: All that measurements depend on, each by name. A file with
            other settings is left alone.
        kind: What the sweep is called in the first line.
        amount: What the second part of a key is called in the others.

    Raises:
        ValueError: if the file is no sweep, is damaged, or one with other
            settings; if it is a folder, or its folder does not exist.
    """
    if path is None:
        yield Sweep({}, None)
        return
    path = pathlib.Path(path)
    if path.is_dir():
        raise ValueError(
            f"`resume_file` must be a file. Received: the folder '{path}'. "
            f"Pass a file in it, such as '{path / f'{kind}.jsonl'}'."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"The folder of `resume_file` '{path}' does not exist. Create "
            f"'{path.parent}' first."
        )
    head = {"sweep": kind, "settings": dict(settings)}
    lines, length = _whole_lines(path, head)
    measured = _read(path, lines, settings, amount)
    with open(path, "a", encoding="utf-8") as file:
        file.truncate(length)
        if not lines:
            _write(file, head)
        yield Sweep(measured, file, amount)


def _whole_lines(path, head):
    """The lines that end, and how many bytes they take."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    # However short a kill left it.
    begin = json.dumps({"sweep": head["sweep"]})[:-1].encode()
    if not begin.startswith(content[: len(begin)]):
        raise _not_a_sweep(path)
    return whole.splitlines(), len(whole)


def _read(path, lines, settings, amount):
    if not lines:
        return {}
    try:
        found = dict(json.loads(lines[0])["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise _not_a_sweep(path) from error
    other = [k for k in settings if found.get(k) != settings[k]]
    if other:
        raise ValueError(
            f"`resume_file` '{path}' holds a sweep with other "
            f"{' and '.join(other)}. Name another file, or remove this one to "
            "start again."
        )
    return dict(
        _measurement(path, number, line, amount)
        for number, line in enumerate(lines[1:], start=2)
    )


def _measurement(path, number, line, amount):
    """The key and the metrics of one line."""
    try:
        point = json.loads(line)
        layer, share = point["layer"], float(point[amount])
        metrics = {str(k): float(v) for k, v in point["metrics"].items()}
        if not isinstance(layer, str | None):
            raise TypeError(f"{layer} is no name of a layer")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"Line {number} of `resume_file` '{path}' is damaged. Received: "
            f"'{line[:60].decode(errors='replace')}'. Remove the line: what it "
            "held is measured again."
        ) from error
    return (layer, share), metrics


def _write(file, record):
    file.write(json.dumps(record) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _not_a_sweep(path):
    return ValueError(
        f"`resume_file` '{path}' exists and is not a sweep. Name another file."
    )
