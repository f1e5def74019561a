"""What each layer of a Core ML neural network computes.

One function per message of NeuralNetwork.proto, `layer(params, *inputs)`, on
arrays `[batch, channels, height, width]`. `LAYERS` is the table of them, by
the name of the field in `NeuralNetworkLayer`.
"""

import math

import numpy as np

from fritz_compress.convert.channels_first import (
    average_pool,
    convolve,
    deconvolve,
    depth_to_space,
    interpolate,
    max_pool,
    moments,
    normalize,
    per_channel,
    same_edges,
    spatial,
)
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.neural_network_weights import numbers


def _borders(amounts):
    """((top, bottom), (left, right)) of a BorderAmounts, zeros if unset."""
    edges = [(e.startEdgeSize, e.endEdgeSize) for e in amounts.borderAmounts]
    return edges or [(0, 0), (0, 0)]


def _sizes(field, default):
    return tuple(field) or (default, default)


def _edges(params, oneof, x, kernel, strides):
    padding = params.WhichOneof(oneof)
    if padding == "same":
        heavy_top_left = params.same.asymmetryMode == 1
        return same_edges(x.shape[2:], kernel, strides, heavy_top_left)
    if padding == "valid":
        return _borders(params.valid.paddingAmounts)
    raise ConversionError(f"padding '{padding}' is not known.")


# Layers with weights


def _convolution(params, x):
    """ConvolutionLayerParams: weights [out, in / groups, height, width]."""
    if params.isDeconvolution:
        return _deconvolution(params, x)
    groups, filters = params.nGroups or 1, params.outputChannels
    kernel_size = _sizes(params.kernelSize, 3)
    strides = _sizes(params.stride, 1)
    dilation = _sizes(params.dilationFactor, 1)
    shape = (filters, params.kernelChannels, *kernel_size)
    kernel = numbers(params.weights, shape)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation)]
    edges = _edges(params, "ConvolutionPaddingType", x, extent, strides)
    x = np.pad(x, spatial(edges))
    return _biased(params, convolve(x, kernel, strides, dilation, groups))


def _deconvolution(params, x):
    """`H_out = (H_in - 1) * stride + kernel - (top + bottom)`."""
    if (params.nGroups or 1) != 1 or params.outputShape:
        raise ConversionError("deconvolution with groups or outputShape.")
    if params.WhichOneof("ConvolutionPaddingType") != "valid":
        raise ConversionError("deconvolution with other than valid padding.")
    kernel_size = _sizes(params.kernelSize, 3)
    strides = _sizes(params.stride, 1)
    shape = (params.kernelChannels, params.outputChannels, *kernel_size)
    kernel = numbers(params.weights, shape, axis=1)
    result = deconvolve(x, kernel, strides)
    (top, bottom), (left, right) = _borders(params.valid.paddingAmounts)
    height, width = result.shape[2:]
    result = result[:, :, top : height - bottom, left : width - right]
    return _biased(params, result)


def _biased(params, x):
    if not params.hasBias:
        return x
    return x + per_channel(numbers(params.bias, (params.outputChannels,)))


def _inner_product(params, x):
    """InnerProductLayerParams: [x1, x2 * x3 * x4] to [x1, C_out, 1, 1]."""
    shape = (params.outputChannels, params.inputChannels)
    if params.int8DynamicQuantize:
        raise ConversionError("int8DynamicQuantize is not known.")
    product = x.reshape(len(x), -1) @ numbers(params.weights, shape).T
    return _biased(params, product[:, :, None, None])


def _batchnorm(params, x):
    """BatchnormLayerParams: statistics stored, or of each instance."""
    shape = (params.channels,)
    if params.computeMeanVar:
        mean, variance = moments(x, params.instanceNormalization)
    else:
        mean = numbers(params.mean, shape)
        variance = numbers(params.variance, shape)
    gamma, beta = numbers(params.gamma, shape), numbers(params.beta, shape)
    return normalize(x, mean, variance, gamma, beta, params.epsilon or 1e-5)


def _scale(params, x):
    """ScaleLayerParams: [1], [C], [1, H, W] or [C, H, W]."""
    x = x * _constant(params.scale, params.shapeScale)
    if params.hasBias:
        x = x + _constant(params.bias, params.shapeBias)
    return x


