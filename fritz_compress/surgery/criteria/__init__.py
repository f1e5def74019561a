"""How much each channel of a group matters, over all that is tied to it."""

from collections.abc import Callable

import numpy as np

from fritz_compress.suggestions import did_you_mean
from fritz_compress.surgery.criteria.activations import AveragePercentageOfZeros
from fritz_compress.surgery.criteria.base import Criterion, FromFunction
from fritz_compress.surgery.criteria.chance import Random
from fritz_compress.surgery.criteria.gradients import Taylor
from fritz_compress.surgery.criteria.normalization import (
    BatchNormalizationScale,
)
from fritz_compress.surgery.criteria.weights import (
    L1,
    L2,
    GeometricMedian,
    LayerAdaptiveMagnitude,
)
from fritz_compress.surgery.groups import ChannelGroup

__all__ = [
    "AveragePercentageOfZeros",
    "BatchNormalizationScale",
    "Criterion",
    "GeometricMedian",
    "L1",
    "L2",
    "LayerAdaptiveMagnitude",
    "Random",
    "Taylor",
    "get",
]

_BY_NAME = {
    "bn_scale": BatchNormalizationScale,
    "fpgm": GeometricMedian,
    "l1": L1,
    "l2": L2,
    "lamp": LayerAdaptiveMagnitude,
    "random": Random,
}
_NEED_DATA = {
    "apoz": "AveragePercentageOfZeros(x)",
    "taylor": "Taylor(x, y)",
}


def get(
    criterion: str | Criterion | Callable[[ChannelGroup], np.ndarray],
) -> Criterion:
    """The criterion of a name; a criterion, or a function, as a criterion.

    Args:
        criterion: `"l1"`, `"l2"`, `"bn_scale"`, `"fpgm"`, `"lamp"`,
            `"random"`, a `Criterion`, or a function from a `ChannelGroup` to
            the scores of its channels, higher where a channel matters more.

    Raises:
        ValueError: for an unknown name, with the nearest one, and for the
            name of a criterion that needs data.
        TypeError: for anything else.
    """
    if isinstance(criterion, Criterion):
        return criterion
    if isinstance(criterion, type) and issubclass(criterion, Criterion):
        raise TypeError(
            "`criterion` must be an object, not its class. Received: "
            f"{criterion.__name__}. Pass `{criterion.__name__}(...)`."
        )
    if callable(criterion):
        return FromFunction(criterion)
    if not isinstance(criterion, str):
        raise TypeError(
            "`criterion` must be a name, a `Criterion` or a function. "
            f"Received: {criterion!r}."
        )
    name = criterion.lower()
    if name in _NEED_DATA:
        raise ValueError(
            f"Criterion '{criterion}' needs data. Pass the object instead of "
            f"the name: `surgery.criteria.{_NEED_DATA[name]}`."
        )
    if name not in _BY_NAME:
        known = [*_BY_NAME, *_NEED_DATA]
        raise ValueError(
            f"`criterion` must be one of {sorted(_BY_NAME)}, or an object. "
            f"Received: '{criterion}'.{did_you_mean(name, known)}"
        )
    return _BY_NAME[name]()
