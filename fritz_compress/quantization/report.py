"""What quantization did, weight by weight."""

import dataclasses

from fritz_compress.ops.codes import Codes


@dataclasses.dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """One weight before and after.

    Attributes:
        name: Names of layer and weight, such as `"conv_1/kernel"`.
        kind: Class of the layer.
        shape: Shape of the weight.
        bytes_before: What it took as it was.
        bytes: What its codes take, scales and codebooks included.
        nbits: Bits of one code, or of one number of a weight that was left.
        mode, granularity: As in `WeightConfig`; empty for one that was left.
        sqnr: Signal to quantization noise in decibels; infinite without
            noise.
        max_error: Largest difference to the number before.
        note: Why it was left, or what is not as asked for; else empty.
        codes: What was found; `None` for a weight that was left.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    bytes_before: int
    bytes: int
    nbits: int
    mode: str = ""
    granularity: str = ""
    sqnr: float = float("inf")
    max_error: float = 0.0
    note: str = ""
    codes: Codes | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, eq=False)
class QuantizationReport:
    """What quantization did: print it for a table.

    Attributes:
        weights: One row for every weight of the model.
    """

    weights: tuple[QuantizedWeight, ...]

    @property
    def bytes_before(self) -> int:
        """Bytes of all weights as they were."""
        return sum(row.bytes_before for row in self.weights)

    @property
    def bytes(self) -> int:
        """Bytes of all weights, those that were left included."""
        return sum(row.bytes for row in self.weights)

    @property
    def skipped(self) -> dict[str, str]:
        """The weights that were left, each with the reason."""
        return {row.name: row.note for row in self.weights if row.codes is None}

    def __str__(self):
        head = ("weight", "kind", "bits", "mode", "bytes", "SQNR dB", "")
        total = f"{self.bytes_before:,} -> {self.bytes:,}"
        ratio = self.bytes_before / max(self.bytes, 1)
        rows = [head, *map(_cells, self.weights)]
        rows.append(("total", "", "", "", total, "", f"{ratio:.2f} times less"))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip()
            for row in rows
        )


def _cells(row):
    if row.codes is None:
        size, noise, mode = f"{row.bytes:,}", "", "as it was"
    else:
        size = f"{row.bytes_before:,} -> {row.bytes:,}"
        noise, mode = f"{row.sqnr:.1f}", f"{row.mode} {row.granularity}"
    return row.name, row.kind, str(row.nbits), mode, size, noise, row.note
