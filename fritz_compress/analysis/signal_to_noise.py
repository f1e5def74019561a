"""How much noise each number of bits adds to the weights."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fritz_compress.analysis.coded_layers import (
    checked_nbits,
    coded_model,
    encode_at,
)
from fritz_compress.checks import check_model


@dataclasses.dataclass(frozen=True)
class SignalToNoiseRow:
    """One weight with one number of bits.

    Attributes:
        weight: Names of layer and weight, such as `"conv_1/kernel"`.
        nbits: Bits of a code.
        sqnr: Signal to quantization noise in decibels; infinite without
            noise.
        bytes_before: What the weight takes as it is.
        bytes: What its codes take, scales and codebooks included.
    """

    weight: str
    nbits: int
    sqnr: float
    bytes_before: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class SignalToNoiseTable:
    """How noise falls with bits, weight by weight. Print it, or plot it.

    Attributes:
        model: Name of the model.
        rows: One per weight and number of bits, in the order of the model,
            bits rising.
        bytes_before: What all weights of the model take as they are.
        bytes: What they take with each number of bits.
        skipped: Weights without rows, each with the reason.
    """

    model: str
    rows: tuple[SignalToNoiseRow, ...]
    bytes_before: int
    bytes: dict[int, int]
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights, in the order of the rows."""
        return tuple(dict.fromkeys(row.weight for row in self.rows))

    @property
    def nbits(self) -> tuple[int, ...]:
        """The numbers of bits, rising."""
        return tuple(self.bytes)

    def of(self, weight: str) -> tuple[SignalToNoiseRow, ...]:
        """The rows of one weight, bits rising.

        Raises:
            ValueError: if it has none.
        """
        rows = tuple(row for row in self.rows if row.weight == weight)
        if not rows:
            raise ValueError(
                f"Weight '{weight}' has no rows. Expected one of: "
                f"{', '.join(self.weights)}."
            )
        return rows

    def plot(self, axes: Any = None) -> Any:
        """Draws a curve per weight; see `plots.signal_to_noise`."""
        from fritz_compress.analysis import plots

        return plots.signal_to_noise(self, axes)

    def __str__(self) -> str:
        lines = [("SQNR in dB", "bytes", *map(str, self.nbits))]
        for weight in self.weights:
            rows = {row.nbits: row for row in self.of(weight)}
            before = next(iter(rows.values())).bytes_before
            cells = (
                f"{rows[n].sqnr:.1f}" if n in rows else "" for n in self.nbits
            )
            lines.append((weight, f"{before:,}", *cells))
        sizes = (f"{size:,}" for size in self.bytes.values())
        lines.append(("bytes of all", f"{self.bytes_before:,}", *sizes))
        widths = [max(map(len, column)) for column in zip(*lines)]
        table = [
            "  ".join(
                [line[0].ljust(widths[0])]
                + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]
            ).rstrip()
            for line in lines
        ]
        head = f"Weights of '{self.model}' by bits of a code"
        others = f"{len(self.skipped)} other weights stay as they are"
        return "\n".join([head, *table, others])


def signal_to_noise(
    model: keras.Model,
    nbits: int | Sequence[int] = (2, 3, 4, 5, 6, 7, 8),
    config: Any = None,
    *,
    importance: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> SignalToNoiseTable:
    """Measures how much noise each number of bits adds to each weight.

    Signal to quantization noise, `10 log10(sum(w^2) / sum((w - q)^2))`: a
    bit more is worth about 6 decibels. It needs no data, and does not say
    what the noise does to the model; `suggest_bits` measures that.

    Args:
        model: Any built model. It is not changed.
        nbits: Numbers of bits, 1 to 16.
        config: All else, as `quantize_weights` takes it: mode, granularity,
            what is left as it is. Its `nbits` do not count.
        importance, seed: As in `quantize_weights`.

    Returns: a table with one row per weight and number of bits. A weight has
    no row where codes would take no fewer bytes than its numbers.

    Raises:
        TypeError, ValueError: as `quantize_weights`; also for a model of
            which nothing can be quantized.

    Reference: Krishnamoorthi, "Quantizing deep convolutional networks for
    efficient inference", https://arxiv.org/abs/1806.08342, section 3, for
    what granularity is worth.

    Example:

    >>> print(signal_to_noise(model, config={"granularity": "per_tensor"}))
    >>> signal_to_noise(model, config={"mode": "kmeans"}).plot()
    """
    check_model(model)
    reports = encode_at(model, config, checked_nbits(nbits), importance, seed)
    coded = coded_model(model, reports)
    found: dict[str, list[SignalToNoiseRow]] = {}
    for number, report in reports.items():
        for row in report.weights:
            of_weight = found.setdefault(row.name, [])
            if row.codes is not None:
                numbers = (row.sqnr, row.bytes_before, row.bytes)
                of_weight.append(SignalToNoiseRow(row.name, number, *numbers))
    return SignalToNoiseTable(
        model=model.name,
        rows=tuple(row for of_weight in found.values() for row in of_weight),
        bytes_before=coded.all_bytes_before,
        bytes={number: report.bytes for number, report in reports.items()},
        skipped=coded.skipped,
    )
