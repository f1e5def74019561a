"""A profile as text: a table, or comma-separated."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fritz_compress.analysis.profile_result import LayerProfile, Profile

_CSV = (
    *("layer", "kind", "output", "parameters", "macs", "bytes"),
    *("trainable", "multiplications", "receptive_field"),
)
_TABLE = (
    *("layer", "kind", "output", "parameters", "%", "macs", "%", "bytes"),
    *("multiplications", "field"),
)
# Columns more, for models with kernels of few bits.
_CSV_BITS = ("binary_macs", "binary_parameters", "weight_bits")
_TABLE_BITS = ("binary macs", "deployed bytes")
_UNKNOWN = "?"


def to_csv(profile: "Profile") -> str:
    """The rows as comma-separated text, with a header, without totals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    few = profile.has_few_bits
    writer.writerow((*_CSV, *_CSV_BITS) if few else _CSV)
    for layer in profile.layers:
        row = [
            layer.name,
            layer.kind,
            _shape(layer.output_shape[1:]),
            layer.parameters,
            _number(layer.macs, ""),
            layer.bytes,
            layer.trainable,
            _number(layer.multiplications, ""),
            _shape(layer.receptive_field),
        ]
        if few:
            row += [
                _number(layer.binary_macs, ""),
                layer.binary_parameters,
                layer.weight_bits,
            ]
        writer.writerow(row)
    return text.getvalue()


def summary(profile: "Profile", bits: Sequence[int]) -> str:
    """A line per layer, totals, and lines about the whole."""
    rows = [_row(layer, profile) for layer in profile.layers]
    table = [_TABLE, *rows, _totals(profile)]
    if profile.has_few_bits:
        table = [(*row, *more) for row, more in zip(table, _few_bits(profile))]
    lines = list(_aligned(table))
    return "\n".join([*lines, *_remarks(profile, bits)])


def _row(layer: "LayerProfile", profile: "Profile") -> tuple[str, ...]:
    return (
        layer.name,
        layer.kind,
        _shape(layer.output_shape[1:]),
        _number(layer.parameters),
        _share(layer.parameters, profile.parameters),
        _number(layer.macs),
        _share(layer.macs, profile.macs),
        _number(layer.bytes),
        _number(layer.multiplications),
        _shape(layer.receptive_field),
    )


def _totals(profile):
    return (
        *("total", "", "", _number(profile.parameters), ""),
        *(_number(profile.macs), "", _number(profile.bytes)),
        _number(sum(profile.multiplications.values())),
        _shape(profile.receptive_field),
    )


def _few_bits(profile) -> Iterator[tuple[str, ...]]:
    """What is added to the header, to each row and to the totals."""
    yield _TABLE_BITS
    for layer in profile.layers:
        deployed = -(-layer.weight_bits // 8)
        yield _number(layer.binary_macs), _number(deployed)
    yield _number(profile.binary_macs), _number(profile.deployed_bytes)


def _remarks(profile, bits) -> Iterator[str]:
    frozen = profile.parameters - profile.trainable
    yield f"trainable: {_number(profile.trainable)}, not: {_number(frozen)}"
    if profile.has_few_bits:
        single = _number(profile.binary_parameters)
        deployed = _number(profile.deployed_bytes)
        yield f"deployed: {deployed} bytes; parameters of one bit: {single}"
    for number in bits:
        weights = _number(profile.weight_bytes(number))
        peak = _peak(profile, number)
        yield f"at {number} bits: {weights} bytes of weights, {peak}"
    if profile.unknown:
        yield f"not counted, without a rule: {', '.join(profile.unknown)}"


def _peak(profile, bits):
    if any(step.numbers is None for step in profile.steps):
        return "activations of no known size"
    peak = profile.activation_memory(bits)
    return f"{_number(peak.bytes)} of activations at most, at '{peak.layer}'"


def _number(count, separator=","):
    return _UNKNOWN if count is None else f"{count:{separator}}"


def _share(count, total):
    """Percent with one digit behind the point; nothing for nothing."""
    return f"{100 * count / total:.1f}" if count else ""


def _shape(sizes):
    """`256x256x9`; empty for what has no size."""
    if sizes is None:
        return ""
    return "x".join(_UNKNOWN if side is None else str(side) for side in sizes)


def _aligned(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [c.ljust(w) for c, w in zip(row[:3], widths[:3])]
        cells += [c.rjust(w) for c, w in zip(row[3:], widths[3:])]
        yield "  ".join(cells).rstrip()
