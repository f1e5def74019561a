"""Which axes of a kernel are inputs, and which are outputs."""

import keras
from keras import layers

DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)


def is_depthwise(layer: keras.Layer, attribute: str = "kernel") -> bool:
    """Whether a kernel has filters for each channel of its input alone.

    Args:
        layer: The layer that has the kernel.
        attribute: Which one, as a separable convolution has two.
    """
    return isinstance(layer, DEPTHWISE) or attribute == "depthwise_kernel"


def summed_axes(
    layer: keras.Layer, rank: int, attribute: str = "kernel"
) -> tuple[int, ...]:
    """Axes of a kernel along which a layer sums, those of a window left out.

    Args:
        layer: The layer that has the kernel.
        rank: Number of the kernel's axes.
        attribute: Which of its kernels.

    Returns: axes counted from the first; empty for an embedding, which is
    looked up, and for a depthwise kernel, which sums over its window alone.

    Example: `(2,)` for the kernel of a `Conv2D`, `(0,)` for that of a `Dense`.
    """
    if isinstance(layer, layers.Embedding) or is_depthwise(layer, attribute):
        return ()
    if isinstance(layer, layers.EinsumDense):
        letters, result = _letters(layer)
        return tuple(axis for axis, a in enumerate(letters) if a not in result)
    return (rank - 1 if isinstance(layer, TRANSPOSED) else rank - 2,)


def channel_axes(
    layer: keras.Layer, rank: int, attribute: str = "kernel"
) -> tuple[int, ...]:
    """Axes of a kernel that are its output channels.

    Args and example as for `summed_axes`: `(3,)` for a `Conv2D`, `(2, 3)` for
    a `DepthwiseConv2D`, `(2,)` for a `Conv2DTranspose`. The columns of an
    embedding count as its channels.
    """
    if is_depthwise(layer, attribute):
        return rank - 2, rank - 1
    if isinstance(layer, layers.EinsumDense):
        letters, result = _letters(layer)
        return tuple(axis for axis, a in enumerate(letters) if a in result)
    return (rank - 2 if isinstance(layer, TRANSPOSED) else rank - 1,)


def _letters(layer):
    """Letters of the kernel and of the output in an equation."""
    terms, result = layer.equation.replace(" ", "").split("->")
    return terms.split(",")[1], result
