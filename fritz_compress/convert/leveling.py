"""Channels scaled so that one 8-bit scale fits all of them.

In an integer file all channels of a tensor share one scale. Where their sizes
differ by a factor of ten, the smallest have 25 values left. Two kinds of
factors per channel change nothing that the network computes:

- in front of an instance normalization, which undoes them. In a style network
  the variances there differ by orders of magnitude, and most of them would
  round to nothing.
- behind a batch normalization, where a relu lets them pass and the kernel of
  the next convolution undoes them (Nagel et al., "Data-Free Quantization
  Through Weight Equalization and Bias Correction",
  https://arxiv.org/abs/1906.04721, section 4.1, with measured activations in
  place of the ranges of weights).
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from fritz_compress import graph
from fritz_compress.convert import export
from fritz_compress.layers import InstanceNormalization

_SILENT = 1e-3  # Of the largest channel: below, there is nothing to level.


def leveled_forms(
    traced: graph.Graph, samples: np.ndarray
) -> dict[graph.Node, export.Form]:
    """Forms that level the channels of normalized convolutions.

    Only convolutions (`Conv2D`) in front of an instance normalization, and
    between a batch normalization and the next convolution nothing else than
    relu and nearest upsampling, each with one reader. What the network
    computes is not changed.

    Args:
        traced: The graph to write.
        samples: Typical inputs, on which channels are measured.

    Returns: what `export.frozen_function` takes, for the nodes concerned.
    """
    readers = _only_readers(traced)
    before, behind = _instance_pairs(readers), _batch_pairs(readers)
    gains = _measured(
        traced,
        dict.fromkeys(before.values(), _inverse_deviation)
        | dict.fromkeys(behind.values(), _inverse_largest),
        samples,
    )
    forms = {}
    for normalization, convolution in behind.items():
        gain = gains[convolution]
        forms[normalization] = functools.partial(_scaled, gain=gain)
        forms[convolution] = functools.partial(_convolution, undone=gain)
    for convolution, normalization in before.items():
        gain = gains[normalization]
        forms[convolution] = functools.partial(
            forms.get(convolution, _convolution), gain=gain
        )
        forms[normalization] = functools.partial(
            export.instance_normalization, gain=gain
        )
    return forms


def _only_readers(traced):
    """The node that alone reads each node's output, or `None`."""
    consumers = traced.consumers()
    readers = {}
    for node in traced.nodes:
        found = consumers.get(node.outputs[0], [])
        alone = len(found) == 1 and node.outputs[0] not in traced.output_tensors
        readers[node] = found[0] if alone else None
    return readers


def _instance_pairs(readers):
    """Instance normalization of each convolution that may be scaled."""
    return {
        node: reader
        for node, reader in readers.items()
        if _is_convolution(node)
        and node.operation.activation is keras.activations.linear
        and reader is not None
        and type(reader.operation) is InstanceNormalization
    }


def _batch_pairs(readers):
    """Convolution that alone reads each batch normalization."""
    pairs = {}
    for node, reader in readers.items():
        while reader is not None and _lets_factors_pass(reader.operation):
            reader = readers[reader]
        if (
            _is_over_channels(node)
            and reader is not None
            and _is_convolution(reader)
            and reader.operation.groups == 1
        ):
            pairs[node] = reader
    return pairs


def _is_over_channels(node):
    layer, last = node.operation, len(node.outputs[0].shape) - 1
    return type(layer) is keras.layers.BatchNormalization and (
        layer.axis in (-1, last)
    )


def _is_convolution(node):
    layer = node.operation
    return (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
    )


def _lets_factors_pass(layer):
    """Whether f(gain * x) = gain * f(x) for positive gains per channel."""
    if type(layer) is keras.layers.UpSampling2D:
        return layer.data_format == "channels_last"
    if type(layer) is keras.layers.ReLU:
        return layer.max_value is None and not layer.threshold
    return (
        type(layer) is keras.layers.Activation
        and layer.activation is keras.activations.relu
    )


def _measured(traced, gain_of, samples):
    """A gain per channel from what comes in at some nodes."""
    seen = {node: [] for node in gain_of}

    def call(node, *args, **kwargs):
        if node in seen:
            seen[node].append(
                (np.var(args[0], (1, 2))[0], np.abs(args[0]).max((0, 1, 2)))
            )
        return export.call_layer(node, *args, **kwargs)

    for sample in samples:
        traced.run([tf.constant(sample[np.newaxis])], call)
    return {
        node: gain(node.operation, *map(np.array, zip(*seen[node])))
        for node, gain in gain_of.items()
    }


def _inverse_deviation(normalization, variances, largest):
    return 1 / np.sqrt(variances.mean(axis=0) + normalization.epsilon)


def _inverse_largest(convolution, variances, largest):
    sizes = largest.max(axis=0)
    loud = sizes > _SILENT * sizes.max()
    gains = np.ones_like(sizes)
    gains[loud] = sizes.max() / sizes[loud]
    return gains


def _scaled(layer, x, gain, **kwargs):
    return layer(x, training=False) * np.float32(gain)


def _convolution(layer, x, gain=1.0, undone=1.0):
    gain = np.float32(gain)
    kernel = layer.kernel * gain / np.float32(undone)[..., np.newaxis]
    outputs = layer.convolution_op(x, kernel)
    if layer.use_bias:
        outputs += layer.bias * gain
    return layer.activation(outputs)
