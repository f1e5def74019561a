"""Layers without labelled weights that leave every channel in its place."""

import numpy as np
from keras import layers

from fritz_compress.layers import DeprocessStylizedImage
from fritz_compress.surgery.flow import Call, Value, Whole
from fritz_compress.surgery.rules.activations import is_elementwise, keeps_zero
from fritz_compress.surgery.rules.table import rule


@rule(
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Dropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
)
def identity(call: Call) -> list[Value]:
    """Nothing happens at inference."""
    return [call.input()]


@rule(layers.ELU, layers.LeakyReLU, layers.ReLU, DeprocessStylizedImage)
def pointwise(call: Call) -> list[Value]:
    return [_applied(call, call.operation)]


@rule(layers.Activation)
def activation(call: Call) -> list[Value]:
    function = call.operation.activation
    if not is_elementwise(function):
        name = getattr(function, "__name__", type(function).__name__)
        raise Whole(f"applies '{name}', which may mix channels")
    return [_applied(call, function)]


@rule(layers.Rescaling)
def rescaling(call: Call) -> list[Value]:
    layer = call.operation
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        raise Whole("has constants of its own for every channel")
    return [_applied(call, layer)]


@rule(layers.Softmax)
def softmax(call: Call) -> list[Value]:
    raise Whole("mixes channels")


@rule(layers.PReLU)
def prelu(call: Call) -> list[Value]:
    layer, rank = call.operation, len(call.node.inputs[0].shape)
    shared = {axis % rank for axis in layer.shared_axes or ()}
    labels = call.channels(-1)
    call.weight("alpha", reads={} if rank - 1 in shared else {-1: labels})
    return [call.input()]


@rule(*"Relu Relu6 Silu Tanh Sigmoid Gelu Elu LeakyRelu HardSigmoid".split())
def raw_activation(call: Call) -> list[Value]:
    """An activation from `keras.ops` in a functional model."""
    if len(call.node.inputs) != 1:
        raise Whole("has arguments of its own for every channel")
    return [_applied(call, call.operation)]


def _applied(call, function):
    value = call.input()
    if keeps_zero(function):
        return value
    number = call.flow.number(call.operation)
    return Value(value.labels, np.full_like(value.revived, number))
