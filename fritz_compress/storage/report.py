"""What a compressed file holds, weight by weight."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class WeightReport:
    """One weight in a compressed file.

    Attributes:
        path: Name of the layer and the weight.
        shape: Its shape.
        dtype: Its type.
        encoding: How it is stored: `"raw"`, or `"byte planes"`, `"linear"`,
            `"codebook"` or `"product"` codes; behind `"gaps"`, `"column
            gaps"` or `"rows"` if zeros are left out.
        nbits: Bits of one code before entropy coding; `None` without codes.
        size: How many numbers it has.
        nonzero: Its numbers that are not zero.
        bytes: What it takes in the file, tables and positions included.
        entropy_bytes: What its codes, positions or bytes need at least, by
            their empirical entropy: without tables, rounded up.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    encoding: str
    nbits: int | None
    size: int
    nonzero: int
    bytes: int
    entropy_bytes: int

    @property
    def bits_per_number(self) -> float:
        """Bits in the file per number of the weight, zeros included."""
        return 8 * self.bytes / max(self.size, 1)


@dataclasses.dataclass(frozen=True)
class CompressionReport:
    """What `save_compressed` wrote: print it for a table.

    Attributes:
        weights: One entry per weight, in Keras' order.
        architecture_bytes: Bytes of the deflated configuration.
        file_bytes: Bytes of the file.
    """

    weights: tuple[WeightReport, ...]
    architecture_bytes: int
    file_bytes: int

    @property
    def float32_bytes(self) -> int:
        """Four bytes for every number."""
        return 4 * sum(weight.size for weight in self.weights)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all coded weights."""
        return sum(weight.bytes for weight in self.weights)

    @property
    def ratio(self) -> float:
        """How many times smaller the file is than its weights in float32."""
        return self.float32_bytes / self.file_bytes

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text: a head, the weights and their sum."""
        head = ("weight", "shape", "coding", "bits", "nonzero", "bytes")
        rows = [(*head, "entropy", "bits per number")]
        rows += [_row(weight) for weight in self.weights]
        size = sum(weight.size for weight in self.weights)
        entropy = sum(weight.entropy_bytes for weight in self.weights)
        bits = 8 * self.weight_bytes / max(size, 1)
        nonzero = sum(weight.nonzero for weight in self.weights)
        total = (f"{nonzero:,}", f"{self.weight_bytes:,}", f"{entropy:,}")
        rows.append(("all weights", f"{size:,}", "", "", *total, f"{bits:.2f}"))
        return rows

    @property
    def summary(self) -> str:
        """The sizes in a sentence."""
        return (
            f"{self.file_bytes:,} bytes: weights {self.weight_bytes:,}, "
            f"architecture {self.architecture_bytes:,}. "
            f"{self.ratio:.1f} times smaller than the weights in float32 "
            f"({self.float32_bytes:,} bytes)."
        )

    def __str__(self):
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = []
        for row in rows:
            left = [c.ljust(w) for c, w in zip(row[:3], widths)]
            right = [c.rjust(w) for c, w in zip(row[3:], widths[3:])]
            lines.append("  ".join(left + right))
        return "\n".join([*lines, self.summary])


def _row(weight):
    return (
        weight.path,
        "x".join(map(str, weight.shape)) or "scalar",
        weight.encoding,
        "" if weight.nbits is None else str(weight.nbits),
        f"{weight.nonzero:,}",
        f"{weight.bytes:,}",
        f"{weight.entropy_bytes:,}",
        f"{weight.bits_per_number:.2f}",
    )
