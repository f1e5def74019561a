"""Convolutions and dense layers as Core ML layers."""

import keras
import numpy as np

from fritz_compress.convert.neural_network_rules.activations import (
    add_activation,
)
from fritz_compress.convert.neural_network_rules.common import (
    array,
    check_channels_last,
    refuse,
)


def _with_activation(writer, layer, target, add):
    """Calls `add(name of the result)`, then applies the fused activation."""
    if layer.activation is keras.activations.linear:
        return add(target)
    between = writer.blob()
    add(between)
    add_activation(writer, layer.activation, layer.name, between, target)


def add_convolution(
    writer,
    kernel,
    bias,
    source,
    target,
    groups=1,
    layer=None,
    padding=None,
):
    """A convolution with a kernel of (height, width, in / groups, out)."""
    height, width, kernel_channels, filters = kernel.shape
    writer.builder.add_convolution(
        writer.layer(),
        kernel_channels=kernel_channels,
        output_channels=filters,
        height=height,
        width=width,
        stride_height=layer.strides[0] if layer else 1,
        stride_width=layer.strides[1] if layer else 1,
        # 'same' with its default asymmetry pads bottom and right more, as
        # TensorFlow does.
        border_mode=padding or (layer.padding if layer else "valid"),
        groups=groups,
        W=kernel,
        b=bias,
        has_bias=bias is not None,
        input_name=source,
        output_name=target,
        dilation_factors=list(layer.dilation_rate) if layer else [1, 1],
    )


def _bias(layer):
    return array(layer.bias) if layer.use_bias else None


def conv2d(writer, node, sources, target):
    layer = node.operation
    kernel = array(layer.kernel)
    _one_convolution(writer, node, sources, target, kernel, layer.groups)


def depthwise_conv2d(writer, node, sources, target):
    kernel = node.operation.kernel
    groups = kernel.shape[2]
    kernel = by_channel(kernel)
    _one_convolution(writer, node, sources, target, kernel, groups)


def _one_convolution(writer, node, sources, target, kernel, groups):
    layer = node.operation
    check_channels_last(node)

    def add(result):
        bias = _bias(layer)
        add_convolution(writer, kernel, bias, sources[0], result, groups, layer)

    _with_activation(writer, layer, target, add)


def by_channel(kernel):
    """(height, width, channels, multiplier) as kernel of a grouped one."""
    return array(kernel).reshape(*kernel.shape[:2], 1, -1)


def separable_conv2d(writer, node, sources, target):
    layer = node.operation
    check_channels_last(node)
    between, depthwise = writer.blob(), layer.depthwise_kernel
    add_convolution(
        writer,
        by_channel(depthwise),
        None,
        sources[0],
        between,
        depthwise.shape[2],
        layer,
    )

    def add(result):
        pointwise = array(layer.pointwise_kernel)
        add_convolution(writer, pointwise, _bias(layer), between, result)

    _with_activation(writer, layer, target, add)


def conv2d_transpose(writer, node, sources, target):
    layer = node.operation
    check_channels_last(node)
    if layer.output_padding is not None or set(layer.dilation_rate) != {1}:
        refuse(node, "it has output_padding or a dilation_rate.")

    def add(result):
        _add_deconvolution(writer, layer, sources[0], result)

    _with_activation(writer, layer, target, add)


def _add_deconvolution(writer, layer, source, target):
    kernel = array(layer.kernel).transpose(0, 1, 3, 2)
    # A stride longer than the kernel leaves gaps: a kernel of zeros fills them.
    missing = [max(s - k, 0) for s, k in zip(layer.strides, kernel.shape)]
    kernel = np.pad(kernel, [(0, missing[0]), (0, missing[1]), (0, 0), (0, 0)])
    # TensorFlow cuts the surplus of 'same' evenly, the odd row at the end.
    rows, columns = (
        (k - s) * (layer.padding == "same")
        for k, s in zip(kernel.shape, layer.strides)
    )
    writer.builder.add_convolution(
        writer.layer(),
        kernel_channels=kernel.shape[2],
        output_channels=kernel.shape[3],
        height=kernel.shape[0],
        width=kernel.shape[1],
        stride_height=layer.strides[0],
        stride_width=layer.strides[1],
        border_mode="valid",
        groups=1,
        W=kernel,
        b=_bias(layer),
        has_bias=layer.use_bias,
        is_deconv=True,
        input_name=source,
        output_name=target,
        padding_top=rows // 2,
        padding_bottom=rows - rows // 2,
        padding_left=columns // 2,
        padding_right=columns - columns // 2,
    )


def dense(writer, node, sources, target):
    layer = node.operation
    kernel = array(layer.kernel)

    rank = len(node.inputs[0].shape)

    def add(result):
        add_dense(writer, kernel, _bias(layer), sources[0], result, rank)

    _with_activation(writer, layer, target, add)


def add_dense(writer, kernel, bias, source, target, rank):
    """A product with a kernel of (in, out), of the channels of a picture."""
    if rank == 4:
        kernel = kernel[None, None]
        return add_convolution(writer, kernel, bias, source, target)
    writer.builder.add_inner_product(
        writer.layer(),
        W=kernel.T,
        b=bias,
        input_channels=kernel.shape[0],
        output_channels=kernel.shape[1],
        has_bias=bias is not None,
        input_name=source,
        output_name=target,
    )
