"""How each layer of a packed model is computed, as a table."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np


class PackedRow(NamedTuple):
    """One call of a layer.

    Attributes:
        name, kind: Of the layer.
        how: "bits", "comparison" or "floats".
        nbytes: Of its weights, as they are held.
        note: Why floats.
    """

    name: str
    kind: str
    how: str
    nbytes: int
    note: str


def bytes_of(weight: keras.Variable) -> int:
    """Bytes of a weight as Keras holds it."""
    return math.prod(weight.shape) * np.dtype(weight.dtype).itemsize


def as_text(rows: Iterable[PackedRow]) -> str:
    """A line per call, and the sum of the bytes."""
    rows = list(rows)
    total = sum(row.nbytes for row in rows)
    cells = [
        ("layer", "kind", "computed from", "bytes", ""),
        *((*row[:3], f"{row.nbytes:,}", row.note) for row in rows),
        ("total", "", "", f"{total:,}", ""),
    ]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place == 3 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in cells
    )
