"""Layers of several inputs as Core ML layers."""

import math

from fritz_compress.convert.neural_network_rules.common import (
    channels_first,
    refuse,
)
from fritz_compress.convert.neural_network_rules.normalization import (
    add_linear,
)


def _broadcasts(shapes):
    """Whether Core ML repeats the smaller shapes along the largest."""
    full = max(shapes, key=math.prod)
    return all(
        len(shape) == len(full)
        and shape[0] in (1, full[0])
        and shape[1:] in (full[1:], (1,) * (len(full) - 1))
        for shape in shapes
    )


def elementwise(writer, node, sources, target, mode):
    shapes = [channels_first(t.shape, node.operation.name) for t in node.inputs]
    if not _broadcasts(shapes):
        refuse(node, f"shapes {shapes} (channels first) do not combine there.")
    # The result has the shape of the first blob.
    order = sorted(range(len(shapes)), key=lambda i: -math.prod(shapes[i]))
    writer.builder.add_elementwise(
        writer.layer(), [sources[i] for i in order], target, mode
    )


def subtract(writer, node, sources, target):
    negative = writer.blob()
    add_linear(writer, -1, 0, sources[1], negative)
    elementwise(writer, node, [sources[0], negative], target, "ADD")


def concatenate(writer, node, sources, target):
    if node.operation.axis not in (-1, len(node.outputs[0].shape) - 1):
        refuse(node, f"axis must be the last, not {node.operation.axis}.")
    writer.builder.add_elementwise(writer.layer(), sources, target, "CONCAT")


def arithmetic(writer, node, sources, target, mode, with_number):
    """`x + y` between tensors, or between a tensor and a number."""
    if len(node.inputs) == 2:
        return mode(writer, node, sources, target)
    values = [*node.args, *node.kwargs.values()]
    numbers = [v for v in values if isinstance(v, (int, float))]
    if len(values) != 2 or len(numbers) != 1:
        refuse(node, "it combines a tensor with an array of constants.")
    scale, offset = with_number(numbers[0], values[0] is numbers[0])
    add_linear(writer, scale, offset, sources[0], target)
