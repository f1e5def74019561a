"""What `binarize` did, layer by layer."""

import dataclasses
import math
from collections.abc import Sequence

import keras


@dataclasses.dataclass(frozen=True)
class BinarizedLayer:
    """One layer with a kernel, before and after.

    Attributes:
        name: Name of the layer.
        kind: Its class, after.
        parameters: Numbers in its kernel.
        kernel_bits, input_bits: Bits of one of these, and of one number that
            it reads; 32 for floats.
        bytes_before, bytes: Of the kernel, as it was and as it is deployed,
            its scales included.
        note: Why it was left, or what was put in front.
    """

    name: str
    kind: str
    parameters: int
    kernel_bits: int
    input_bits: int
    bytes_before: int
    bytes: int
    note: str = ""


@dataclasses.dataclass(frozen=True)
class BinarizationReport:
    """What `binarize` did: print it for a table.

    Attributes:
        layers: One row per layer with a kernel, in the order of the model.
    """

    layers: tuple[BinarizedLayer, ...]

    @property
    def binarized(self) -> tuple[BinarizedLayer, ...]:
        """The rows of layers that were binarized."""
        return tuple(
            x for x in self.layers if x.kernel_bits < 32 or x.input_bits < 32
        )

    @property
    def skipped(self) -> dict[str, str]:
        """Layers that were left, by name, with the reason."""
        done = self.binarized
        return {x.name: x.note for x in self.layers if x not in done}

    @property
    def bytes_before(self) -> int:
        """Bytes of all kernels as they were."""
        return sum(layer.bytes_before for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Bytes of all kernels as they are deployed."""
        return sum(layer.bytes for layer in self.layers)

    def __str__(self) -> str:
        head = ("layer", "kind", "kernel", "inputs", "parameters", "bytes", "")
        rows = [head, *map(_cells, self.layers)]
        ratio = self.bytes_before / max(self.bytes, 1)
        rows.append(
            (
                *("all kernels", "", "", ""),
                f"{sum(layer.parameters for layer in self.layers):,}",
                f"{self.bytes_before:,} -> {self.bytes:,}",
                f"{ratio:.1f} times less",
            )
        )
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip()
            for row in rows
        )


def row(
    name: str,
    old: keras.Layer,
    replaced: Sequence[keras.Layer] | None,
    reason: str | None,
) -> BinarizedLayer:
    """The row of a layer.

    Args:
        name: Its name.
        old: The layer before.
        replaced: What took its place, the binary layer last; `None` if
            nothing did.
        reason: Why nothing did.
    """
    numbers = math.prod(old.kernel.shape)
    before = numbers * 4
    if replaced is None:
        kind = type(old).__name__
        return BinarizedLayer(
            name, kind, numbers, 32, 32, before, before, reason or ""
        )
    new = replaced[-1]
    bits = numbers * new.kernel_bits
    _, scale = new.kernel_levels()
    if scale is not None:
        bits += 32 * math.prod(scale.shape)
    return BinarizedLayer(
        name,
        type(new).__name__,
        numbers,
        new.kernel_bits,
        new.input_bits,
        before,
        -(-bits // 8),
        "a normalization in front" if len(replaced) > 1 else "",
    )


def _cells(layer):
    size = f"{layer.bytes_before:,}"
    if layer.bytes != layer.bytes_before:
        size += f" -> {layer.bytes:,}"
    return (
        layer.name,
        layer.kind,
        _bits(layer.kernel_bits),
        _bits(layer.input_bits),
        f"{layer.parameters:,}",
        size,
        layer.note,
    )


def _bits(number):
    return "float" if number == 32 else f"{number} bit{'s' * (number > 1)}"