def _bias(params, x):
    return x + _constant(params.bias, params.shape)


def _constant(weights, shape):
    shape = tuple(shape)
    values = numbers(weights, shape)
    return per_channel(values) if len(shape) == 1 else values


# Activations and functions of one value


def _prelu(params, x):
    """ActivationPReLU: one slope per channel, or one for all."""
    alpha = params.alpha
    size = len(alpha.floatValue) or len(alpha.float16Value) // 2 or x.shape[1]
    return np.where(x < 0, per_channel(numbers(alpha, (size,))) * x, x)


ACTIVATIONS = {
    "linear": lambda p, x: p.alpha * x + p.beta,
    "ReLU": lambda p, x: np.maximum(x, 0),
    "leakyReLU": lambda p, x: np.where(x < 0, p.alpha * x, x),
    "thresholdedReLU": lambda p, x: np.where(x >= p.alpha, x, 0),
    "PReLU": _prelu,
    "tanh": lambda p, x: np.tanh(x),
    "scaledTanh": lambda p, x: p.alpha * np.tanh(p.beta * x),
    "sigmoid": lambda p, x: 0.5 * np.tanh(0.5 * x) + 0.5,
    "sigmoidHard": lambda p, x: np.clip(p.alpha * x + p.beta, 0, 1),
    "ELU": lambda p, x: np.where(
        x < 0, p.alpha * np.expm1(np.minimum(x, 0)), x
    ),
    "softsign": lambda p, x: x / (1 + np.abs(x)),
    "softplus": lambda p, x: np.logaddexp(0, x),
}


def _activation(params, x):
    kind = params.WhichOneof("NonlinearityType")
    if kind not in ACTIVATIONS:
        raise ConversionError(f"activation '{kind}' is not known.")
    return ACTIVATIONS[kind](getattr(params, kind), x)


# UnaryFunctionLayerParams.Operation, in the order of its numbers.
UNARY = (
    lambda p, x: np.sqrt(x),
    lambda p, x: 1 / np.sqrt(x + (p.epsilon or 1e-6)),
    lambda p, x: 1 / (x + (p.epsilon or 1e-6)),
    lambda p, x: np.power(x, p.alpha),
    lambda p, x: np.exp(x),
    lambda p, x: np.log(x),
    lambda p, x: np.abs(x),
    lambda p, x: np.maximum(p.alpha, x),
)


def _unary(params, x):
    """The function of `scale * x + shift`; a scale of 0 stands for 1."""
    x = np.float32(params.scale or 1) * x + np.float32(params.shift)
    return UNARY[params.type](params, x)


def _softmax(params, x):
    """SoftmaxLayerParams: over the channels, axis -3."""
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# ReduceLayerParams.ReduceOperation, and ReduceAxis by its number.
REDUCTIONS = {0: np.sum, 1: np.mean, 7: np.max, 8: np.min}
REDUCED = ((1, 2, 3), (2, 3), 1, 2, 3)


def _reduce(params, x):
    """ReduceLayerParams: to a length of 1 along some axes."""
    if params.mode not in REDUCTIONS:
        raise ConversionError(f"reduction {params.mode} is not known.")
    function = REDUCTIONS[params.mode]
    return function(x, axis=REDUCED[params.axis], keepdims=True)


# Several inputs


def _add(params, *inputs):
    return inputs[0] + params.alpha if len(inputs) == 1 else sum(inputs)


def _multiply(params, *inputs):
    return inputs[0] * params.alpha if len(inputs) == 1 else math.prod(inputs)


def _average(params, *inputs):
    return sum(inputs) / len(inputs)


def _max(params, *inputs):
    return np.stack(np.broadcast_arrays(*inputs)).max(axis=0)


def _min(params, *inputs):
    return np.stack(np.broadcast_arrays(*inputs)).min(axis=0)


def _concat(params, *inputs):
    if params.sequenceConcat:
        raise ConversionError("concatenation of sequences is not known.")
    return np.concatenate(inputs, axis=1)


# Sizes and shapes


