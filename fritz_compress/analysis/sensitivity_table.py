"""What a model loses when parts of it are zeroed, as a table."""

import csv
import dataclasses
import io
import itertools
from typing import Any

from fritz_compress.analysis.metric_loss import (
    check_max_loss,
    loss_limit,
    metric_loss,
)

_MODES = ("max", "min")


@dataclasses.dataclass(frozen=True)
class SensitivityRow:
    """One evaluation.

    Attributes:
        layer: Name of the layer; of tied layers that of the first.
        fraction: Fraction of its weights or filters that was asked for.
        reached: Fraction that was zeroed, a whole number of filters.
        value: The metric with these zeroed.
    """

    layer: str
    fraction: float
    reached: float
    value: float


@dataclasses.dataclass(frozen=True)
class SensitivityTable:
    """How a metric falls as more of one layer is zeroed. Print it, or plot it.

    Attributes:
        model: Name of the model.
        kind: What was zeroed, `"weights"` or `"filters"`.
        criterion: What ranked them.
        metric: Name of the metric.
        mode: `"max"` if a larger metric is better, else `"min"`.
        baseline: The metric with nothing zeroed.
        rows: One per layer and fraction, in the order of the model's layers,
            fractions rising.
        tied: For each layer of the rows the layers whose filters go with its
            own; empty for most.
        skipped: Layers without rows, each with the reason.
    """

    model: str
    kind: str
    criterion: str
    metric: str
    mode: str
    baseline: float
    rows: tuple[SensitivityRow, ...]
    tied: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self):
        if self.mode not in _MODES:
            raise ValueError(
                "`mode` must be 'max' or 'min', the better direction of the "
                f"metric. Received: mode={self.mode!r}."
            )

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order of the rows."""
        return tuple(dict.fromkeys(row.layer for row in self.rows))

    @property
    def fractions(self) -> tuple[float, ...]:
        """The fractions asked for, rising."""
        return tuple(sorted({row.fraction for row in self.rows}))

    def of(self, layer: str) -> tuple[SensitivityRow, ...]:
        """The rows of one layer, fractions rising.

        Raises:
            ValueError: if it has none.
        """
        rows = tuple(row for row in self.rows if row.layer == layer)
        if not rows:
            raise ValueError(
                f"Layer '{layer}' has no rows. Expected one of: "
                f"{', '.join(self.layers)}."
            )
        return rows

    def loss(self, row: SensitivityRow) -> float:
        """By how much the metric is worse than the baseline, in its unit.

        Negative where it is better; infinite where it is not a number.
        """
        return metric_loss(row.value, self.baseline, self.mode)

    def suggest(self, max_loss: float = 0.01) -> dict[str, float]:
        """How much of each layer may go, each alone, for an allowed loss.

        Nothing is interpolated: each fraction is one that was zeroed (the
        `reached` of a row, which whole filters make smaller than the fraction
        asked for), and it and all smaller ones stay within the loss. Layers
        pruned together lose more than each alone; train afterwards.

        Args:
            max_loss: Allowed loss of the metric, in its own unit: 0.01 is one
                point of an accuracy in `[0, 1]`.

        Returns: a fraction for each layer, 0.0 if none is allowed.

        Raises:
            TypeError: if `max_loss` is no number.
            ValueError: if it is negative or NaN.

        Example:

        >>> table.suggest(max_loss=0.02)
        {'conv_1': 0.1, 'conv_2': 0.5, 'conv_3': 0.7}
        """
        check_max_loss(max_loss)
        limit = loss_limit(max_loss, self.baseline)
        suggestion = {}
        for layer in self.layers:
            allowed = itertools.takewhile(
                lambda row: self.loss(row) <= limit, self.of(layer)
            )
            suggestion[layer] = max((r.reached for r in allowed), default=0.0)
        return suggestion

    def plot(self, axes: Any = None) -> Any:
        """Draws a curve per layer; see `plots.sensitivity`."""
        from fritz_compress.analysis import plots

        return plots.sensitivity(self, axes)

    def to_csv(self) -> str:
        """The rows as comma-separated text, all else repeated in each row.

        `skipped` is not in it.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEADER)
        for row in self.rows:
            writer.writerow(
                [getattr(self, name) for name in _HEADER[:6]]
                + [" ".join(self.tied.get(row.layer, ()))]
                + [getattr(row, name) for name in _HEADER[7:]]
            )
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str) -> "SensitivityTable":
        """The table of which `to_csv` made the text.

        Raises:
            ValueError: if the text has another header, no rows, or no number
                where there should be one.
        """
        header, *records = [*csv.reader(io.StringIO(text))] or [[]]
        lengths = {len(record) for record in records}
        if header != list(_HEADER) or lengths != {len(_HEADER)}:
            raise ValueError(
                "Expected the text of `SensitivityTable.to_csv`, with the "
                f"columns {', '.join(_HEADER)}, and at least one row. "
                f"Received: {text[:200]!r}."
            )
        rows, tied = [], {}
        for number, record in enumerate(records, start=2):
            *_, others, layer, fraction, reached, value = record
            try:
                baseline, *numbers = map(
                    float, (record[5], fraction, reached, value)
                )
            except ValueError as error:
                raise ValueError(
                    f"Line {number} of the text is damaged: {error}. Received: "
                    f"{','.join(record)}."
                ) from None
            rows.append(SensitivityRow(layer, *numbers))
            tied[layer] = tuple(others.split())
        return cls(*records[0][:5], baseline, rows=tuple(rows), tied=tied)

    def __str__(self) -> str:
        head = (
            f"'{self.model}' with a fraction of the {self.kind} of one layer "
            f"zeroed ({self.criterion})\n{self.metric}: {self.baseline:.4g} "
            "with none"
        )
        lines = [("layer", *(f"{f:g}" for f in self.fractions))]
        for layer in self.layers:
            cells = {row.fraction: f"{row.value:.4g}" for row in self.of(layer)}
            others = self.tied.get(layer)
            name = f"{layer} (with {', '.join(others)})" if others else layer
            lines.append((name, *(cells.get(f, "") for f in self.fractions)))
        widths = [max(map(len, column)) for column in zip(*lines)]
        table = [
            "  ".join(
                [line[0].ljust(widths[0])]
                + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]
            )
            for line in lines
        ]
        skipped = [f"skipped {name}: {why}" for name, why in self.skipped]
        return "\n".join([head, *table, *skipped])


_HEADER = (
    "model",
    "kind",
    "criterion",
    "metric",
    "mode",
    "baseline",
    "tied",
    "layer",
    "fraction",
    "reached",
    "value",
)
