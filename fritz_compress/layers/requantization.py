"""How TFLite's own code rounds sums of products to integers.

XNNPACK, which runs most of a file on a CPU, rounds them once. It has no
convolutions with kernels of 4 bits: those are left to TFLite's own code, which
rounds twice. What is simulated here was found by comparing integers; it is
that of x86 processors.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
# Channels that a depthwise convolution computes at a time.
_AT_A_TIME = 8


def rounds_twice(layer: keras.Layer, nbits: int) -> bool:
    """Whether TFLite rounds the sums of a layer twice.

    Args:
        layer: The layer.
        nbits: Bits of its kernel.
    """
    return nbits < 8 and not isinstance(layer, keras.layers.Dense)


def requantization(layer: keras.Layer, accumulator_scale: Any) -> Any:
    """All that `round_twice` must know of the sums of a layer.

    Args:
        layer: The layer.
        accumulator_scale: Width of a step of the sums, shape `(channels,)`; 0
            where it is not known.

    Returns: an array of shape `(2, channels)`: those widths, and 1 for
    channels whose halves are rounded away from zero, 0 for upwards. Depthwise
    convolutions do the former with channels that are left over when eight at
    a time are taken.
    """
    (channels,) = accumulator_scale.shape
    away = np.zeros(channels, "float32")
    if isinstance(layer, _DEPTHWISE):
        away[channels - channels % _AT_A_TIME :] = 1
    return ops.stack([accumulator_scale, ops.convert_to_tensor(away)])


def round_twice(values: Any, how: Any, scale: Any) -> Any:
    """Rounds to multiples of `scale`, with an integer in between.

    The factor from a step of the sums to one of the result is written as a
    fraction from 1/2 to 1 and a power of two. What the fraction gives is
    rounded, and what the power of two makes of it once more. So what lies a
    little below a half may be rounded up.

    Args:
        values: Sums of products as floats, channels last.
        how: What `requantization` returned.
        scale: Width of a step of the result.

    Returns: an array like `values`. Gradients pass as if nothing was rounded.

    Reference: Jacob et al., https://arxiv.org/abs/1712.05877, section 2.2 and
    appendix B; `MultiplyByQuantizedMultiplier` of TFLite.
    """
    accumulator_scale, away = how[0], how[1]
    known = accumulator_scale > 0
    factor = ops.where(known, accumulator_scale / scale, 1.0)
    unit = 2.0 ** ops.minimum(ops.floor(ops.log2(factor)) + 1.0, 0.0)
    steps = ops.round(values / (scale * unit)) * unit
    sign = ops.where((away > 0) & (steps < 0), -1.0, 1.0)
    rounded = sign * ops.floor(sign * steps + 0.5) * scale
    rounded = ops.where(known, rounded, values)
    return values + ops.stop_gradient(rounded - values)
