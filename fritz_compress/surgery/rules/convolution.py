"""Layers with kernels: they read channels and make new ones."""

import numpy as np
from keras import layers

from fritz_compress.surgery.call import Call
from fritz_compress.surgery.rules.activations import activated
from fritz_compress.surgery.rules.table import channel_axis, rule
from fritz_compress.surgery.values import Value


@rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def convolution(call: Call) -> list[Value]:
    layer, axis = call.operation, channel_axis(call.operation)
    call.only(axis)
    if layer.groups == call.shape()[axis] and layer.groups > 1:
        return _channel_each(call, axis)
    if layer.groups > 1:
        return _grouped(call, axis)
    made = call.produce(layer.filters)
    call.weight("kernel", reads={-2: call.read(axis)}, makes={-1: made})
    return _made(call, made, axis)


@rule(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def transposed(call: Call) -> list[Value]:
    axis = channel_axis(call.operation)
    call.only(axis)
    made = call.produce(call.operation.filters)
    call.weight("kernel", reads={-1: call.read(axis)}, makes={-2: made})
    return _made(call, made, axis)


@rule(layers.SeparableConv1D, layers.SeparableConv2D)
def separable(call: Call) -> list[Value]:
    layer, axis = call.operation, channel_axis(call.operation)
    call.only(axis)
    read, made = call.read(axis), call.produce(layer.filters)
    between = np.repeat(read, layer.depth_multiplier)
    call.weight("depthwise_kernel", reads={-2: read})
    call.weight("pointwise_kernel", reads={-2: between}, makes={-1: made})
    return _made(call, made, axis)


@rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def depthwise(call: Call) -> list[Value]:
    """A filter per channel: channels stay what they are."""
    layer, axis = call.operation, channel_axis(call.operation)
    call.only(axis)
    kept = call.channels(axis)
    made = np.repeat(kept, layer.depth_multiplier)
    call.weight("kernel", makes={-2: kept})
    call.weight("bias", makes={0: made})
    return [call.output({axis: activated(call, made)[0]})]


def _channel_each(call, axis):
    """As many groups as channels: a depthwise convolution."""
    layer, kept = call.operation, call.channels(axis)
    made = np.repeat(kept, layer.filters // layer.groups)
    call.weight("kernel", makes={-1: made})
    call.weight("bias", makes={0: made})
    call.configure("groups", kept)
    call.configure("filters", made)
    return [call.output({axis: activated(call, made)[0]})]


def _grouped(call, axis):
    """Every group must keep as many channels as the others."""
    layer, groups = call.operation, call.operation.groups
    read, made = call.read(axis), call.produce(layer.filters)
    call.balance(read, groups)
    call.balance(made, groups)
    by_group = made.reshape(groups, -1)
    if by_group.shape[1] < groups:
        # A channel shuffle would rather tie each group into one class.
        call.tie(by_group, by_group[:1])
    call.weight("kernel", reads={-2: read}, makes={-1: made}, blocks=groups)
    return _made(call, made, axis)


def _made(call, made, axis):
    call.weight("bias", makes={0: made})
    call.configure("filters", made)
    return [call.output({axis: activated(call, made)[0]})]
