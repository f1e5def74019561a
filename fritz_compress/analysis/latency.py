"""How long a converted file takes, with other threads and kernels."""

import dataclasses
import os
from collections.abc import Sequence

from fritz_compress import convert


@dataclasses.dataclass(frozen=True)
class LatencyRow:
    """How long one sample takes with one setting.

    Attributes:
        threads: Threads that compute.
        xnnpack: Whether XNNPACK computes, or TFLite's own kernels.
        milliseconds: Median over the runs.
        runs: How many runs there were.
    """

    threads: int
    xnnpack: bool
    milliseconds: float
    runs: int


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """How long a file takes. `str(table)` is a table.

    Attributes:
        file: Name of the file.
        rows: One per setting.
    """

    file: str
    rows: tuple[LatencyRow, ...]

    def __str__(self) -> str:
        lines = [f"{self.file}: one sample", "threads  XNNPACK  milliseconds"]
        lines += [
            f"{row.threads:<7}  {'yes' if row.xnnpack else 'no':<7}  "
            f"{row.milliseconds:>12.2f}"
            for row in self.rows
        ]
        return "\n".join(lines)


def latency(
    path: str | os.PathLike,
    threads: Sequence[int] = (1, 2),
    xnnpack: Sequence[bool] = (True, False),
    runs: int = 15,
    warmup: int = 2,
) -> LatencyTable:
    """Measures a converted file with several threads, with XNNPACK or not.

    Reach it as `profile.latency`. All settings take turns (A B A B ...), so
    that whatever else the machine does meets all of them: compare them by
    their ratio.

    Args:
        path: A `.tflite` file with one input and one output.
        threads: Numbers of threads to try.
        xnnpack: With XNNPACK, LiteRT's default, without, or both.
        runs: Timed runs of each setting. Defaults to 15.
        warmup: Runs before, not timed. Defaults to 2.

    Raises:
        ValueError: for a missing or unreadable file, another kind of file, or
            a count below 1.

    Example:

    >>> print(profile.latency("student.tflite"))
    student.tflite: one sample
    threads  XNNPACK  milliseconds
    1        yes            119.31
    1        no             402.85
    2        yes             66.02
    2        no             214.40
    """
    measured = convert.latency_by_setting(path, threads, xnnpack, runs, warmup)
    return LatencyTable(
        os.path.basename(path),
        tuple(
            LatencyRow(count, fast, milliseconds, runs)
            for (count, fast), milliseconds in measured.items()
        ),
    )
