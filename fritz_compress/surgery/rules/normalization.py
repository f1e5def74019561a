"""Normalizations: each channel on its own, or over all of them."""

import numpy as np
from keras import layers

from fritz_compress.layers import InstanceNormalization, StandardizeImage
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.values import Strand, Value

_OVER_CHANNELS = "takes its statistics over several channels"


@rule(layers.BatchNormalization)
def batch(call: Call) -> list[Value]:
    axis = call.operation.axis
    strand = call.strand(axis)
    labels = strand.labels
    call.weight("gamma", makes={0: labels})
    call.weight("beta", makes={0: labels})
    # The mean of a channel that comes in as something else than zero is not
    # for us to zero: training moves it, and a scale of zero silences it.
    kind = "reads" if strand.revived.any() else "makes"
    call.weight("moving_mean", **{kind: {0: labels}})
    call.weight("moving_variance", reads={0: labels})
    return [_normalized(call, axis, call.operation.scale)]


@rule(InstanceNormalization)
def instance(call: Call) -> list[Value]:
    call.only(-1)
    call.weight("gamma", makes={0: call.channels()})
    call.weight("beta", makes={0: call.channels()})
    return [_normalized(call, -1, scale=True)]


@rule(StandardizeImage)
def standardized(call: Call) -> list[Value]:
    call.only(-1)
    return [_normalized(call, -1, scale=False)]


@rule(layers.GroupNormalization)
def group(call: Call) -> list[Value]:
    layer = call.operation
    call.only(layer.axis)
    labels = call.channels(layer.axis)
    call.weight("gamma", makes={0: labels})
    call.weight("beta", makes={0: labels})
    # Once built, `groups=-1` reads as the number of channels.
    if layer.groups in (-1, len(labels)):
        call.configure("groups", labels, lambda kept: -1)
    else:
        _statistics(call, labels)
        call.balance(labels, layer.groups)
    return [_normalized(call, layer.axis, layer.scale)]


@rule(layers.LayerNormalization, layers.RMSNormalization)
def over_channels(call: Call) -> list[Value]:
    layer, rank = call.operation, len(call.shape())
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    axes = sorted(axis % rank for axis in axes)
    strands = call.input().strands
    makes = {}
    for place, axis in enumerate(axes):
        if axis in strands:
            _statistics(call, strands[axis].labels)
            makes[place] = strands[axis].labels
    for attribute in ("gamma", "beta", "scale"):
        call.weight(attribute, makes=makes)
    scale = "gamma" if isinstance(layer, layers.LayerNormalization) else "scale"
    scaled = getattr(layer, scale, None) is not None
    value = _revived(call)
    kept = {a: _zero(strands[a]) for a in axes if a in strands and scaled}
    return [call.output({**value, **kept})]


@rule(layers.UnitNormalization)
def unit(call: Call) -> list[Value]:
    """Zeros add nothing to a sum of squares."""
    axes = call.operation.axis
    rank = len(call.shape())
    for axis in [axes] if isinstance(axes, int) else axes:
        strand = call.input().strands.get(axis % rank)
        if strand is not None:
            call.reads(strand)
    return [call.input()]


@rule(layers.Normalization)
def adapted(call: Call) -> list[Value]:
    layer, rank = call.operation, len(call.shape())
    axes = _axes(layer.axis, rank)
    strands = call.input().strands
    reads = {
        place: strands[axis].labels
        for place, axis in enumerate(axes)
        if axis in strands
    }
    if reads and layer.input_mean is not None:
        raise Whole("has constants of its own for every channel")
    call.weight("adapt_mean", reads=reads)
    call.weight("adapt_variance", reads=reads)
    call.weight("count")
    return [call.output(_revived(call))]


@rule("LayerScale")
def layer_scale(call: Call) -> list[Value]:
    labels = call.channels()
    call.weight("gamma", makes={0: labels})
    if "projection_dim" in call.operation.get_config():
        call.configure("projection_dim", labels)
    return [_with(call, -1, _zero(call.strand()))]


def _axes(axis, rank):
    axes = () if axis is None else (axis,) if isinstance(axis, int) else axis
    return sorted(a % rank for a in axes)


def _statistics(call, labels):
    if not call.flow.prune_normalized:
        call.freeze(labels, _OVER_CHANNELS)


def _normalized(call, axis, scale):
    """A scale of zero silences a channel whatever comes in."""
    strand = call.strand(axis)
    return _with(call, axis, _zero(strand) if scale else strand)


def _with(call, axis, strand):
    """Other axes are shifted by this one's weights, and so revived."""
    axis %= len(call.shape())
    if axis not in call.input().strands:
        return call.output(_revived(call))
    return call.output({**_revived(call), axis: strand})


def _revived(call):
    strands = call.input().strands
    return {a: s.revived_by(call.number) for a, s in strands.items()}


def _zero(strand):
    return Strand(strand.labels, np.zeros_like(strand.revived))
