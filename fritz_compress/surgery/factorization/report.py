"""What a factorization did, layer by layer."""

import dataclasses
from collections.abc import Iterable

from fritz_compress.ops.decomposition import Rank
from fritz_compress.surgery.factorization.choosing import shown


@dataclasses.dataclass(frozen=True)
class FactorizedLayer:
    """One layer with a kernel, before and after.

    Attributes:
        name: Name of the layer.
        kind: Its class.
        method: How its kernel was factorized; "" if it was left.
        rank: The rank, one number or two; empty if it was left.
        parameters_before, parameters_after: Numbers in its weights.
        macs_before, macs_after: Multiply-accumulates of one sample; `None`
            where a size is not known.
        kernel_error: Norm of what the kernel differs by over its own; `None`
            if it was left.
        output_error: Likewise of what it puts out on the samples, with the
            errors of the layers before, over the deviation from the mean;
            `None` without samples.
        note: Why it was left, or what is worth knowing.
    """

    name: str
    kind: str
    method: str
    rank: Rank
    parameters_before: int
    parameters_after: int
    macs_before: int | None
    macs_after: int | None
    kernel_error: float | None
    output_error: float | None
    note: str


@dataclasses.dataclass(frozen=True)
class FactorizationReport:
    """What `factorize` did: print it for a table.

    Attributes:
        layers: One row per layer with a kernel, in the order of the model.
        parameters_before, parameters_after: Numbers in all weights of the
            model.
        macs_before, macs_after: Multiply-accumulates of one sample, `None`
            if a size is not known.
    """

    layers: tuple[FactorizedLayer, ...]
    parameters_before: int
    parameters_after: int
    macs_before: int | None
    macs_after: int | None

    @property
    def factorized(self) -> tuple[FactorizedLayer, ...]:
        """The rows of layers that were factorized."""
        return tuple(row for row in self.layers if row.method)

    @property
    def skipped(self) -> dict[str, str]:
        """Layers that were left, by name, with the reason."""
        return {row.name: row.note for row in self.layers if not row.method}

    def __str__(self):
        rows = [_HEAD, *map(_cells, self.layers), self._total()]
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip()
            for row in rows
        )

    def _total(self):
        parameters = (self.parameters_before, self.parameters_after)
        macs = (self.macs_before, self.macs_after)
        shares = [
            f"{after / before:.3f} of {noun}"
            for noun, (before, after) in (
                ("parameters", parameters),
                ("MACs", macs),
            )
            if before and after is not None
        ]
        return (
            *("total", "", "", ""),
            *(_arrow(*parameters), _arrow(*macs), "", ""),
            ", ".join(shares),
        )


_HEAD = (
    *("layer", "kind", "method", "rank", "parameters", "MACs"),
    *("kernel error", "output error", ""),
)


def _cells(row) -> Iterable[str]:
    return (
        row.name,
        row.kind,
        row.method,
        shown(row.rank) if row.rank else "",
        _arrow(row.parameters_before, row.parameters_after),
        _arrow(row.macs_before, row.macs_after),
        _number(row.kernel_error),
        _number(row.output_error),
        row.note,
    )


def _arrow(before, after):
    if before is None or after is None:
        return "?"
    return f"{before:,}" if before == after else f"{before:,} -> {after:,}"


def _number(value):
    return "" if value is None else f"{value:.4f}"
