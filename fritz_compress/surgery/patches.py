"""What the kernel of a layer meets, on samples."""

import keras
import numpy as np


def sample_patches(
    layer: keras.Layer, inputs: np.ndarray, samples: int, seed: int
) -> np.ndarray:
    """What a layer's kernel is applied to, at positions drawn at random.

    Args:
        layer: A built `Conv1D`, `Conv2D` or `Conv3D` with one group, or a
            `Dense`.
        inputs: A batch of its inputs.
        samples: Positions to draw, without repetition; all if there are
            fewer.
        seed: Seed of the draw.

    Returns: shape `(samples, positions, input channels)`; positions of the
    kernel in C order, one for a dense layer.
    """
    rng = np.random.default_rng(seed)
    if isinstance(layer, keras.layers.Dense):
        rows = inputs.reshape(-1, 1, inputs.shape[-1])
        return rows[rng.permutation(len(rows))[:samples]]
    if layer.data_format == "channels_first":
        inputs = np.moveaxis(inputs, 1, -1)
    windows, paddings = zip(
        *(
            _window(*sizes, layer.padding)
            for sizes in zip(
                inputs.shape[1:-1],
                layer.kernel_size,
                layer.strides,
                layer.dilation_rate,
            )
        )
    )
    padded = np.pad(inputs, [(0, 0), *paddings, (0, 0)])
    shape = (len(inputs), *map(len, windows))
    drawn = rng.permutation(np.prod(shape))[:samples]
    image, *places = np.unravel_index(drawn, shape)
    reads = [window[place] for window, place in zip(windows, places)]
    patches = padded[_outer(image[:, None], *reads)]
    return patches.reshape(len(drawn), -1, inputs.shape[-1])


def _outer(*indices):
    """Indices that pick, row by row, all combinations of theirs."""
    rank = len(indices) - 1
    return tuple(
        index.reshape(
            len(index), *(-1 if axis == own else 1 for axis in range(rank))
        )
        for own, index in enumerate(indices, start=-1)
    )


def _window(length, kernel, stride, dilation, padding):
    """Places that each output reads along an axis, and the axis' padding."""
    reach = (kernel - 1) * dilation + 1
    missing = 0
    if padding == "causal":
        missing = reach - 1
    elif padding == "same":
        outputs = -(-length // stride)
        missing = max((outputs - 1) * stride + reach - length, 0)
    count = (length + missing - reach) // stride + 1
    starts = stride * np.arange(count)[:, None]
    before = missing if padding == "causal" else missing // 2
    return starts + dilation * np.arange(kernel), (before, missing - before)
