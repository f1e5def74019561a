"""Normalizations: each channel on its own, or over all of them."""

import numpy as np
from keras import layers

from fritz_compress.layers import InstanceNormalization
from fritz_compress.surgery.flow import Call, Value, Whole
from fritz_compress.surgery.rules.table import rule


@rule(layers.BatchNormalization)
def batch(call: Call) -> list[Value]:
    labels = call.channels(call.operation.axis)
    for attribute in ("gamma", "beta", "moving_mean"):
        call.weight(attribute, makes={0: labels})
    call.weight("moving_variance", reads={0: labels})
    return [_normalized(call, call.operation.scale)]


@rule(InstanceNormalization)
def instance(call: Call) -> list[Value]:
    labels = call.channels()
    call.weight("gamma", makes={0: labels})
    call.weight("beta", makes={0: labels})
    return [_normalized(call, scale=True)]


@rule(layers.GroupNormalization)
def group(call: Call) -> list[Value]:
    layer = call.operation
    labels = call.channels(layer.axis)
    # Once built, `groups=-1` reads as the number of channels.
    if layer.groups not in (-1, len(labels)):
        raise Whole("takes its statistics over several channels")
    call.weight("gamma", makes={0: labels})
    call.weight("beta", makes={0: labels})
    call.configure("groups", labels, lambda kept: -1)
    return [_normalized(call, layer.scale)]


@rule(
    layers.LayerNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
)
def over_channels(call: Call) -> list[Value]:
    raise Whole("takes its statistics over several channels")


def _normalized(call, scale):
    """A scale of zero silences a channel whatever comes in."""
    value = call.input()
    if scale:
        return Value(value.labels, np.zeros_like(value.revived))
    return value
