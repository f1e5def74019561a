"""What layers with simulated integers become in a TFLite file.

The converter takes integers, scales and zero points from TensorFlow's fake
quantization, provided that it stands directly in front of the operation that
reads a kernel, and directly behind the one that makes an activation.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fritz_compress import graph
from fritz_compress.convert import export, flatbuffer
from fritz_compress.layers import (
    ActivationRange,
    ConcatenationRange,
    QuantizedLayer,
    RangeRounding,
)
from fritz_compress.layers.linear_operations import operation_of

_RELUS = {"linear": tf.identity, "relu": tf.nn.relu, "relu6": tf.nn.relu6}


def is_aware(traced: graph.Graph) -> bool:
    """Whether a graph has simulated integers."""
    return any(type(node.operation) in FORMS for node in traced.nodes)


def check_quantization(traced: graph.Graph, quantization: str | None) -> None:
    """Whether a graph with simulated integers can be written as asked.

    Raises:
        ValueError: for another quantization than its own, for bits that TFLite
            has no integers of, or for a kernel that was left float.
    """
    if quantization not in (None, "int8"):
        raise ValueError(
            f"Model '{traced.model.name}' has simulated integers already, and "
            f"is written with these. Received: quantization='{quantization}'. "
            "Leave it out, or convert the float model."
        )
    for node in traced.nodes:
        if type(node.operation) is QuantizedLayer:
            _check_bits(node.operation)
        elif operation_of(node.operation) is not None:
            raise ValueError(
                f"Layer '{node.operation.name}' ({node.kind}) was left float "
                "among layers with simulated integers. The converter would "
                "make integers of it that no training has seen. Quantize it, "
                "to 8 bits if need be."
            )


def _check_bits(layer):
    nbits = layer.quantizer.nbits
    # TFLite's transposed convolution has 8 bits alone.
    transposed = type(layer.layer) is keras.layers.Conv2DTranspose
    known = (8,) if transposed else (4, 8)
    if nbits not in known:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer.layer).__name__}) has weights "
            f"of {nbits} bits; TFLite has integers of {known} bits for it. Set "
            "`weight_bits` of this layer in the config of "
            "`quantization_aware`."
        )


def forms_of(traced: graph.Graph) -> dict[graph.Node, export.Form]:
    """The forms of the nodes with simulated integers."""
    return {
        node: FORMS[type(node.operation)]
        for node in traced.nodes
        if type(node.operation) in FORMS
    }


def activation_range(
    layer: ActivationRange,
    x: tf.Tensor,
    requantization: tf.Tensor | None = None,
    training=False,
):
    """One fake quantization with constants for its ends."""
    with tf.init_scope():  # Numbers, where the rest are symbols.
        ends = np.append(layer.range.numpy(), activation_scale(layer))
    return _rounded(layer.quantizer, x, ends), tf.constant(ends)


def concatenation_range(
    layer: ConcatenationRange,
    inputs: list[tf.Tensor],
    input_ranges=(),
    requantizations=(),
    training=False,
):
    """A concatenation; the converter rescales what has another range."""
    return activation_range(layer, tf.concat(inputs, layer.axis))


def range_rounding(layer: RangeRounding, x: tf.Tensor, input_range: tf.Tensor):
    """Fake quantization with the range of another tensor."""
    return _rounded(layer.quantizer, x, tf.get_static_value(input_range))


def quantized_layer(
    layer: QuantizedLayer,
    x: tf.Tensor,
    input_range: tf.Tensor,
    training=False,
):
    """One operation of TFLite, its kernel behind a fake quantization."""
    step = tf.get_static_value(input_range)[2]
    with tf.init_scope():
        kernel, limit, bias = layer.folded(step)
        kernel, limit = kernel.numpy(), limit.numpy()
        bias = None if bias is None else bias.numpy()
    quantizer = layer.quantizer
    if type(layer.layer) in _SCALED_LATER:
        kernel, bias = kernel / limit, None if bias is None else bias / limit
        limit = np.float32(1)

    def integers(shape):
        return quantizer(tf.reshape(tf.constant(kernel), shape), -limit, limit)

    def finish(outputs):
        outputs = outputs if bias is None else tf.nn.bias_add(outputs, bias)
        return _RELUS[layer.activation](outputs)

    operation = _OPERATIONS[type(layer.layer)]
    outputs = operation(layer.layer, x, kernel.shape, integers, finish)
    return outputs, tf.zeros((2, kernel.shape[-1]))  # Not read.


def set_channel_scales(model: Any, traced: graph.Graph) -> None:
    """Gives the kernels that were written with one scale their own, in place.

    The converter cannot turn a kernel with a scale per channel, as dense
    layers and transposed convolutions need it. So it is handed kernel and
    bias divided by the largest number of each channel: the same integers, all
    with one scale, which is multiplied here.

    Args:
        model: A `ModelT` object of the file, with the names of its tensors.
        traced: The graph that it was made of.
    """
    for number, node in enumerate(traced.nodes):
        layer = node.operation
        if type(layer) is QuantizedLayer and type(layer.layer) in _SCALED_LATER:
            source = _producers(traced)[node.inputs[1]]
            step = activation_scale(source.operation)
            _, limit, _ = layer.folded(step)
            flatbuffer.multiply_scales(model, number, limit.numpy())


def activation_scale(layer: ActivationRange) -> np.float32:
    """Width of a step of what leaves a range."""
    low, high = layer.range.numpy()
    step, _ = layer.quantizer.scale_and_zero(low, high)
    return np.float32(step)


def _producers(traced):
    return {t: node for node in traced.nodes for t in node.outputs}


def _convolution(layer, x, shape, integers, finish):
    return finish(
        tf.nn.conv2d(
            x,
            integers(shape),
            layer.strides,
            layer.padding.upper(),
            dilations=layer.dilation_rate,
        )
    )


def _convolution_1d(layer, x, shape, integers, finish):
    """On a picture of one row."""
    padding = layer.padding.upper()
    if padding == "CAUSAL":
        before = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        x = tf.pad(x, [(0, 0), (before, 0), (0, 0)])
        padding = "VALID"
    outputs = tf.nn.conv2d(
        x[:, tf.newaxis],
        integers((1, *shape)),
        (1, *layer.strides),
        padding,
        dilations=(1, *layer.dilation_rate),
    )
    return tf.squeeze(finish(outputs), [1])


def _depthwise(layer, x, shape, integers, finish):
    # The converter knows this reshape, of a kernel's last axis alone.
    kernel = tf.reshape(integers(shape), layer.kernel.shape)
    return finish(
        tf.nn.depthwise_conv2d(
            x,
            kernel,
            (1, *layer.strides, 1),
            layer.padding.upper(),
            dilations=layer.dilation_rate,
        )
    )


def _depthwise_1d(layer, x, shape, integers, finish):
    """On a picture of one row."""
    kernel = tf.reshape(integers((1, *shape)), (1, *layer.kernel.shape))
    outputs = tf.nn.depthwise_conv2d(
        x[:, tf.newaxis],
        kernel,
        # The operation has one stride for both axes.
        (1, *2 * layer.strides, 1),
        layer.padding.upper(),
        dilations=(1, *layer.dilation_rate),
    )
    return tf.squeeze(finish(outputs), [1])


def _transposed(layer, x, shape, integers, finish):
    kernel = tf.transpose(integers(shape), [0, 1, 3, 2])
    shape = layer.compute_output_shape(x.shape)
    return finish(
        tf.nn.conv2d_transpose(
            x, kernel, shape, layer.strides, layer.padding.upper()
        )
    )


def _dense(layer, x, shape, integers, finish):
    rows = tf.reshape(x, (-1, shape[0]))
    outputs = finish(tf.matmul(rows, integers(shape)))
    return tf.reshape(outputs, (*x.shape[:-1], shape[1]))


_OPERATIONS = {
    keras.layers.Conv1D: _convolution_1d,
    keras.layers.Conv2D: _convolution,
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.Dense: _dense,
    keras.layers.DepthwiseConv1D: _depthwise_1d,
    keras.layers.DepthwiseConv2D: _depthwise,
}
_SCALED_LATER = (keras.layers.Conv2DTranspose, keras.layers.Dense)
FORMS = {
    ActivationRange: activation_range,
    ConcatenationRange: concatenation_range,
    QuantizedLayer: quantized_layer,
    RangeRounding: range_rounding,
}


def _rounded(quantizer, x, ends):
    low, high = float(ends[0]), float(ends[1])
    return tf.quantization.fake_quant_with_min_max_args(
        x, low, high, quantizer.nbits, quantizer.narrow
    )
