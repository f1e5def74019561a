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
_UNKNOWN = "?"


def to_csv(profile: "Profile") -> str:
    """The rows as comma-separated text, with a header, without totals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for layer in profile.layers:
        writer.writerow(
            [
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
        )
    return text.getvalue()


def summary(profile: "Profile", bits: Sequence[int]) -> str:
    """A line per layer, totals, and lines about the whole."""
    rows = [_row(layer, profile) for layer in profile.layers]
    lines = list(_aligned([_TABLE, *rows, _totals(profile)]))
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


def _remarks(profile, bits) -> Iterator[str]:
    frozen = profile.parameters - profile.trainable
    yield f"trainable: {_number(profile.trainable)}, not: {_number(frozen)}"
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
