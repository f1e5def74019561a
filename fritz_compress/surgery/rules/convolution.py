"""Layers with kernels: they read channels and make new ones."""

import numpy as np
from keras import layers

from fritz_compress.surgery.flow import Call, Value, Whole
from fritz_compress.surgery.rules.activations import activation_of
from fritz_compress.surgery.rules.table import channel_axis, rule


@rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def convolution(call: Call) -> list[Value]:
    layer, axis = call.operation, channel_axis(call.operation)
    if layer.groups > 1:
        return _grouped(call, axis)
    made = call.produce(layer.filters)
    call.weight("kernel", reads={-2: call.read(axis)}, makes={-1: made})
    return _made(call, made, axis, "filters")


@rule(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def transposed(call: Call) -> list[Value]:
    axis = channel_axis(call.operation)
    made = call.produce(call.operation.filters)
    call.weight("kernel", reads={-1: call.read(axis)}, makes={-2: made})
    return _made(call, made, axis, "filters")


@rule(layers.SeparableConv1D, layers.SeparableConv2D)
def separable(call: Call) -> list[Value]:
    layer, axis = call.operation, channel_axis(call.operation)
    read, made = call.read(axis), call.produce(layer.filters)
    between = np.repeat(read, layer.depth_multiplier)
    call.weight("depthwise_kernel", reads={-2: read})
    call.weight("pointwise_kernel", reads={-2: between}, makes={-1: made})
    return _made(call, made, axis, "filters")


@rule(layers.Dense)
def dense(call: Call) -> list[Value]:
    made = call.produce(call.operation.units)
    call.weight("kernel", reads={0: call.read()}, makes={1: made})
    return _made(call, made, -1, "units")


@rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def depthwise(call: Call) -> list[Value]:
    """A filter per channel: channels stay what they are."""
    layer, axis = call.operation, channel_axis(call.operation)
    kept = call.channels(axis)
    made = np.repeat(kept, layer.depth_multiplier)
    call.weight("kernel", makes={-2: kept})
    call.weight("bias", makes={0: made})
    return [call.output(made, axis, activation_of(call, made))]


def _grouped(call, axis):
    """Every group must keep as many channels: equal places go together."""
    layer, groups = call.operation, call.operation.groups
    read, made = call.channels(axis), call.produce(layer.filters)
    if len(read) == groups:
        raise Whole("has one channel per group; use DepthwiseConv instead")
    call.read(axis)
    for labels in (read, made):
        by_group = labels.reshape(groups, -1)
        call.flow.labels.unite(by_group, by_group[:1])
    call.weight(
        "kernel", reads={-2: read[: len(read) // groups]}, makes={-1: made}
    )
    return _made(call, made, axis, "filters")


def _made(call, made, axis, count):
    call.weight("bias", makes={0: made})
    call.configure(count, made)
    return [call.output(made, axis, activation_of(call, made))]
