"""Pooling, padding, resampling: channels stay, their positions change."""

from keras import layers

from fritz_compress.surgery.flow import Call, Value, Whole
from fritz_compress.surgery.rules.table import channel_axis, rule


@rule(
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
)
def resample(call: Call) -> list[Value]:
    axis = channel_axis(call.operation)
    return [call.output(call.channels(axis), axis, call.revived(axis))]


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
    after = axis if layer.keepdims else -1
    return [call.output(call.channels(axis), after, call.revived(axis))]
