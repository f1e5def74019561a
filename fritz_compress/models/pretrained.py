"""Networks that come with the package, trained by it."""

import importlib.resources

import keras

from fritz_compress.models.flat_style_transfer import FlatStyleTransferNetwork
from fritz_compress.models.style_transfer import (
    SmallStyleTransferNetwork,
    StyleTransferNetwork,
)

# Name: builder, width multiplier and normalization. The weights are
# `<name>.npz` in `fritz_compress.pretrained`, with a card `<name>.md`.
PRETRAINED = {
    "starry_night_teacher": (StyleTransferNetwork, 0.25, "instance"),
    "starry_night_student": (SmallStyleTransferNetwork, 0.3, "instance"),
    "starry_night_tiny": (SmallStyleTransferNetwork, 0.25, "instance"),
    "starry_night_folded": (SmallStyleTransferNetwork, 0.3, "batch"),
    "starry_night_flat": (FlatStyleTransferNetwork, 0.5, "instance"),
    "starry_night_flat_wide": (FlatStyleTransferNetwork, 1.0, "instance"),
    "starry_night_flat_tiny": (FlatStyleTransferNetwork, 0.375, "instance"),
    "the_scream_flat": (FlatStyleTransferNetwork, 0.5, "instance"),
}


def load_pretrained(
    name: str, image_size: tuple[int, int] | None = None
) -> keras.Model:
    """Builds a network with the weights that come with the package.

    Args:
        name: One of

            - "starry_night_flat", 13,264 weights, the fastest: a flat network
              taught by the teacher; "starry_night_flat_wide", 44,912 weights,
              is closer to it and "starry_night_flat_tiny" has 8,232;
            - "the_scream_flat", 13,264 weights, another painting;
            - "starry_night_teacher", 108,374 weights;
            - "starry_night_student", 11,868 weights, taught by the teacher;
            - "starry_night_tiny", 9,830 weights, the student after pruning;
            - "starry_night_folded", the student with batch normalization, for
              integer files: 204 statistics beside its 11,868 weights.
        image_size: `(height, width)`, or `None` for a model that takes any
            size. Multiples of 4, except for the flat networks.

    Returns: an uncompiled model; see `StyleTransferNetwork.build`.

    Raises:
        ValueError: for a name that the package does not have.

    Example:

    >>> load_pretrained("starry_night_flat").count_params()
    13264
    """
    if name not in PRETRAINED:
        raise ValueError(
            f"`name` must be one of {', '.join(PRETRAINED)}. Received: "
            f"name='{name}'."
        )
    builder, alpha, normalization = PRETRAINED[name]
    weights = importlib.resources.files("fritz_compress.pretrained")
    with importlib.resources.as_file(weights / f"{name}.npz") as path:
        return builder.build(
            image_size,
            alpha,
            checkpoint_file=path,
            normalization=normalization,
        )
