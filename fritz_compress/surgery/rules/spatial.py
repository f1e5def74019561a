"""Pooling, padding, resampling: channels stay, their positions change."""

from keras import layers

from fritz_compress.layers import CropToMatch, PadToMultiple
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.table import channel_axis, rule
from fritz_compress.surgery.values import Value


@rule(
    layers.AdaptiveAveragePooling1D,
    layers.AdaptiveAveragePooling2D,
    layers.AdaptiveAveragePooling3D,
    layers.AdaptiveMaxPooling1D,
    layers.AdaptiveMaxPooling2D,
    layers.AdaptiveMaxPooling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
    CropToMatch,
    PadToMultiple,
    *"AdaptiveAveragePool AdaptiveMaxPool AveragePool MaxPool".split(),
)
def resample(call: Call) -> list[Value]:
    axis = channel_axis(call.operation)
    call.only(axis)
    return [call.output({axis: call.strand(axis)})]


@rule(layers.Resizing)
def resizing(call: Call) -> list[Value]:
    if call.operation.pad_to_aspect_ratio:
        raise Whole("pads with a value of its own")
    return resample(call)


@rule(
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)
def pool_all(call: Call) -> list[Value]:
    layer, axis = call.operation, channel_axis(call.operation)
    call.only(axis)
    after = axis if layer.keepdims else -1
    return [call.output({after: call.strand(axis)})]


@rule(*"All Any Amax Amin Argmax Argmin Max Mean Median".split())
@rule(*"Min Prod Std Var".split())
def reduce(call: Call) -> list[Value]:
    """A mean over channels changes with their number, a maximum with each."""
    reduced = _reduced(call)
    for axis, strand in call.input().strands.items():
        if axis in reduced:
            call.freeze(strand.labels, "reduces all of its channels to one")
    value = _without(call, reduced)
    if getattr(call.operation, "initial", None) is None:
        return [value]
    return [
        call.output(
            {a: s.revived_by(call.number) for a, s in value.strands.items()}
        )
    ]


@rule("Sum")
def add_up(call: Call) -> list[Value]:
    """Zeros add nothing to a sum."""
    reduced = _reduced(call)
    for axis, strand in call.input().strands.items():
        if axis in reduced:
            call.reads(strand)
    return [_without(call, reduced)]


@rule("Cumsum", "Cumprod")
def accumulate(call: Call) -> list[Value]:
    """Along positions every channel is alone."""
    if call.operation.axis is None:
        raise Whole("adds up over all axes")
    call.only(*(set(range(len(call.shape()))) - _reduced(call)))
    return [call.input()]


def _reduced(call):
    rank, axis = len(call.shape()), call.operation.axis
    if axis is None:
        return set(range(rank))
    return {a % rank for a in ([axis] if isinstance(axis, int) else axis)}


def _without(call, reduced):
    keepdims = call.operation.keepdims
    return call.output(
        {
            axis - (0 if keepdims else sum(r < axis for r in reduced)): strand
            for axis, strand in call.input().strands.items()
            if axis not in reduced
        }
    )
