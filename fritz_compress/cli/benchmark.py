import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "benchmark"


def command(
    files: Annotated[
        list[pathlib.Path], typer.Argument(help=".tflite or .keras files.")
    ],
    size: options.Size = None,
    runs: Annotated[int, typer.Option(min=1)] = 15,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Latency of files side by side: median of interleaved runs, ratios."""
    from fritz_compress.cli import console
    from fritz_compress.convert import latency
    from fritz_compress.files import size_in_bytes

    with console.working("timing, all files in turn"):
        times = latency(
            files,
            picture_size=console.parse_size(size),
            threads=threads,
            runs=runs,
        )
    timed = [t.milliseconds for t in times.values() if t.milliseconds]
    console.table(
        f"One picture, median of {runs} interleaved runs, "
        f"{threads} thread{'s' if threads > 1 else ''}",
        ("file", "bytes", "ms", "ratio", "note"),
        [
            (
                path.name,
                f"{size_in_bytes(path):,}",
                *_numbers(timing.milliseconds, max(timed, default=0)),
                timing.note,
            )
            for path, timing in times.items()
        ],
    )
    console.console.print("ratio: times as fast as the slowest file")


def _numbers(milliseconds, slowest):
    if milliseconds is None:
        return "", ""
    return f"{milliseconds:.1f}", f"{slowest / milliseconds:.2f}"
