"""What each operation of a Core ML program computes.

One function per operation of MIL, with its parameters as keywords, on NumPy
arrays; pictures are `[batch, channels, height, width]`. `OPERATIONS` is the
table of them.
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


def _pairs(numbers):
    return [tuple(map(int, pair)) for pair in np.reshape(numbers, (-1, 2))]


def _integers(values):
    return tuple(map(int, np.ravel(values)))


def _axes(axes, x):
    return tuple(range(x.ndim)) if axes is None else _integers(axes)


def _edges(pad_type, pad, x, extent, strides):
    kind = str(pad_type)
    if kind in ("same", "same_lower"):
        return same_edges(x.shape[2:], extent, strides, kind == "same_lower")
    if kind == "valid":
        return [(0, 0), (0, 0)]
    if kind != "custom":
        raise ConversionError(f"padding '{kind}' is not known.")
    return _pairs(pad)


# Layers with weights


def conv(
    x,
    weight,
    bias=None,
    strides=(1, 1),
    pad_type="valid",
    pad=(0, 0, 0, 0),
    dilations=(1, 1),
    groups=1,
):
    """weight: [C_out, C_in / groups, height, width]."""
    if x.ndim == 3:  # [batch, channels, length]: pictures of height 1.
        flat = conv(
            x[:, :, None],
            weight[:, :, None],
            bias,
            (1, _integers(strides)[-1]),
            pad_type,
            (0, 0, *_integers(pad)[-2:]),
            (1, _integers(dilations)[-1]),
            groups,
        )
        return flat[:, :, 0]
    strides, dilations = _integers(strides), _integers(dilations)
    extent = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations)]
    edges = _edges(pad_type, pad, x, extent, strides)
    x = np.pad(x, spatial(edges))
    x = convolve(x, weight, strides, dilations, int(groups))
    return x if bias is None else x + per_channel(bias)


def conv_transpose(
    x,
    weight,
    bias=None,
    pad=(0, 0, 0, 0),
    output_shape=None,
    pad_type="valid",
    strides=(1, 1),
    dilations=(1, 1),
    groups=1,
):
    """weight: [C_in, C_out / groups, height, width]."""
    if int(groups) != 1 or set(_integers(dilations)) != {1}:
        raise ConversionError("groups or dilations are not known.")
    strides, same = _integers(strides), str(pad_type) == "same"
    result = deconvolve(x, weight, strides)
    # 'same' cuts what the convolution that this one transposes would add.
    size = [n * stride for n, stride in zip(x.shape[2:], strides)]
    if not same:
        edges = _edges(pad_type, pad, x, None, strides)
        size = [n - sum(edge) for n, edge in zip(result.shape[2:], edges)]
    if output_shape is not None:
        size = _integers(output_shape)[2:]
    if same:
        edges = same_edges(size, weight.shape[2:], strides)
    result = _cut(result, [start for start, _ in edges], size)
    return result if bias is None else result + per_channel(bias)


def _cut(x, starts, size):
    """`size` rows and columns from `starts` on, zeros beyond the end."""
    ends = [start + n for start, n in zip(starts, size)]
    missing = [max(end - n, 0) for end, n in zip(ends, x.shape[2:])]
    x = np.pad(x, spatial([(0, n) for n in missing]))
    return x[:, :, starts[0] : ends[0], starts[1] : ends[1]]


def linear(x, weight, bias=None):
    """weight: [D_out, D_in]."""
    product = np.matmul(x, weight.T)
    return product if bias is None else product + bias


def matmul(x, y, transpose_x=False, transpose_y=False):
    x = np.swapaxes(x, -1, -2) if transpose_x else x
    y = np.swapaxes(y, -1, -2) if transpose_y else y
    return np.matmul(x, y)


def batch_norm(x, mean, variance, gamma=None, beta=None, epsilon=1e-5):
    gamma = np.ones_like(mean) if gamma is None else gamma
    beta = np.zeros_like(mean) if beta is None else beta
    return normalize(x, mean, variance, gamma, beta, epsilon)


def instance_norm(x, gamma=None, beta=None, epsilon=1e-5):
    ones = np.ones(x.shape[1], "float32")
    gamma = ones if gamma is None else gamma
    beta = 0 * ones if beta is None else beta
    return normalize(x, *moments(x), gamma, beta, epsilon)


# Activations


def sigmoid(x):
    return 0.5 * np.tanh(0.5 * x) + 0.5


def elu(x, alpha=1.0):
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def erf(x):
    return np.vectorize(math.erf, otypes=["float32"])(x)


def gelu(x, mode="EXACT"):
    if str(mode) == "TANH_APPROXIMATION":
        inner = np.sqrt(np.float32(2 / np.pi)) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + np.tanh(inner))
    if str(mode) != "EXACT":
        raise ConversionError(f"mode '{mode}' is not known.")
    return 0.5 * x * (1 + erf(x / np.sqrt(np.float32(2))))


def softmax(x, axis=-1):
    powers = np.exp(x - x.max(axis=int(axis), keepdims=True))
    return powers / powers.sum(axis=int(axis), keepdims=True)


def prelu(x, alpha):
    return np.where(x < 0, per_channel(alpha) * x, x)


# Sizes


def max_pool_(
    x, kernel_sizes, strides, pad_type, pad=(0, 0, 0, 0), ceil_mode=False
):
    kernel, strides = _integers(kernel_sizes), _integers(strides)
    _check_ceil(ceil_mode)
    edges = _edges(pad_type, pad, x, kernel, strides)
    return max_pool(x, edges, kernel, strides)


def avg_pool(
    x,
    kernel_sizes,
    strides,
    pad_type,
    pad=(0, 0, 0, 0),
    exclude_padding_from_average=False,
    ceil_mode=False,
):
    kernel, strides = _integers(kernel_sizes), _integers(strides)
    _check_ceil(ceil_mode)
    edges = _edges(pad_type, pad, x, kernel, strides)
    exclude = bool(exclude_padding_from_average)
    return average_pool(x, edges, kernel, strides, exclude)


def _check_ceil(ceil_mode):
    if ceil_mode:
        raise ConversionError("ceil_mode is not known.")


def upsample_nearest_neighbor(x, scale_factor_height=1, scale_factor_width=1):
    for axis, factor in ((2, scale_factor_height), (3, scale_factor_width)):
        if int(factor) != factor:
            raise ConversionError(f"factor {factor} is no whole number.")
        x = np.repeat(x, int(factor), axis=axis)
    return x


def upsample_bilinear(
    x,
    scale_factor_height=1,
    scale_factor_width=1,
    align_corners=True,
    half_pixel_centers=None,
):
    for axis, factor in ((2, scale_factor_height), (3, scale_factor_width)):
        old = x.shape[axis]
        new = int(old * float(factor))
        i = np.arange(new)
        if align_corners:
            points = i * (old - 1) / max(new - 1, 1)
        elif half_pixel_centers is not None and not half_pixel_centers:
            points = i * old / new
        else:
            points = (i + 0.5) * old / new - 0.5
        x = interpolate(x, axis, points)
    return x


def resize_nearest_neighbor(x, target_size_height, target_size_width):
    for axis, size in ((2, target_size_height), (3, target_size_width)):
        old = x.shape[axis]
        x = np.take(x, np.arange(int(size)) * old // int(size), axis)
    return x


def pad(x, pad, mode="constant", constant_val=0.0):
    """Edges of the last axes; those in front have none."""
    edges = _pairs(pad)
    edges = [(0, 0)] * (x.ndim - len(edges)) + edges
    if str(mode) == "constant":
        return np.pad(x, edges, constant_values=constant_val)
    modes = {"reflect": "reflect", "replicate": "edge"}
    return np.pad(x, edges, mode=modes[str(mode)])


# Shapes


def reshape(x, shape):
    """0 keeps the size of the axis, -1 is what is left."""
    sizes = _integers(shape)
    kept = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return np.reshape(x, kept)


def expand_dims(x, axes):
    return np.expand_dims(x, _integers(axes))


def squeeze(x, axes=None):
    return np.squeeze(x, None if axes is None else _integers(axes))


def concat(values, axis, interleave=False):
    if interleave:
        raise ConversionError("interleaving is not known.")
    return np.concatenate(values, axis=int(axis))


def split(x, axis, num_splits=None, split_sizes=None):
    if split_sizes is None:
        return np.split(x, int(num_splits), int(axis))
    borders = np.cumsum(_integers(split_sizes))[:-1]
    return np.split(x, borders, int(axis))


def slice_by_index(
    x,
    begin,
    end,
    stride=None,
    begin_mask=None,
    end_mask=None,
    squeeze_mask=None,
):
    """NumPy's `x[begin:end:stride]`; a masked end is that of the axis."""
    index = []
    for i in range(x.ndim):
        if squeeze_mask is not None and squeeze_mask[i]:
            index.append(int(begin[i]))
            continue
        masked = [m is not None and m[i] for m in (begin_mask, end_mask)]
        step = 1 if stride is None else int(stride[i])
        first = None if masked[0] else int(begin[i])
        index.append(slice(first, None if masked[1] else int(end[i]), step))
    return x[tuple(index)]


