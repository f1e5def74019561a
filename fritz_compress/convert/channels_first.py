"""Array functions on `[batch, channels, height, width]` for the interpreters.

float32 throughout, on NumPy and, for convolutions, TensorFlow.
"""

import numpy as np
import tensorflow as tf

Edges = list[tuple[int, int]]  # ((top, bottom), (left, right))


def per_channel(values: np.ndarray) -> np.ndarray:
    """A vector over channels, or one number, in a shape that broadcasts."""
    return np.reshape(values, (-1, 1, 1))


def spatial(edges: Edges) -> Edges:
    """Edges of height and width as those of all four axes."""
    return [(0, 0), (0, 0), *edges]


def same_edges(
    sizes: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    heavy_top_left: bool = False,
) -> Edges:
    """What to add around a picture so that `H_out = ceil(H_in / stride)`.

    An odd row goes to the bottom and an odd column to the right, or to the
    top and the left.

    >>> same_edges((4, 5), (3, 3), (2, 2))
    [(0, 1), (1, 1)]
    """
    edges = []
    for size, width, stride in zip(sizes, kernel, strides):
        total = max(0, (-(-size // stride) - 1) * stride + width - size)
        small, large = total // 2, total - total // 2
        edges.append((large, small) if heavy_top_left else (small, large))
    return edges


def convolve(
    x: np.ndarray,
    kernel: np.ndarray,
    strides: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Convolution without padding.

    Args:
        x: `[batch, in, height, width]`.
        kernel: `[out, in / groups, height, width]`.
        strides, dilation: `(height, width)`.
        groups: Groups of channels that do not mix.
    """
    x = np.transpose(x, (0, 2, 3, 1))
    kernel = np.transpose(kernel, (2, 3, 1, 0))
    if groups == x.shape[-1] and groups > 1:
        # [h, w, 1, groups * multiplier] is [h, w, groups, multiplier].
        kernel = kernel.reshape(*kernel.shape[:2], groups, -1)
        result = _depthwise(x, kernel, strides, dilation)
    else:
        parts = zip(
            np.split(x, groups, axis=-1), np.split(kernel, groups, axis=-1)
        )
        result = np.concatenate(
            [
                tf.nn.conv2d(part, weights, strides, "VALID", "NHWC", dilation)
                for part, weights in parts
            ],
            axis=-1,
        )
    return np.transpose(result, (0, 3, 1, 2))


def deconvolve(
    x: np.ndarray, kernel: np.ndarray, strides: tuple[int, int]
) -> np.ndarray:
    """Transposed convolution: every input number paints the whole kernel.

    Args:
        x: `[batch, in, height, width]`.
        kernel: `[in, out, height, width]`.
        strides: `(height, width)`.

    Returns: `[batch, out, (height - 1) * stride + kernel height, ...]`.
    """
    size = [
        (n - 1) * stride + k
        for n, stride, k in zip(x.shape[2:], strides, kernel.shape[2:])
    ]
    result = tf.nn.conv2d_transpose(
        np.transpose(x, (0, 2, 3, 1)),
        np.transpose(kernel, (2, 3, 1, 0)),
        (x.shape[0], *size, kernel.shape[1]),
        strides,
        "VALID",
    )
    return np.transpose(result, (0, 3, 1, 2))


def moments(
    x: np.ndarray, of_each: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance per channel, in the shape `[..., C, 1, 1]`.

    Summed in Keras' order of axes: in float32 another order moves the pixels
    of a style network by up to 0.02 of 255, which is rounding and would hide
    a true difference.

    Args:
        x: `[batch, channels, height, width]`.
        of_each: Whether every sample has its own, or the batch one.
    """
    axes = (1, 2) if of_each else (0, 1, 2)
    values = tf.nn.moments(np.transpose(x, (0, 2, 3, 1)), axes, keepdims=True)
    mean, variance = (np.transpose(v, (0, 3, 1, 2)) for v in values)
    return mean, variance


def normalize(
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    epsilon: float,
) -> np.ndarray:
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta` per channel.

    As one scale and one offset per channel, which is how Keras rounds it.
    """
    if mean.ndim == 1:
        mean, variance = per_channel(mean), per_channel(variance)
    scale = tf.math.rsqrt(variance + np.float32(epsilon)).numpy()
    scale = scale * per_channel(gamma)
    return x * scale + (per_channel(beta) - mean * scale)


def max_pool(x, edges: Edges, kernel, strides) -> np.ndarray:
    """Largest number of each window; padding never wins."""
    padded = np.pad(x, spatial(edges), constant_values=-np.inf)
    return _windows(padded, kernel, strides).max(axis=(-2, -1))


def average_pool(
    x, edges: Edges, kernel, strides, exclude_padding: bool
) -> np.ndarray:
    """Mean of each window, over the numbers inside or over all of it."""
    total = _windows(np.pad(x, spatial(edges)), kernel, strides)
    inside = np.pad(
        np.ones_like(x[:1, :1]),
        spatial(edges),
        constant_values=0 if exclude_padding else 1,
    )
    count = _windows(inside, kernel, strides)
    return total.sum(axis=(-2, -1)) / count.sum(axis=(-2, -1))


def depth_to_space(x: np.ndarray, block: int) -> np.ndarray:
    """Channel `(i * block + j) * C + c` to row i, column j of a block."""
    batch, _, height, width = x.shape
    x = x.reshape(batch, block, block, -1, height, width)
    x = np.transpose(x, (0, 3, 4, 1, 5, 2))
    return x.reshape(batch, -1, height * block, width * block)


def interpolate(x: np.ndarray, axis: int, points: np.ndarray) -> np.ndarray:
    """Values at fractional positions of an axis, linear between neighbours.

    Args:
        x: Array.
        axis: Axis to sample.
        points: Positions; those outside are moved to the nearest end.
    """
    last = x.shape[axis] - 1
    points = np.clip(points, 0, last)
    below = np.floor(points).astype("int64")
    above = np.minimum(below + 1, last)
    shape = [1] * x.ndim
    shape[axis] = -1
    share = np.float32(points - below).reshape(shape)
    low, high = np.take(x, below, axis), np.take(x, above, axis)
    return low * (1 - share) + high * share


def _depthwise(x, kernel, strides, dilation):
    """Sums shifted pictures: TensorFlow's own wants equal strides."""
    height, width = kernel.shape[:2]
    rows = (x.shape[1] - (height - 1) * dilation[0] - 1) // strides[0] + 1
    columns = (x.shape[2] - (width - 1) * dilation[1] - 1) // strides[1] + 1
    total = np.zeros((x.shape[0], rows, columns, *kernel.shape[2:]), "float32")
    for i in range(height):
        for j in range(width):
            part = x[:, i * dilation[0] :, j * dilation[1] :]
            part = part[:, :: strides[0], :: strides[1]][:, :rows, :columns]
            total += part[..., None] * kernel[i, j]
    return total.reshape(*total.shape[:3], -1)


def _windows(x, kernel, strides):
    """[batch, channels, rows, columns, kernel height, kernel width]."""
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, (2, 3))
    return windows[:, :, :: strides[0], :: strides[1]]


def as_batch(
    inputs: np.ndarray, input_shape: tuple[int | None, ...]
) -> np.ndarray:
    """`inputs` as float32, if they are at least one sample of the shape.

    Args:
        inputs: Samples with a batch axis in front.
        input_shape: What the network takes, `None` for the batch axis.

    Raises:
        ValueError: if they are of another shape.
    """
    inputs = np.asarray(inputs, "float32")
    if inputs.shape[1:] != tuple(input_shape[1:]) or not len(inputs):
        raise ValueError(
            f"Expected inputs of shape {input_shape}. Received: shape "
            f"{inputs.shape}."
        )
    return inputs
