"""Layers that read a window of positions: convolutions, pooling, resizing."""

import numpy as np
from keras import layers

from fritz_compress import layers as ours
from fritz_compress.analysis.receptive_field.strips import (
    resampled,
    spread,
    window,
)
from fritz_compress.analysis.receptive_field.table import rule

_REACH = {
    "nearest": 0,
    "bilinear": 1,
    "bicubic": 2,
    "lanczos3": 3,
    "lanczos5": 5,
}


@rule(
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
)
def _windowed(node, inputs):
    layer, made = node.operation, {}
    sizes = getattr(layer, "kernel_size", None) or layer.pool_size
    dilations = getattr(layer, "dilation_rate", None) or [1] * len(sizes)
    for axis, size, stride, dilation in zip(
        _sides(node), sizes, layer.strides, dilations
    ):
        if axis in inputs[0]:
            before = _before(node, axis, (size - 1) * dilation + 1, stride)
            made[axis] = window(inputs[0][axis], size, stride, dilation, before)
    return made


@rule(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def _transposed(node, inputs):
    layer, made = node.operation, {}
    for axis, size, stride, dilation in zip(
        _sides(node), layer.kernel_size, layer.strides, layer.dilation_rate
    ):
        if axis in inputs[0]:
            before = _cut(node, axis, (size - 1) * dilation + 1, stride)
            made[axis] = spread(inputs[0][axis], size, stride, dilation, before)
    return made


@rule(layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
def _upsampled(node, inputs):
    layer = node.operation
    reach = _REACH[getattr(layer, "interpolation", "nearest")]
    return {
        axis: resampled(inputs[0][axis], factor, 1, reach)
        for axis, factor in zip(
            _sides(node), np.atleast_1d(layer.size).tolist()
        )
        if axis in inputs[0]
    }


@rule(layers.Resizing, "Resize")
def _resized(node, inputs):
    operation, made = node.operation, {}
    if (
        operation.antialias
        or operation.crop_to_aspect_ratio
        or operation.pad_to_aspect_ratio
    ):
        return {}
    for axis, strip in inputs[0].items():
        size, wanted = node.inputs[0].shape[axis], node.outputs[0].shape[axis]
        if None not in (size, wanted):
            reach = _REACH[operation.interpolation]
            made[axis] = resampled(strip, wanted, size, reach)
    return made


@rule(ours.DepthToSpace)
def _laid_out(node, inputs):
    """Channels become positions."""
    factor = node.operation.block_size
    return {a: resampled(s, factor, 1, 0) for a, s in inputs[0].items()}


@rule(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
def _padded(node, inputs):
    before = _first_of_each(node.operation.padding)
    return _shifted(inputs[0], zip(_sides(node), before))


@rule(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
def _cropped(node, inputs):
    before = _first_of_each(node.operation.cropping)
    return _shifted(inputs[0], zip(_sides(node), [-n for n in before]))


@rule("Pad")
def _padded_by_operation(node, inputs):
    before = [first for first, _ in node.operation.pad_width]
    return _shifted(inputs[0], enumerate(before))


@rule("GetItem")
def _sliced(node, inputs):
    key = node.arguments["key"]
    key = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(item, slice) for item in key):
        return {}
    made = dict(inputs[0])
    for axis, item in enumerate(key):
        start, step = item.start or 0, item.step or 1
        if axis in made:
            inside = start >= 0 and step > 0
            made[axis] = (
                window(made[axis], 1, step, 1, -start) if inside else None
            )
    return made


def _sides(node):
    """Axes of the positions, by the layer's `data_format`."""
    rank = len(node.inputs[0].shape)
    found = getattr(node.operation, "data_format", None)
    return range(2, rank) if found == "channels_first" else range(1, rank - 1)


def _before(node, axis, size, stride):
    """How far the window of position 0 begins in the padding."""
    padding = getattr(node.operation, "padding", "valid")
    if padding == "causal":
        return size - 1
    if padding == "valid":
        return 0
    seen, made = node.inputs[0].shape[axis], node.outputs[0].shape[axis]
    if seen is None:  # Of a size that fits.
        seen, made = stride, 1
    return max((made - 1) * stride + size - seen, 0) // 2


def _cut(node, axis, size, stride):
    """How much of the window of position 0 is cut off."""
    if node.operation.padding == "valid":
        return 0
    seen, made = node.inputs[0].shape[axis], node.outputs[0].shape[axis]
    if seen is None:
        seen, made = 1, stride
    return max((seen - 1) * stride + size - made, 0) // 2


def _shifted(strips, before):
    """Positions put in front of each axis, or taken away if negative."""
    widths = dict(before)
    return {a: window(s, 1, before=widths.get(a, 0)) for a, s in strips.items()}


def _first_of_each(widths):
    """What is put in front, of `(1, 2)` or `((1, 2), (3, 4))`."""
    pairs = widths if isinstance(widths[0], (tuple, list)) else [widths]
    return [first for first, _ in pairs]