def slice_by_size(x, begin, size):
    index = [
        slice(int(b), None if n == -1 else int(b) + int(n))
        for b, n in zip(begin, size)
    ]
    return x[tuple(index)]


def cast(x, dtype):
    """Between floats nothing: the arithmetic is float32 throughout."""
    kinds = {"fp16": "float32", "fp32": "float32", "bool": "bool"}
    return np.asarray(x).astype(kinds.get(str(dtype), str(dtype)))


def _reduction(function):
    def reduce(x, axes=None, keep_dims=False):
        return function(x, axis=_axes(axes, x), keepdims=bool(keep_dims))

    return reduce


OPERATIONS = {
    "abs": lambda x: np.abs(x),
    "add": lambda x, y: x + y,
    "avg_pool": avg_pool,
    "batch_norm": batch_norm,
    "cast": cast,
    "clamped_relu": lambda x, alpha, beta: np.minimum(
        np.where(x < 0, alpha * x, x), beta
    ),
    "clip": lambda x, alpha, beta: np.clip(x, alpha, beta),
    "concat": concat,
    "conv": conv,
    "conv_transpose": conv_transpose,
    "elu": elu,
    "equal": lambda x, y: x == y,
    "depth_to_space": lambda x, block_size: depth_to_space(x, int(block_size)),
    "exp": lambda x: np.exp(x),
    "expand_dims": expand_dims,
    "erf": erf,
    "gelu": gelu,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "identity": lambda x: x,
    "instance_norm": instance_norm,
    "inverse": lambda x, epsilon=1e-4: 1 / (x + np.float32(epsilon)),
    "leaky_relu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "linear": linear,
    "linear_activation": lambda x, alpha=1.0, beta=0.0: alpha * x + beta,
    "log": lambda x, epsilon=1e-45: np.log(x + np.float32(epsilon)),
    "matmul": matmul,
    "max_pool": max_pool_,
    "maximum": lambda x, y: np.maximum(x, y),
    "minimum": lambda x, y: np.minimum(x, y),
    "mul": lambda x, y: x * y,
    "pad": pad,
    "pow": lambda x, y: np.power(x, y),
    "prelu": prelu,
    "real_div": lambda x, y: x / y,
    "reduce_max": _reduction(np.max),
    "reduce_mean": _reduction(np.mean),
    "reduce_min": _reduction(np.min),
    "reduce_sum": _reduction(np.sum),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "reshape": reshape,
    "resize_nearest_neighbor": resize_nearest_neighbor,
    "round": lambda x: np.round(x),
    "rsqrt": lambda x, epsilon=1e-12: 1 / np.sqrt(x + np.float32(epsilon)),
    "scaled_tanh": lambda x, alpha=1.0, beta=1.0: alpha * np.tanh(beta * x),
    "select": lambda cond, a, b: np.where(cond, a, b),
    "sigmoid": sigmoid,
    "sigmoid_hard": lambda x, alpha=0.2, beta=0.5: np.clip(
        alpha * x + beta, 0, 1
    ),
    "sign": lambda x: np.sign(x),
    "silu": lambda x: x * sigmoid(x),
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "softmax": softmax,
    "softplus": lambda x: np.logaddexp(0, x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "split": split,
    "sqrt": lambda x: np.sqrt(x),
    "square": lambda x: np.square(x),
    "squeeze": squeeze,
    "stack": lambda values, axis: np.stack(values, axis=int(axis)),
    "sub": lambda x, y: x - y,
    "tanh": lambda x: np.tanh(x),
    "threshold": lambda x, alpha: np.maximum(x, alpha),
    "thresholded_relu": lambda x, alpha=1.0: np.where(x >= alpha, x, 0),
    "tile": lambda x, reps: np.tile(x, _integers(reps)),
    "transpose": lambda x, perm: np.transpose(x, _integers(perm)),
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest_neighbor,
}
