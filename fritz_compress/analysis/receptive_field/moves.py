"""Layers that keep every position where it is, move or merge them."""

import dataclasses
import itertools

import numpy as np
from keras import layers

from fritz_compress import layers as ours
from fritz_compress.analysis.receptive_field.strips import merged
from fritz_compress.analysis.receptive_field.table import rule, strips_after
from fritz_compress.graph import Node, Tensor


@rule(
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.BatchNormalization,
    layers.Dropout,
    layers.ELU,
    layers.Embedding,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.LeakyReLU,
    layers.Masking,
    layers.Normalization,
    layers.PReLU,
    layers.ReLU,
    layers.Rescaling,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    ours.ActivationRange,
    ours.ChannelShuffle,
    ours.CropToMatch,
    ours.DeprocessStylizedImage,
    ours.PadToMultiple,
    ours.RangeRounding,
    *"Abs Absolute Cast Clip Elu Erf Exp Gelu HardSigmoid HardSilu".split(),
    *"LeakyRelu Log Negative Relu Relu6 Rsqrt Sigmoid Silu Softplus".split(),
    *"Sqrt Square StopGradient Tanh".split(),
)
def _kept(node, inputs):
    """Number by number, at the place where it was."""
    return inputs[0]


@rule(
    layers.Activation,
    layers.Dense,
    layers.LayerNormalization,
    layers.RMSNormalization,
    layers.Softmax,
    layers.UnitNormalization,
)
def _mixed(node, inputs):
    """All numbers along one axis, or several; the others stay."""
    axes = getattr(node.operation, "axis", -1)
    rank = len(node.inputs[0].shape)
    mixed = {axis % rank for axis in np.atleast_1d(axes)}
    return {a: s for a, s in inputs[0].items() if a not in mixed}


@rule(layers.Permute, "Transpose")
def _permuted(node, inputs):
    operation, rank = node.operation, len(node.inputs[0].shape)
    if isinstance(operation, layers.Permute):
        axes = (0, *operation.dims)
    else:
        axes = operation.axes or range(rank)[::-1]
    return {
        axis: inputs[0][source % rank]
        for axis, source in enumerate(axes)
        if source % rank in inputs[0]
    }


@rule(layers.Reshape, "Reshape")
def _reshaped(node, inputs):
    """Axes in front stay, as far as they have the same sizes."""
    shapes = zip(node.inputs[0].shape, node.outputs[0].shape)
    same = itertools.takewhile(lambda sizes: sizes[0] == sizes[1], shapes)
    kept = sum(1 for _ in same)
    return {a: s for a, s in inputs[0].items() if a < kept}


@rule(
    layers.Add,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Subtract,
    *"Add Divide Maximum Minimum Multiply Subtract TrueDivide".split(),
)
def _together(node, inputs):
    """All that any of them depends on; one position for all is no position."""
    rank, made = len(node.outputs[0].shape), {}
    shapes = [tensor.shape for tensor in node.inputs]
    for axis, size in enumerate(node.outputs[0].shape):
        places = [axis - rank + len(shape) for shape in shapes]
        strips = [
            strips.get(place) if shape[place] == size else None
            for strips, shape, place in zip(inputs, shapes, places)
            if place >= 0
        ]
        if len(strips) == len(inputs) and None not in strips:
            made[axis] = merged(strips)
    return made


@rule(layers.Concatenate, ours.ConcatenationRange, "Concatenate")
def _concatenated(node, inputs):
    values = next(iter(node.arguments.values()))
    count = sum(isinstance(value, Tensor) for value in values)
    strips = inputs[:count]  # Behind them may come their ranges.
    rank = len(node.outputs[0].shape)
    return {
        axis: merged([each[axis] for each in strips])
        for axis in set.intersection(*map(set, strips))
        if axis != node.operation.axis % rank
    }


@rule(ours.QuantizedLayer, layers.SpectralNormalization)
def _inside(node, inputs):
    inner = dataclasses.replace(node, operation=node.operation.layer)
    return strips_after(inner, inputs)


@rule(layers.TimeDistributed)
def _at_every_step(node, inputs):
    """What the layer does to the other axes; steps stay apart."""
    inner = Node(
        node.operation.layer,
        tuple(_without_time(tensor) for tensor in node.inputs),
        {},
        tuple(_without_time(tensor) for tensor in node.outputs),
    )
    strips = [{a - 1: s for a, s in each.items() if a > 1} for each in inputs]
    made = strips_after(inner, strips)
    kept = {1: inputs[0].get(1)}
    return kept | {axis + 1: strip for axis, strip in made.items()}


def _without_time(tensor):
    return Tensor((tensor.shape[0], *tensor.shape[2:]), tensor.dtype)
