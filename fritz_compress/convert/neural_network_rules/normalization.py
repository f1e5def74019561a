"""Normalization and scaling as Core ML layers."""

import numpy as np

from fritz_compress.convert.neural_network_rules.common import array, refuse


def batch_normalization(writer, node, sources, target):
    layer = node.operation
    rank = len(node.inputs[0].shape)
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    if [axis % rank for axis in axes] != [rank - 1]:
        refuse(node, f"it must normalize the last axis, not {layer.axis}.")
    mean = array(layer.moving_mean)
    writer.builder.add_batchnorm(
        writer.layer(),
        channels=mean.size,
        gamma=array(layer.gamma) if layer.scale else np.ones_like(mean),
        beta=array(layer.beta) if layer.center else np.zeros_like(mean),
        mean=mean,
        variance=array(layer.moving_variance),
        input_name=sources[0],
        output_name=target,
        epsilon=layer.epsilon,
    )


def instance_normalization(writer, node, sources, target):
    layer = node.operation
    writer.builder.add_batchnorm(
        writer.layer(),
        channels=layer.gamma.shape[0],
        gamma=array(layer.gamma),
        beta=array(layer.beta),
        input_name=sources[0],
        output_name=target,
        compute_mean_var=True,
        instance_normalization=True,
        epsilon=layer.epsilon,
    )


def add_linear(writer, scale, offset, source, target):
    """Writes `scale * x + offset`."""
    writer.builder.add_activation(
        writer.layer(), "LINEAR", source, target, [float(scale), float(offset)]
    )


def rescaling(writer, node, sources, target):
    layer = node.operation
    scale, offset = np.float32(layer.scale), np.float32(layer.offset)
    if scale.ndim == offset.ndim == 0:
        return add_linear(writer, scale, offset, sources[0], target)
    channels = node.inputs[0].shape[-1]
    if not {scale.size, offset.size} <= {1, channels}:
        refuse(node, "scale and offset must be numbers or one per channel.")
    writer.builder.add_scale(
        writer.layer(),
        W=scale.reshape(-1),
        b=offset.reshape(-1),
        has_bias=True,
        input_name=sources[0],
        output_name=target,
        shape_scale=[scale.size],
        shape_bias=[offset.size],
    )


def deprocess(writer, node, sources, target):
    pixels = np.full(1, 127.5, "float32")  # (x + 1) * 127.5
    writer.builder.add_scale(
        writer.layer(), pixels, pixels, True, sources[0], target
    )
