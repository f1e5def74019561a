"""What a conversion wrote, layer by layer."""

import dataclasses
import pathlib

# The note of a layer without numbers of its own in the file.
FOLDED = "folded into another layer, or without effect"


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """How one layer is stored in a file.

    Attributes:
        name: Name of the Keras layer.
        kind: Its class, such as `"Conv2D"`.
        bits: Bits of one number of its largest weight.
        parameters: Numbers in all its weights.
        bytes: What they take in the file, scales and codebooks included.
        note: Why the layer was left at more bits than asked for, else empty.
    """

    name: str
    kind: str
    bits: float | int
    parameters: int
    bytes: int
    note: str = ""


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """What a conversion wrote and how well it agrees with Keras.

    Attributes:
        path: The file, or the folder of a `.mlpackage`.
        format: `"tflite"`, `"mlmodel"` or `"mlpackage"`.
        bytes: Size of the file, or of all files of the folder.
        parameters: Weights of the Keras model.
        layers: One row per layer with weights.
        psnr: Agreement with Keras on the samples, in decibels; infinite if
            every number is the same. The peak is that of
            `fritz_compress.convert.check.peak_of`.
        max_difference: Largest absolute difference on the samples.
        samples: How many inputs were compared.

    `str(report)` is a table.
    """

    path: pathlib.Path
    format: str
    bytes: int
    parameters: int
    layers: tuple[LayerReport, ...]
    psnr: float
    max_difference: float
    samples: int

    def __str__(self) -> str:
        rows = [("layer", "kind", "bits", "parameters", "bytes", "note")]
        rows += [
            (
                layer.name,
                layer.kind,
                f"{layer.bits:g}",
                f"{layer.parameters:,}",
                f"{layer.bytes:,}",
                layer.note,
            )
            for layer in self.layers
        ]
        return "\n".join(
            [
                f"{self.path} ({self.format}): {self.bytes:,} bytes, "
                f"{self.parameters:,} parameters",
                f"agrees with Keras to {self.psnr:.1f} dB, largest difference "
                f"{self.max_difference:.3g}, on {self.samples} samples",
                *_aligned(rows),
            ]
        )


def _aligned(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    for name, kind, *numbers, note in rows:
        cells = [name.ljust(widths[0]), kind.ljust(widths[1])]
        cells += [n.rjust(w) for n, w in zip(numbers, widths[2:])]
        yield "  ".join([*cells, note]).rstrip()
