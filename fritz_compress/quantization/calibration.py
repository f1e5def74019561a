"""Ranges of activations, measured on a few samples."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress import graph
from fritz_compress.checks import (
    check_count,
    check_model,
    check_no_nan,
    described,
)
from fritz_compress.layers import (
    ActivationRange,
    ConcatenationRange,
    QuantizedLayer,
    RangeRounding,
)
from fritz_compress.quantization.aware import (
    aware_layers,
    freeze,
    quantization_aware,
)
from fritz_compress.quantization.histograms import METHODS, Histogram

BATCH = 32
_FORMAT = "fritz_compress ranges 1"


@dataclasses.dataclass(frozen=True)
class Ranges:
    """Smallest and largest number of each activation, and how they were seen.

    Attributes:
        ends: `(low, high)` by the name of the range, such as `"conv_1_range"`.
        samples: How many samples were seen.
        method: How ends follow from what was seen.

    Example:

    >>> ranges = calibrate(model, images, samples=1000)
    >>> Ranges.from_json(ranges.to_json()) == ranges
    True
    """

    ends: Mapping[str, tuple[float, float]]
    samples: int
    method: str

    def to_json(self) -> str:
        """A text of one line per range, every digit kept."""
        return json.dumps(
            {
                "format": _FORMAT,
                "samples": self.samples,
                "method": self.method,
                "ends": {name: list(ends) for name, ends in self.ends.items()},
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> "Ranges":
        """The ranges of a text that `to_json` made.

        Raises:
            ValueError: for any other text.
        """
        try:
            content = json.loads(text)
            ends = {
                str(name): (float(low), float(high))
                for name, (low, high) in content["ends"].items()
            }
            samples, method = int(content["samples"]), str(content["method"])
            known = content["format"] == _FORMAT
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                "Expected a text that `Ranges.to_json` made. Received: "
                f"{described(text)} ({type(error).__name__}: {error})."
            ) from error
        numbers = np.array([*ends.values()]).reshape(-1, 2)
        sound = np.isfinite(numbers).all() and (numbers[:, 0] <= 0).all()
        if not (known and sound and (numbers[:, 1] >= 0).all()):
            raise ValueError(
                f"Expected ranges in the format '{_FORMAT}', finite and with "
                f"zero inside. Received: format {content['format']!r}, "
                f"{len(ends)} ranges."
            )
        return cls(ends, samples, method)


def calibrate(
    model: keras.Model,
    data: Any,
    samples: int | None = None,
    method: str = "minmax",
    percentile: float = 99.99,
    config: Any = None,
) -> Ranges:
    """Measures the ranges that activations need, without any training.

    The float model runs on the samples. `apply_ranges` makes a model with
    simulated integers of the result, and `to_tflite(ranges=)` an integer
    file. Both name ranges after layers, so ranges measured once serve as long
    as the architecture stays.

    | method            | ends of a range                                  |
    |-------------------|--------------------------------------------------|
    | `"minmax"`        | the smallest and the largest number seen         |
    | `"average"`       | the means over the samples of those of each      |
    | `"percentile"`    | leave out as many numbers as `percentile` says   |
    | `"least_squares"` | those with the least squared error of 8 bits     |

    Args:
        model: A Functional or built Sequential model, or one that
            `quantization_aware` returned, whose float weights are taken.
        data: Typical inputs with a batch axis, an array; a tuple or list of
            arrays for a model of several inputs.
        samples: How many of them to see; all by default.
        method: A row of the table. Defaults to `"minmax"`.
        percentile: Percent of the numbers that a range of the method
            `"percentile"` holds. Defaults to 99.99.
        config: As of `quantization_aware`; layers that are left float have no
            range.

    Raises:
        TypeError, ValueError: for an argument that is not as described.

    Reference: Krishnamoorthi, "Quantizing deep convolutional networks for
    efficient inference", https://arxiv.org/abs/1806.08342, section 3.1.

    Example:

    >>> calibrate(model, images, samples=10).ends["conv_1_range"]
    (0.0, 5.83)
    """
    check_model(model)
    if method not in METHODS:
        raise ValueError(
            f"`method` must be one of {list(METHODS)}. Received: {method!r}."
        )
    if not 50 < percentile <= 100:
        raise ValueError(
            "`percentile` must be above 50 and at most 100. Received: "
            f"percentile={percentile}."
        )
    arrays = _arrays(model, data, samples)
    aware = model if aware_layers(model) else quantization_aware(model, config)
    traced = graph.trace(aware)
    seen: dict[str, Histogram] = {}
    for _ in range(METHODS[method]):
        _run(traced, arrays, seen)
    return Ranges(
        {name: found.ends(method, percentile) for name, found in seen.items()},
        len(arrays[0]),
        method,
    )


def apply_ranges(
    model: keras.Model, ranges: Ranges, config: Any = None
) -> keras.Model:
    """A model with simulated integers of ranges that were measured.

    Args:
        model: The model that they were measured on, or one with other weights.
        ranges: What `calibrate` returned.
        config: What `calibrate` was called with.

    Returns: a frozen model as of `quantization_aware`.

    Raises:
        TypeError: for what are no ranges.
        ValueError: if they are not those of the model.
    """
    if not isinstance(ranges, Ranges):
        raise TypeError(
            "`ranges` must be what `calibrate` returned. Received: "
            f"{described(ranges)}."
        )
    aware = quantization_aware(model, config)
    layers = {
        layer.name: layer
        for layer in aware_layers(aware)
        if isinstance(layer, ActivationRange)
    }
    if set(layers) != set(ranges.ends):
        missing = sorted(set(layers) - set(ranges.ends))
        foreign = sorted(set(ranges.ends) - set(layers))
        raise ValueError(
            f"`ranges` must be those of model '{model.name}' with this config. "
            f"Missing: {missing[:5]}; not of this model: {foreign[:5]}. "
            "Measure them again with `calibrate`."
        )
    for name, layer in layers.items():
        layer.set_range(*ranges.ends[name])
    freeze(aware)
    return aware


def _arrays(model, data, samples):
    """One array per input, as many samples of each."""
    several = len(model.inputs) > 1
    arrays = [np.asarray(a) for a in data] if several else [np.asarray(data)]
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    fits = len(arrays) == len(shapes) and all(
        len(array.shape) == len(shape)
        and all(s in (None, a) for a, s in zip(array.shape, shape))
        for array, shape in zip(arrays, shapes)
    )
    if not fits or len({len(array) for array in arrays}) > 1:
        raise ValueError(
            f"`data` must be arrays of shapes {shapes}, as many samples of "
            f"each. Received: shapes {[array.shape for array in arrays]}."
        )
    count = len(arrays[0])
    if samples is not None:
        check_count("samples", samples)
    if not count or (samples or 0) > count:
        raise ValueError(
            f"`data` must have at least {samples or 1} samples. Received: "
            f"{count}. To quantize weights alone, without any, use "
            "to_tflite(quantization='dynamic')."
        )
    check_no_nan("`data`", arrays)
    return [array[:samples] for array in arrays]


def _run(traced, arrays, seen):
    """One pass over the samples, everything in floats."""

    def call(node, *args, **kwargs):
        layer = node.operation
        if isinstance(layer, ActivationRange):
            values = args[0]
            if type(layer) is ConcatenationRange:
                values = keras.ops.concatenate(values, layer.axis)
            found = seen.setdefault(layer.name, Histogram())
            found.add(keras.ops.convert_to_numpy(values))
            return values, None
        if type(layer) is QuantizedLayer:
            return layer.call_with_floats(args[0]), None
        if type(layer) is RangeRounding:
            return args[0]
        if "training" in kwargs:
            kwargs["training"] = False
        return layer(*args, **kwargs)

    for histogram in seen.values():
        histogram.start_counting()
    for start in range(0, len(arrays[0]), BATCH):
        traced.run([a[start : start + BATCH] for a in arrays], call)
