"""Layers and operations that leave every channel in its place."""

import numpy as np
from keras import layers, ops

from fritz_compress.layers import DeprocessStylizedImage
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.activations import is_elementwise, keeps_zero
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.values import Value

_UNARY = """
    Abs Absolute Arccos Arcsin Arcsinh Arctan Arctanh Cast Cbrt Ceil Celu Clip
    Cos Cosh Elu Erf Exp Exp2 Expm1 Floor Gelu HardShrink HardSigmoid HardSilu
    HardSwish HardTanh LeakyRelu Log Log10 Log1p Log2 LogSigmoid Mish Negative
    Reciprocal Relu Relu6 Round Rsqrt Selu Sigmoid Sign Silu Sin Sinh
    SoftShrink Softplus Softsign SparsePlus SparseSigmoid Sqrt Square Squareplus
    StopGradient Tan Tanh TanhShrink Threshold Trunc
"""


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
    "StochasticDepth",
)
def identity(call: Call) -> list[Value]:
    """Nothing happens at inference."""
    return [call.input()]


@rule(
    layers.ELU,
    layers.LeakyReLU,
    layers.ReLU,
    DeprocessStylizedImage,
    *_UNARY.split(),
)
def pointwise(call: Call) -> list[Value]:
    limits = [getattr(call.operation, x, 0) for x in ("x_min", "x_max")]
    if len(call.node.inputs) != 1 or any(np.size(x) > 1 for x in limits):
        raise Whole("has arguments of its own for every channel")
    return [applied(call, call.operation)]


def user_pointwise(call: Call) -> list[Value]:
    """A layer that its author declared to be elementwise."""
    shape = [1, *(size or 2 for size in call.shape()[1:])]
    zeros = ops.zeros(shape, call.node.inputs[0].dtype)
    result = ops.convert_to_numpy(call.operation(zeros, training=False))
    return [_revived(call, np.any(result))]


@rule(layers.Activation)
def activation(call: Call) -> list[Value]:
    function = call.operation.activation
    if not is_elementwise(function):
        name = getattr(function, "__name__", type(function).__name__)
        raise Whole(f"applies '{name}', which may mix channels")
    return [applied(call, function)]


@rule(layers.Rescaling)
def rescaling(call: Call) -> list[Value]:
    layer = call.operation
    strand = call.input().strands.get(len(call.shape()) - 1)
    for key in ("scale", "offset"):
        value = np.asarray(getattr(layer, key))
        if value.ndim > 1:
            raise Whole("has constants of its own for every position")
        if value.size > 1 and strand is not None:
            call.configure(
                key, strand.labels, lambda kept, v=value: v[kept].tolist()
            )
    return [_revived(call, np.any(layer.offset))]


@rule(layers.Softmax, "Softmax", "LogSoftmax")
def softmax(call: Call) -> list[Value]:
    axis = call.operation.axis
    axes = (axis,) if isinstance(axis, int) else tuple(axis or ())
    for axis in axes:
        strand = call.input().strands.get(axis % len(call.shape()))
        if strand is not None:
            call.freeze(strand.labels, "mixes channels")
    if not axes:
        raise Whole("mixes channels")
    return [_revived(call, True)]


@rule(layers.PReLU)
def prelu(call: Call) -> list[Value]:
    layer, rank = call.operation, len(call.shape())
    shared = {axis % rank for axis in layer.shared_axes or ()}
    call.weight(
        "alpha",
        reads={
            axis - 1: strand.labels
            for axis, strand in call.input().strands.items()
            if axis not in shared
        },
    )
    return [call.input()]


def applied(call: Call, function) -> Value:
    """The first input after an elementwise function."""
    return _revived(call, not keeps_zero(function))


def _revived(call, whether):
    number = call.number if whether else 0
    value = call.input()
    return Value(
        {a: s.revived_by(number) for a, s in value.strands.items()},
        value.stays,
    )
