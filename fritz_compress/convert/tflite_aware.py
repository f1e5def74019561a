"""What layers with simulated integers become in a TFLite file.

The converter takes integers, scales and zero points from TensorFlow's fake
quantization, provided that it stands directly in front of the operation that
reads a kernel, and directly behind the one that makes an activation.
"""

import keras
import numpy as np
import tensorflow as tf

from fritz_compress import graph
from fritz_compress.convert import export
from fritz_compress.layers import (
    ActivationRange,
    ConcatenationRange,
    QuantizedLayer,
    RangeRounding,
)

_RELUS = {"linear": tf.identity, "relu": tf.nn.relu, "relu6": tf.nn.relu6}


def is_aware(traced: graph.Graph) -> bool:
    """Whether a graph has simulated integers."""
    return any(type(node.operation) in FORMS for node in traced.nodes)


def check_quantization(traced: graph.Graph, quantization: str | None) -> None:
    """Whether a graph with simulated integers can be written as asked.

    Raises:
        ValueError: for another quantization than its own, or for bits that
            TFLite has no integers of.
    """
    if quantization not in (None, "int8"):
        raise ValueError(
            f"Model '{traced.model.name}' has simulated integers already, and "
            f"is written with these. Received: quantization='{quantization}'. "
            "Leave it out, or convert the float model."
        )
    for node in traced.nodes:
        if type(node.operation) is QuantizedLayer:
            nbits = node.operation.quantizer.nbits
            if nbits not in (4, 8):
                raise ValueError(
                    f"Layer '{node.operation.name}' has weights of {nbits} "
                    "bits; TFLite has integers of 4 and 8. Pass "
                    "`weight_bits=4` to `quantization_aware`."
                )


def forms_of(traced: graph.Graph) -> dict[graph.Node, export.Form]:
    """The forms of the nodes with simulated integers."""
    return {
        node: FORMS[type(node.operation)]
        for node in traced.nodes
        if type(node.operation) in FORMS
    }


def activation_range(layer: ActivationRange, x: tf.Tensor, training=False):
    """One fake quantization with constants for its ends."""
    with tf.init_scope():  # Numbers, where the rest are symbols.
        low, high = (float(end) for end in layer.range.numpy())
        step, _ = layer.quantizer.scale_and_zero(low, high)
        ends = tf.constant([low, high, float(step)]).numpy()
    return _rounded(layer.quantizer, x, ends), tf.constant(ends)


def concatenation_range(
    layer: ConcatenationRange,
    inputs: list[tf.Tensor],
    input_ranges=(),
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
    inner = layer.layer
    quantizer = layer.quantizer

    def integers(shape):
        return tf.quantization.fake_quant_with_min_max_vars_per_channel(
            tf.reshape(tf.constant(kernel), shape),
            -limit,
            limit,
            quantizer.nbits,
            quantizer.narrow,
        )

    def finish(outputs):
        outputs = outputs if bias is None else tf.nn.bias_add(outputs, bias)
        return _RELUS[layer.activation](outputs)

    return _OPERATIONS[type(inner)](inner, x, kernel.shape, integers, finish)


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


def _transposed(layer, x, shape, integers, finish):
    kernel = tf.transpose(integers(shape), [0, 1, 3, 2])
    shape = layer.compute_output_shape(x.shape)
    return finish(
        tf.nn.conv2d_transpose(
            x, kernel, shape, layer.strides, layer.padding.upper()
        )
    )


def _dense(layer, x, shape, integers, finish):
    """A convolution: TFLite's dense layers cannot have a scale per unit."""
    outputs = tf.nn.conv2d(
        tf.reshape(x, (1, -1, 1, shape[0])),
        integers((1, 1, *shape)),
        1,
        "VALID",
    )
    return tf.reshape(finish(outputs), (*x.shape[:-1], shape[1]))


_OPERATIONS = {
    keras.layers.Conv1D: _convolution_1d,
    keras.layers.Conv2D: _convolution,
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.Dense: _dense,
    keras.layers.DepthwiseConv2D: _depthwise,
}
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
