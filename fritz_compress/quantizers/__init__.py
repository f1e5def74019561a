"""Numbers that behave as integers while they are trained.

A quantizer rounds numbers to levels that integers of a few bits can stand for
and lets gradients through as if it had not rounded (within the range; outside
they are zero). Layers take one by its name, such as `"linear"` or
`"ste_sign"`, or as object.

Those of `linear` are called with a range and make the levels of TFLite's
integers; those of `binary`, with one to eight bits, know their levels.
"""

from collections.abc import Mapping
from typing import Any

import keras

from fritz_compress.checks import described
from fritz_compress.quantizers.binary import (
    ApproxSign,
    BitQuantizer,
    DoReFa,
    EvenLevels,
    MagnitudeAwareSign,
    SteSign,
    SteTern,
    StochasticSign,
    SwishSign,
)
from fritz_compress.quantizers.linear import Linear, LinearSymmetric
from fritz_compress.suggestions import did_you_mean

__all__ = [
    "ApproxSign",
    "BitQuantizer",
    "DoReFa",
    "EvenLevels",
    "Linear",
    "LinearSymmetric",
    "MagnitudeAwareSign",
    "SteSign",
    "SteTern",
    "StochasticSign",
    "SwishSign",
    "get",
    "serialize",
]

_BY_NAME = {
    "approx_sign": ApproxSign,
    "dorefa": DoReFa,
    "dorefa_weights": lambda: DoReFa(mode="weights"),
    "even_levels": EvenLevels,
    "linear": Linear,
    "linear_symmetric": LinearSymmetric,
    "magnitude_aware_sign": MagnitudeAwareSign,
    "ste_sign": SteSign,
    "ste_tern": SteTern,
    "stochastic_sign": StochasticSign,
    "swish_sign": SwishSign,
}


def get(quantizer: Any) -> Any:
    """A quantizer by its name, from its configuration, or itself.

    Args:
        quantizer: A name: `"linear"`, `"linear_symmetric"`, `"ste_sign"`,
            `"approx_sign"`, `"swish_sign"`, `"stochastic_sign"`,
            `"magnitude_aware_sign"`, `"ste_tern"`, `"dorefa"` (of
            activations), `"dorefa_weights"` or `"even_levels"`; a dictionary
            that `serialize` made, or an object.

    Raises:
        ValueError: for a name that there is not; it suggests the nearest.
        TypeError: for anything else that is no quantizer.

    Example:

    >>> get("linear").nbits
    8
    """
    if isinstance(quantizer, str):
        if quantizer not in _BY_NAME:
            raise ValueError(
                f"`quantizer` must be one of {sorted(_BY_NAME)}. Received: "
                f"'{quantizer}'.{did_you_mean(quantizer, _BY_NAME)}"
            )
        return _BY_NAME[quantizer]()
    if isinstance(quantizer, Mapping):
        quantizer = keras.saving.deserialize_keras_object(dict(quantizer))
    if not (callable(quantizer) and hasattr(quantizer, "get_config")):
        raise TypeError(
            "`quantizer` must be a name or an object with `get_config`. "
            f"Received: {described(quantizer)}."
        )
    return quantizer


def serialize(quantizer: Any) -> dict[str, Any]:
    """A dictionary that `get` makes the quantizer of again."""
    return keras.saving.serialize_keras_object(quantizer)
