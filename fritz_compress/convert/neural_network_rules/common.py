"""What the rules share."""

import numpy as np

from fritz_compress.convert.errors import ConversionError


def channels_first(shape, name) -> tuple[int, ...]:
    """`(channels, height, width)` or `(features,)` of a Keras shape.

    Args:
        shape: Shape with a batch axis; the others must be known.
        name: Layer, for the error.

    Raises:
        ConversionError: for other than two or four axes.

    >>> channels_first((None, 480, 640, 3), "image")
    (3, 480, 640)
    """
    if len(shape) not in (2, 4) or None in shape[1:]:
        raise ConversionError(
            f"Layer '{name}': a Core ML neural network of this package holds "
            "values of shape (batch, height, width, channels) or (batch, "
            f"features), all sizes known. Received: {tuple(shape)}. Write a "
            ".mlpackage, which knows other shapes, or leave the layer out."
        )
    if len(shape) == 2:
        return (int(shape[1]),)
    return (int(shape[3]), int(shape[1]), int(shape[2]))


def refuse(node, reason):
    """Raises a ConversionError that names the layer and the reason."""
    raise ConversionError(
        f"Layer '{node.operation.name}' of class {node.kind} cannot be written "
        f"as Core ML layers: {reason}"
    )


def check_channels_last(node):
    """Refuses a layer that has its channels on another axis."""
    if getattr(node.operation, "data_format", None) == "channels_first":
        refuse(node, "only data_format='channels_last' is supported.")


def array(weight):
    """A Keras weight as float32 array."""
    return np.asarray(weight, "float32")
