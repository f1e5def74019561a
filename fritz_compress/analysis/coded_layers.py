"""The layers of a model, coded with several numbers of bits."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress.analysis.bits_search import Bits
from fritz_compress.analysis.probe import Change
from fritz_compress.checks import check_built, check_numbers
from fritz_compress.ops.codes import Codes
from fritz_compress.ops.packing import check_nbits
from fritz_compress.ops.quantization import sqnr
from fritz_compress.quantization.config import WeightConfig
from fritz_compress.quantization.report import QuantizationReport
from fritz_compress.quantization.weights import encode_weights
from fritz_compress.surgery.config_by_layer import (
    ConfigByLayer,
    config_by_layer,
)
from fritz_compress.surgery.names import every_weight, listed_reasons

Reports = dict[int, QuantizationReport]


@dataclasses.dataclass(frozen=True, eq=False)
class CodedLayer:
    """One layer with one number of bits.

    Attributes:
        bytes: What its weights take, those without codes included.
        sqnr: Signal to quantization noise in decibels, of those with codes.
        codes: By the weight's position in `model.weights`.
    """

    bytes: int
    sqnr: float
    codes: dict[int, Codes]


@dataclasses.dataclass(frozen=True, eq=False)
class CodedModel:
    """All layers that can be quantized, with every number of bits.

    Attributes:
        layers: By name, in the order of the model, and by number of bits.
        bytes_before: What the weights of each layer take as they are.
        all_bytes_before: What all weights of the model take as they are.
        skipped: Weights without codes, each with the reason.
    """

    layers: dict[str, dict[int, CodedLayer]]
    bytes_before: dict[str, int]
    all_bytes_before: int
    skipped: dict[str, str]

    def chosen(self, bits: Bits) -> dict[str, CodedLayer]:
        """The layers that bits are chosen for, with these."""
        return {
            name: self.layers[name][nbits]
            for name, nbits in bits.items()
            if nbits is not None
        }

    def bytes(self, bits: Bits) -> int:
        """What all weights of the model take with these bits."""
        return self.all_bytes_before - sum(
            self.bytes_before[name] - layer.bytes
            for name, layer in self.chosen(bits).items()
        )

    def changes(self, bits: Bits) -> list[Change]:
        """What to change in the model for its layers to have these bits."""
        return [
            (position, codes.decode())
            for layer in self.chosen(bits).values()
            for position, codes in layer.codes.items()
        ]


def checked_nbits(nbits: Any) -> tuple[int, ...]:
    """One number of bits or several, rising, each once."""
    nbits = check_numbers("nbits", nbits, "numbers of bits, such as (2, 4, 8)")
    for number in nbits:
        check_nbits(number)
    return tuple(sorted({int(number) for number in nbits}))


def with_nbits(
    configs: ConfigByLayer[WeightConfig], nbits: int
) -> ConfigByLayer[WeightConfig]:
    """The same configurations with another number of bits."""
    return configs.map(lambda config: dataclasses.replace(config, nbits=nbits))


def encode_at(
    model: keras.Model,
    config: Any,
    nbits: Iterable[int],
    importance: Mapping[str, np.ndarray] | None,
    seed: int,
) -> Reports:
    """Reports of the weights with each number of bits in place of its own.

    Args:
        model: Any built model.
        config, importance, seed: As in `quantize_weights`.
        nbits: Numbers of bits.
    """
    configs = config_by_layer(config, WeightConfig)
    return {
        number: encode_weights(
            model,
            with_nbits(configs, number),
            importance=importance,
            seed=seed,
        )
        for number in nbits
    }


def coded_model(model: keras.Model, reports: Reports) -> CodedModel:
    """All codes of a model by layer.

    Raises:
        ValueError: if no layer has any.
    """
    layers: dict[str, dict[int, CodedLayer]] = {}
    for nbits, report in reports.items():
        rows = _rows_by_layer(model, report)
        for name, own in rows.items():
            if any(row.codes is not None for _, row in own):
                layers.setdefault(name, {})[nbits] = _coded(model, own)
    if not layers:
        check_built(model)
        raise ValueError(
            f"Model '{model.name}' has nothing that can be quantized."
            f"{listed_reasons(report.skipped.items())}"
        )
    return CodedModel(
        layers={name: layers[name] for name in rows if name in layers},
        bytes_before={
            name: sum(row.bytes_before for _, row in rows[name])
            for name in layers
        },
        all_bytes_before=report.bytes_before,
        skipped=_skipped(reports.values()),
    )


def _rows_by_layer(model, report):
    """The rows of each layer, each with its position in `model.weights`."""
    positions = {id(weight): n for n, weight in enumerate(model.weights)}
    found: dict[str, list] = {}
    weights = every_weight(model)
    for (name, _, _, weight), row in zip(weights, report.weights, strict=True):
        found.setdefault(name, []).append((positions[id(weight)], row))
    return found


def _coded(model, rows):
    codes = {n: row.codes for n, row in rows if row.codes is not None}
    weights = [keras.ops.convert_to_numpy(model.weights[n]) for n in codes]
    restored = [kept.decode() for kept in codes.values()]
    before, after = (
        np.concatenate([array.ravel() for array in arrays])
        for arrays in (weights, restored)
    )
    size = sum(row.bytes for _, row in rows)
    return CodedLayer(size, sqnr(before, after), codes)


def _skipped(reports):
    """The weights that no report has codes of."""
    first, *others = (report.skipped for report in reports)
    return {
        name: why
        for name, why in first.items()
        if all(name in other for other in others)
    }
