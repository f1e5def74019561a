"""What each number of bits costs in each layer, and what is suggested."""

import dataclasses

from fritz_compress.analysis.bits_search import Bits
from fritz_compress.analysis.metric_loss import loss_limit, metric_loss
from fritz_compress.quantization.config import WeightConfig
from fritz_compress.surgery.config_by_layer import ConfigByLayer


@dataclasses.dataclass(frozen=True)
class BitsRow:
    """One evaluation: one layer alone with a number of bits.

    Attributes:
        layer: Name of the layer.
        nbits: Bits of a code.
        value: The metric of the model.
        sqnr: Signal to quantization noise of the layer in decibels.
        bytes_before: What the layer's weights take as they are.
        bytes: What they take with these bits.
    """

    layer: str
    nbits: int
    value: float
    sqnr: float
    bytes_before: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class UniformBits:
    """One evaluation: all layers with the same number of bits.

    Attributes:
        nbits: Bits of a code.
        value: The metric of the model.
        bytes: What all weights of the model take.
    """

    nbits: int
    value: float
    bytes: int


@dataclasses.dataclass(frozen=True)
class SuggestedBits:
    """Bits for every layer, and all that was measured. Print it.

    Attributes:
        model: Name of the model.
        metric: Name of the metric.
        mode: `"max"` if a larger metric is better, else `"min"`.
        max_loss: The loss that was allowed.
        baseline: The metric of the model as it is.
        value: The metric of the model with the suggested bits.
        bits: The suggestion by the name of the layer; `None` for one that is
            left as it is.
        config: The suggestion as `quantize_weights` takes it.
        bytes_before: What all weights of the model take as they are.
        bytes: What they take with the suggested bits.
        rows: Each layer alone with each number of bits.
        uniform: All layers with each number of bits.
        skipped: Weights that no number of bits changes, each with the reason.
        evaluations: How many combinations were measured.
    """

    model: str
    metric: str
    mode: str
    max_loss: float
    baseline: float
    value: float
    bits: Bits
    config: ConfigByLayer[WeightConfig]
    bytes_before: int
    bytes: int
    rows: tuple[BitsRow, ...]
    uniform: tuple[UniformBits, ...]
    skipped: dict[str, str]
    evaluations: int

    @property
    def loss(self) -> float:
        """By how much the metric is worse with the suggested bits."""
        return metric_loss(self.value, self.baseline, self.mode)

    @property
    def best_uniform(self) -> UniformBits | None:
        """The fewest bytes with the same bits for all within the loss."""
        limit = loss_limit(self.max_loss, self.baseline)
        within = [
            row
            for row in self.uniform
            if metric_loss(row.value, self.baseline, self.mode) <= limit
        ]
        return min(within, key=lambda row: row.bytes, default=None)

    def __str__(self) -> str:
        ratio = self.bytes_before / max(self.bytes, 1)
        uniform = self.best_uniform
        alike = "no number of bits for all layers is within the loss"
        if uniform is not None:
            alike = f"{uniform.nbits} bits for all: {uniform.bytes:,} bytes"
        return "\n".join(
            [
                f"'{self.model}' with the bits below: {self.metric} "
                f"{self.baseline:.4g} -> {self.value:.4g} "
                f"(max_loss={self.max_loss:g}, {self.evaluations} evaluations)",
                f"{self.bytes_before:,} -> {self.bytes:,} bytes, {ratio:.2f} "
                f"times less; {alike}",
                *self._table(),
                f"{len(self.skipped)} other weights stay as they are",
            ]
        )

    def _table(self):
        numbers = [row.nbits for row in self.uniform]
        lines = [("layer", "bits", "bytes", "SQNR dB", *map(str, numbers))]
        for layer, bits in self.bits.items():
            rows = {row.nbits: row for row in self.rows if row.layer == layer}
            cells = [
                f"{rows[n].value:.4g}" if n in rows else "" for n in numbers
            ]
            before = next(iter(rows.values())).bytes_before
            chosen = ("float", f"{before:,}", "")
            if bits is not None:
                size = f"{before:,} -> {rows[bits].bytes:,}"
                chosen = (str(bits), size, f"{rows[bits].sqnr:.1f}")
            lines.append((layer, *chosen, *cells))
        values = [f"{row.value:.4g}" for row in self.uniform]
        lines.append(("all layers", "", "", "", *values))
        sizes = [f"{row.bytes:,}" for row in self.uniform]
        lines.append(("bytes of all", "", "", "", *sizes))
        widths = [max(map(len, column)) for column in zip(*lines)]
        for first, *others in lines:
            cells = [c.rjust(w) for c, w in zip(others, widths[1:])]
            yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()
