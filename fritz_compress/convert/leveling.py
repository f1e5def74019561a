"""Kernels scaled so that one 8-bit scale fits the variance of every channel.

An instance normalization undoes any factor on a channel of its input. In an
integer file all channels of a tensor share one scale, and the variances of a
style network's channels differ by orders of magnitude, so most of them would
round to nothing. Multiplying each kernel in front of a normalization by one
number per channel, such that every variance is about 1, costs nothing.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from fritz_compress import graph
from fritz_compress.convert import export
from fritz_compress.layers import InstanceNormalization


def leveled_forms(
    traced: graph.Graph, samples: np.ndarray
) -> dict[graph.Node, export.Form]:
    """Forms that level the convolutions in front of instance normalizations.

    Only a `Conv2D` without activation whose output nothing else reads is
    leveled; what the network computes is not changed.

    Args:
        traced: The graph to write.
        samples: Typical inputs, on which variances are measured.

    Returns: what `export.frozen_function` takes, for the nodes concerned.
    """
    pairs = _pairs(traced)
    gains = _gains(traced, set(pairs.values()), samples)
    forms = {}
    for convolution, normalization in pairs.items():
        gain = gains[normalization]
        forms[convolution] = functools.partial(_convolution, gain=gain)
        forms[normalization] = functools.partial(
            export.instance_normalization, gain=gain
        )
    return forms


def _pairs(traced):
    """Normalization of each convolution that may be scaled."""
    consumers = traced.consumers()
    outputs = set(traced.output_tensors)
    pairs = {}
    for node in traced.nodes:
        readers = consumers.get(node.outputs[0], [])
        if (
            type(node.operation) is keras.layers.Conv2D
            and node.operation.activation is keras.activations.linear
            and [reader.kind for reader in readers]
            == [InstanceNormalization.__name__]
            and node.outputs[0] not in outputs
        ):
            pairs[node] = readers[0]
    return pairs


def _gains(traced, normalizations, samples):
    """1 / sqrt(variance + epsilon) per channel in front of each node."""
    variances = {node: [] for node in normalizations}

    def call(node, *args, **kwargs):
        if node in variances:
            variances[node].append(np.var(args[0], axis=(1, 2)))
        return export.call_layer(node, *args, **kwargs)

    for sample in samples:
        traced.run([tf.constant(sample[np.newaxis])], call)
    return {
        node: 1 / np.sqrt(np.mean(values, axis=(0, 1)) + node.operation.epsilon)
        for node, values in variances.items()
    }


def _convolution(layer, x, gain):
    gain = np.float32(gain)
    outputs = layer.convolution_op(x, layer.kernel * gain)
    return outputs + layer.bias * gain if layer.use_bias else outputs