def _pooling(params, x):
    if params.type not in (0, 1):
        raise ConversionError("L2 pooling is not known.")
    average = params.type == 1
    if params.globalPooling:
        reduce = np.mean if average else np.max
        return reduce(x, axis=(2, 3), keepdims=True)
    kernel = _sizes(params.kernelSize, 3)
    strides = _sizes(params.stride, 1)
    edges = _edges(params, "PoolingPaddingType", x, kernel, strides)
    if not average:
        return max_pool(x, edges, kernel, strides)
    return average_pool(x, edges, kernel, strides, params.avgPoolExcludePadding)


def _upsample(params, x):
    if params.fractionalScalingFactor:
        raise ConversionError("fractional upsampling is not known.")
    for axis, factor in zip((2, 3), _sizes(params.scalingFactor, 1)):
        if params.mode == 0:
            x = np.repeat(x, factor, axis=axis)
        else:
            points = _grid(x.shape[axis], factor, params.linearUpsampleMode)
            x = interpolate(x, axis, points)
    return x


def _grid(old, factor, mode):
    """LinearUpsampleMode: where each new point lies among the old ones."""
    new = old * factor
    i = np.arange(new)
    return (
        i * (old - old / new) / max(new - 1, 1),  # DEFAULT
        i * (old - 1) / max(new - 1, 1),  # ALIGN_CORNERS_TRUE
        (i + 0.5) * old / new - 0.5,  # ALIGN_CORNERS_FALSE
    )[mode]


def _padding(params, x):
    edges = spatial(_borders(params.paddingAmounts))
    kind = params.WhichOneof("PaddingType")
    if kind == "constant":
        value = params.constant.value
        return np.pad(x, edges, constant_values=value)
    modes = {"reflection": "reflect", "replication": "edge"}
    if kind not in modes:
        raise ConversionError(f"padding '{kind}' is not known.")
    return np.pad(x, edges, mode=modes[kind])


def _crop(params, x):
    (top, bottom), (left, right) = _borders(params.cropAmounts)
    height, width = x.shape[2:]
    return x[:, :, top : height - bottom, left : width - right]


def _reorganize_data(params, x):
    """ReorganizationType: SPACE_TO_DEPTH = 0, DEPTH_TO_SPACE = 1."""
    if params.mode != 1:
        raise ConversionError("only depth to space is known.")
    return depth_to_space(x, params.blockSize)


def _flat(x, channels_last):
    if channels_last:
        x = np.transpose(x, (0, 2, 3, 1))
    return x.reshape(len(x), -1)


def _flatten(params, x):
    return _flat(x, params.mode == 1)[:, :, None, None]


def _reshape(params, x):
    channels, height, width = params.targetShape[-3:]
    flat = _flat(x, params.mode == 1)
    if params.mode == 0:
        return flat.reshape(-1, channels, height, width)
    last = flat.reshape(-1, height, width, channels)
    return np.transpose(last, (0, 3, 1, 2))


def _permute(params, x):
    """PermuteLayerParams: of [sequence, channels, height, width]."""
    sequence, *axes = params.axis
    if sequence != 0:
        raise ConversionError("permutation of sequences is not known.")
    return np.transpose(x, (0, *axes))


def _slice(params, x):
    """SliceLayerParams: CHANNEL_AXIS = 0, HEIGHT_AXIS = 1, WIDTH_AXIS = 2."""
    places = range(x.shape[1 + params.axis])
    chosen = places[params.startIndex : params.endIndex : params.stride or 1]
    return np.take(x, list(chosen), axis=1 + params.axis)


LAYERS = {
    "activation": _activation,
    "add": _add,
    "average": _average,
    "batchnorm": _batchnorm,
    "bias": _bias,
    "concat": _concat,
    "convolution": _convolution,
    "crop": _crop,
    "flatten": _flatten,
    "innerProduct": _inner_product,
    "max": _max,
    "min": _min,
    "multiply": _multiply,
    "padding": _padding,
    "permute": _permute,
    "pooling": _pooling,
    "reduce": _reduce,
    "reorganizeData": _reorganize_data,
    "reshape": _reshape,
    "scale": _scale,
    "slice": _slice,
    "softmax": _softmax,
    "unary": _unary,
    "upsample": _upsample,
}
