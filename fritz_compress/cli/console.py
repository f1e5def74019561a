"""What every command prints with, and how arguments are read."""

import contextlib
import pathlib
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table

console = rich.console.Console()


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`"480x640"` as `(480, 640)`: height, then width."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower())
    if match is None:
        raise ValueError(
            "A size is HEIGHTxWIDTH in pixels, such as 480x640. Received: "
            f"'{text}'."
        )
    return int(match[1]), int(match[2])


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable]) -> None:
    """Prints a title and a table, all columns but the first to the right."""
    # Not as the title of the table, which breaks it at the table's width.
    console.print(title, highlight=False, soft_wrap=True)
    grid = rich.table.Table(
        box=rich.box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for number, column in enumerate(columns):
        grid.add_column(
            column, justify="right" if number else "left", no_wrap=not number
        )
    for row in rows:
        grid.add_row(*map(str, row))
    console.print(grid)


@contextlib.contextmanager
def progress_bar() -> Iterator[rich.progress.Progress]:
    """A bar with count, time passed and time left, for loops and trainings."""
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.fields[detail]}"),
    )
    progress = rich.progress.Progress(*columns, console=console)
    progress.start()
    vain = False
    try:
        yield progress
    except Exception:
        vain = not any(task.completed for task in progress.tasks)
        raise
    finally:
        if vain:
            # Before anything was done, an error comes without a bar. (And
            # without the empty line that `progress.stop` prints.)
            progress.live.transient = True
            progress.live.stop()
        else:
            progress.stop()


def tracked(description: str, items: Sequence) -> Iterator:
    """Goes through `items` with a progress bar."""
    with progress_bar() as progress:
        task = progress.add_task(description, total=len(items), detail="")
        for item in items:
            yield item
            progress.advance(task)


@contextlib.contextmanager
def working(description: str) -> Iterator[None]:
    """A bar that moves while one long thing is done, with the time passed."""
    with progress_bar() as progress:
        task = progress.add_task(description, total=None, detail="")
        yield
        progress.update(task, total=1, completed=1)


def picture_files(path: pathlib.Path) -> list[pathlib.Path]:
    """The picture itself, or the pictures in a folder."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"No picture or folder at '{path}'.")
    from fritz_compress.training.photos import SUFFIXES

    files = [p for p in sorted(path.iterdir()) if p.suffix.lower() in SUFFIXES]
    if not files:
        raise ValueError(
            f"No picture in '{path}'. Expected files ending in "
            f"{', '.join(SUFFIXES)}."
        )
    return files


def read_arrays(
    path: pathlib.Path, names: Sequence[str]
) -> tuple[np.ndarray, ...]:
    """The arrays of these names in an .npz file.

    Raises:
        ValueError: if there is no such file, or one without them.
    """
    if not path.is_file():
        raise ValueError(f"No data at '{path}'.")
    *others, last = names
    arrays = f"arrays {', '.join(others)} and {last}"
    arrays = arrays if others else f"an array {last}"
    expected = f"Expected an .npz file with {arrays}"
    save = f"numpy.savez('data.npz', {', '.join(f'{n}={n}' for n in names)})"
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{expected}. Received '{path}', which is none. Write one with "
            f"{save}."
        )
    with np.load(path) as file:
        missing = [name for name in names if name not in file]
        if missing:
            raise ValueError(
                f"{expected}. Received '{path}' without {', '.join(missing)}, "
                f"with {', '.join(file) or 'none'}. Write it with {save}."
            )
        try:
            return tuple(file[name] for name in names)
        except (ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"Arrays of '{path}' must be of numbers, to be read. Received: "
                f"{error}."
            ) from error
