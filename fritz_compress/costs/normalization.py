"""Normalizations: with statistics of training, and of the input itself.

What depends on weights alone, such as gamma over the deviation, is computed
once and does not count. Statistics of the input take a square for every number
(variance) and a division each; then every number is multiplied with one over
the deviation, and with gamma.
"""

import math
from collections.abc import Sequence

from keras import layers

from fritz_compress.costs.table import Call, Cost, rule
from fritz_compress.layers import InstanceNormalization, StandardizeImage


@rule(layers.BatchNormalization, layers.Normalization, "BatchNorm")
def fixed(call: Call) -> Cost:
    """One product per number, with what is known from training."""
    return Cost(others=call.outputs)


@rule(layers.LayerNormalization)
def layer_normalization(call: Call) -> Cost:
    layer = call.operation
    groups = _without(call.shape, layer.axis)
    return _normalized(call, groups, layer.scale or layer.rms_scaling)


@rule(layers.GroupNormalization)
def group_normalization(call: Call) -> Cost:
    layer = call.operation
    return _normalized(call, call.shape[0] * layer.groups, layer.scale)


@rule(InstanceNormalization)
def instance_normalization(call: Call) -> Cost:
    """Of every channel of every sample."""
    return _normalized(call, call.shape[0] * call.shape[-1], scale=True)


@rule(layers.RMSNormalization)
def root_mean_square(call: Call) -> Cost:
    """Without a mean: a square, two products, and a division per group."""
    groups = _without(call.shape, call.operation.axis)
    return Cost(others=3 * call.outputs + groups)


@rule(layers.UnitNormalization, "Normalize")
def unit(call: Call) -> Cost:
    """The square and the product with one over the length."""
    return Cost(others=2 * call.outputs)


@rule(StandardizeImage)
def standardize(call: Call) -> Cost:
    """Statistics of every `stride`-th pixel: mean, variance, one over it."""
    batch, *sides, channels = call.shape
    seen = math.prod(-(-side // call.operation.stride) for side in sides)
    groups = batch * channels
    return Cost(others=groups * (seen + 3) + call.outputs)


@rule("LayerNorm")
def layer_norm(call: Call) -> Cost:
    axes = call.operation.axis
    scale = call.arguments.get("gamma") is not None
    return _normalized(call, _without(call.shape, axes), scale)


@rule("RMSNorm")
def rms_norm(call: Call) -> Cost:
    groups = _without(call.shape, call.operation.axis)
    scale = call.arguments.get("scale") is not None
    return Cost(others=(2 + scale) * call.outputs + groups)


def _normalized(call, groups, scale):
    """Squares, products with one over the deviation and with gamma.

    Args:
        groups: How many means and variances there are.
        scale: Whether there is a gamma.
    """
    return Cost(others=(2 + bool(scale)) * call.outputs + 2 * groups)


def _without(shape, axes: int | Sequence[int]):
    """Numbers in the shape with all these axes taken out."""
    axes = [axes] if isinstance(axes, int) else axes
    taken = {axis % len(shape) for axis in axes}
    return math.prod(n for axis, n in enumerate(shape) if axis not in taken)
