"""Layers with kernels, and what is written as one."""

import keras
import numpy as np

from fritz_compress import quantizers
from fritz_compress.layers import QuantizedLayer
from fritz_compress.layers.linear_operations import operation_of
from fritz_compress.layers.requantization import rounds_twice
from fritz_compress.quantization import aware_preserving as preserving
from fritz_compress.quantization.aware_building import (
    Builder,
    Value,
    cloned,
    copy_weights,
)
from fritz_compress.quantization.aware_chains import Chain, relu_name
from fritz_compress.quantization.aware_rules.activations import activated


def weighted(builder: Builder, chain: Chain, inputs: Value):
    """A convolution or dense layer with what is folded into it."""
    layer = chain.first.operation
    if getattr(layer, "data_format", "") == "channels_first":
        return None
    inputs = builder.integers(inputs, layer.name)
    fused = _fused(chain)
    quantized = builder.once(
        chain.key,
        lambda: _quantized(builder, chain, layer, chain.normalization, fused),
    )
    value = _applied(quantized, inputs)
    return _finished(builder, chain, value, fused)


def separable(builder: Builder, chain: Chain, inputs: Value):
    """A depthwise and a pointwise convolution, as TFLite has it."""
    layer = chain.first.operation
    if layer.data_format == "channels_first":
        return None
    inputs = builder.integers(inputs, layer.name)
    fused = _fused(chain)

    def make():
        depthwise, pointwise = _separated(layer)
        return (
            _quantized(builder, chain, depthwise),
            _quantized(builder, chain, pointwise, chain.normalization, fused),
        )

    depthwise, pointwise = builder.once(chain.key, make)
    middle = _applied(depthwise, inputs)
    middle = builder.measured(
        middle.tensor,
        depthwise.name,
        requantization=middle.requantization,
    )
    value = _applied(pointwise, middle)
    return _finished(builder, chain, value, fused)


def normalization(builder: Builder, chain: Chain, inputs: Value):
    """A batch normalization that follows no layer to be folded into.

    A depthwise convolution of one position: its integers are all 127 or -127,
    so that no factor is rounded. Fewer bits would save next to nothing.
    """
    layer = chain.first.operation
    inputs = builder.integers(inputs, layer.name)
    shape = inputs.tensor.shape

    def make():
        ones = keras.layers.DepthwiseConv2D(1, use_bias=False, name=layer.name)
        ones.build((None, 1, 1, shape[-1]))
        ones.kernel.assign(np.ones(ones.kernel.shape))
        ones.trainable = False
        return _quantized(builder, chain, ones, layer, chain.activation, 8)

    quantized = builder.once(chain.key, make)
    outputs = builder.with_rank_four(
        inputs.tensor, lambda x: quantized(x, inputs.range)[0], layer.name
    )
    return _finished(builder, chain, Value(outputs), chain.activation)


def _quantized(
    builder, chain, source, normalization=None, fused=None, nbits=None
):
    """The new layer of a chain, `source` in it with a normalization."""
    settings = builder.config.of(chain.first.operation)
    kernel = operation_of(source).turn(source.kernel)
    kernel = keras.ops.convert_to_numpy(kernel)
    found = None
    if "codebooks" in settings.preserve and source.trainable:
        found = preserving.clusters_of(kernel)
    quantized = QuantizedLayer(
        cloned(source, activation="linear"),
        normalization and cloned(normalization),
        fused or "linear",
        quantizers.LinearSymmetric(nbits or settings.weight_bits),
        keep_zeros="zeros" in settings.preserve and not kernel.all(),
        clusters=found.count if found else 0,
        per_channel=found is None or found.per_channel,
        name=builder.name(source.name),
    )

    def finish():
        copy_weights(source, quantized.layer)
        if normalization is not None:
            copy_weights(normalization, quantized.normalization)
        quantized.remember(found and found.members)

    builder.finishing.append(finish)
    return quantized


def _fused(chain):
    """Name of the ReLU of a layer, `None` for what is not fused."""
    if len(chain.nodes) > 1:
        return chain.activation
    return relu_name(chain.first.operation.activation)


def _applied(quantized, inputs):
    """The sums of a layer, and how they are rounded if that is twice."""
    outputs, how = quantized(inputs.tensor, inputs.range)
    twice = rounds_twice(quantized.layer, quantized.quantizer.nbits)
    return Value(outputs, None, how if twice else None)


def _finished(builder, chain, value, fused):
    """The range of the result, and the activation that was not fused."""
    how = value.requantization
    if fused is not None:
        low = 0.0 if fused != "linear" else None
        return builder.result(chain, value.tensor, low, how)
    layer = chain.first.operation
    value = builder.measured(value.tensor, layer.name, requantization=how)
    return activated(builder, value, layer.activation, layer.name)


def _separated(layer):
    """Both halves of a separable convolution, with its weights."""
    depthwise = keras.layers.DepthwiseConv2D(
        layer.kernel_size,
        layer.strides,
        layer.padding,
        layer.depth_multiplier,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
        name=f"{layer.name}_depthwise",
    )
    pointwise = keras.layers.Conv2D(
        layer.filters,
        1,
        use_bias=layer.use_bias,
        activation=layer.activation,
        name=layer.name,
    )
    channels = layer.depthwise_kernel.shape[2]
    depthwise.build((None, None, None, channels))
    pointwise.build((None, None, None, channels * layer.depth_multiplier))
    # Copies: JAX may delete the array of a variable that it computes with.
    copy = keras.ops.convert_to_numpy
    depthwise.kernel.assign(copy(layer.depthwise_kernel))
    pointwise.kernel.assign(copy(layer.pointwise_kernel))
    if layer.use_bias:
        pointwise.bias.assign(copy(layer.bias))
    depthwise.trainable = pointwise.trainable = layer.trainable
    return depthwise, pointwise


LAYERS = {
    keras.layers.Conv1D: weighted,
    keras.layers.Conv2D: weighted,
    keras.layers.Conv2DTranspose: weighted,
    keras.layers.Dense: weighted,
    keras.layers.DepthwiseConv1D: weighted,
    keras.layers.DepthwiseConv2D: weighted,
    keras.layers.SeparableConv2D: separable,
}
