"""Layers in numpy, channels last, for networks worked out without Keras.

What PyTorch computes: padding is given in pixels, the same at all edges.
"""

import numpy as np


def windows(x, kernel, stride, padding=0, value=0.0):
    """Windows of (batch, rows, columns, channels, kernel, kernel)."""
    edges = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = np.pad(x, edges, constant_values=value)
    found = np.lib.stride_tricks.sliding_window_view(
        x, (kernel, kernel), (1, 2)
    )
    return found[:, ::stride, ::stride]


def convolution(x, kernel, stride=1, padding=0, groups=1):
    """The groups of a convolution one after the other."""
    inputs, outputs = x.shape[-1] // groups, kernel.shape[-1] // groups
    parts = [
        np.einsum(
            "bijcyx,yxco->bijo",
            windows(
                x[..., g * inputs : (g + 1) * inputs],
                kernel.shape[0],
                stride,
                padding,
            ),
            kernel[..., g * outputs : (g + 1) * outputs],
            optimize=True,
        )
        for g in range(groups)
    ]
    return np.concatenate(parts, axis=-1)


def depthwise(x, kernel, stride=1, padding=1):
    found = windows(x, kernel.shape[0], stride, padding)
    return np.einsum("bijcyx,yxc->bijc", found, kernel[..., 0])


def maximum(x, size, stride, padding=0):
    return windows(x, size, stride, padding, -np.inf).max(axis=(-2, -1))


def mean(x, size, stride, padding=0):
    """What is padded counts as 0."""
    return windows(x, size, stride, padding).mean(axis=(-2, -1))


def normalized(x, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    scale = gamma / np.sqrt(moving_variance + epsilon)
    return (x - moving_mean) * scale + beta


def relu(x):
    return np.maximum(x, 0)
