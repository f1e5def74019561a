"""Layers that change heights and widths as Core ML layers."""

from fritz_compress.convert.neural_network_rules.common import (
    channels_first,
    check_channels_last,
    refuse,
)


def up_sampling2d(writer, node, sources, target):
    layer = node.operation
    check_channels_last(node)
    if layer.interpolation not in ("nearest", "bilinear"):
        refuse(node, f"interpolation '{layer.interpolation}' is unknown.")
    nearest = layer.interpolation == "nearest"
    writer.builder.add_upsample(
        writer.layer(),
        *layer.size,
        sources[0],
        target,
        mode="NN" if nearest else "BILINEAR",
        # TensorFlow's half-pixel centers; needs iOS 14.
        linear_upsample_mode="DEFAULT" if nearest else "ALIGN_CORNERS_FALSE",
    )


def pooling2d(writer, node, sources, target, kind):
    layer = node.operation
    check_channels_last(node)
    writer.builder.add_pooling(
        writer.layer(),
        *layer.pool_size,
        *layer.strides,
        kind,
        layer.padding.upper(),
        sources[0],
        target,
        exclude_pad_area=True,  # TensorFlow averages what is inside only.
    )


def global_pooling2d(writer, node, sources, target, kind):
    check_channels_last(node)
    writer.builder.add_pooling(
        writer.layer(),
        1,
        1,
        1,
        1,
        kind,
        "VALID",
        *sources,
        target,
        is_global=True,
    )


def zero_padding2d(writer, node, sources, target):
    check_channels_last(node)
    (top, bottom), (left, right) = node.operation.padding
    writer.builder.add_padding(
        writer.layer(), left, right, top, bottom, 0, sources[0], target
    )


def cropping2d(writer, node, sources, target):
    check_channels_last(node)
    (top, bottom), (left, right) = node.operation.cropping
    writer.builder.add_crop(
        writer.layer(), left, right, top, bottom, [0, 0], sources, target
    )


def pad_to_multiple(writer, node, sources, target):
    (height, width), (new_height, new_width) = _sizes(node)
    writer.builder.add_padding(
        writer.layer(),
        0,
        new_width - width,
        0,
        new_height - height,
        None,
        sources[0],
        target,
        padding_type="reflection",
    )


def crop_to_match(writer, node, sources, target):
    (height, width), (new_height, new_width) = _sizes(node)
    edges = (0, width - new_width, 0, height - new_height)
    writer.builder.add_crop(writer.layer(), *edges, [0, 0], sources[:1], target)


def depth_to_space(writer, node, sources, target):
    writer.builder.add_reorganize_data(
        writer.layer(),
        sources[0],
        target,
        mode="DEPTH_TO_SPACE",  # In TensorFlow's order of channels.
        block_size=node.operation.block_size,
    )


def flatten(writer, node, sources, target):
    check_channels_last(node)
    # Mode 1 is CHANNEL_LAST: numbers in the order in which Keras has them.
    writer.builder.add_flatten(writer.layer(), 1, sources[0], target)


def reshape(writer, node, sources, target):
    shape = channels_first(node.outputs[0].shape, node.operation.name)
    writer.builder.add_reshape(
        writer.layer(), sources[0], target, (*shape, 1, 1)[:3], 1
    )


def _sizes(node):
    """(height, width) of the first input and of the output."""
    return node.inputs[0].shape[1:3], node.outputs[0].shape[1:3]
