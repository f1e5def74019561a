"""Layers that simulate integers."""

import math

from fritz_compress.costs.table import Call, Cost, rule
from fritz_compress.layers import (
    ActivationRange,
    ConcatenationRange,
    QuantizedLayer,
    RangeRounding,
)


@rule(ActivationRange, RangeRounding)
def rounded(call: Call) -> Cost:
    """Divided by the width of a step, and multiplied with it."""
    return Cost(others=2 * call.outputs)


@rule(ConcatenationRange)
def concatenated(call: Call) -> Cost:
    """Tensors that have a range of their own are rescaled to the common one."""
    ranged = sum(
        math.prod(call.known(call.arguments["inputs"][index].shape))
        for index in call.operation.ranged
    )
    return Cost(others=2 * call.outputs + ranged)


@rule(QuantizedLayer)
def quantized(call: Call) -> Cost:
    """The layer inside; its kernel is rounded once."""
    return call.inside(call.operation.layer, call.shape, call.output_shape)
