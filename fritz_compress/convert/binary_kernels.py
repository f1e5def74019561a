"""Layers with kernels of few bits as files hold them: with their levels.

Converters fold what is done with constants, but not all of it, and not so
that levels and scales stay apart. So a layer is replayed with its levels in
place of the latent weights.
"""

import functools

import keras
import numpy as np

from fritz_compress import graph as graphs
from fritz_compress.binarization.converting import of_levels
from fritz_compress.convert import export
from fritz_compress.layers.binary_kernel import BinaryKernel
from fritz_compress.quantizers import BitQuantizer


def forms_of(traced: graphs.Graph) -> dict[graphs.Node, functools.partial]:
    """What replaces the call of each node with a kernel of few bits.

    Called as the forms of `export`. They hold the variables that a graph is
    made with: keep them until it is frozen.
    """
    found = {}
    made: dict[keras.Layer, keras.Layer] = {}
    for node in traced.nodes:
        layer = node.operation
        if isinstance(layer, BinaryKernel):
            if layer not in made:
                made[layer] = _with_levels(layer)
            found[node] = functools.partial(_called, made[layer])
    return found


def holds_levels(layer: keras.Operation) -> bool:
    """Whether what a file holds of a layer has few levels."""
    if not isinstance(layer, BinaryKernel):
        return False
    return layer.kernel_quantizer is not None and layer.quantizes_kernel


def has_steps(traced: graphs.Graph) -> bool:
    """Whether a layer turns activations into signs or other levels.

    Where it does, a number that is rounded otherwise near a threshold makes
    another level.
    """
    return any(
        isinstance(getattr(node.operation, name, None), BitQuantizer)
        for node in traced.nodes
        for name in ("input_quantizer", "activation")
    )


def whole_levels(layer: BinaryKernel) -> tuple[np.ndarray, int] | None:
    """The levels of a kernel as whole numbers around 0, and their bits.

    Multiples of one of the evenly spaced levels from -1 to 1 where zero is
    none of them, such as -3, -1, 1 and 3 with two bits.

    Returns: int64 numbers in the shape of the kernel, and the bits of a signed
    integer that holds them; `None` for other levels.
    """
    levels, _ = layer.kernel_levels()
    levels = keras.ops.convert_to_numpy(levels)
    for top in (1, 2**layer.kernel_bits - 1):
        steps = np.rint(levels * top)
        if np.allclose(steps / top, levels, rtol=0, atol=1e-6):
            return steps.astype("int64"), top.bit_length() + 1
    return None


def _with_levels(layer):
    if layer.kernel_quantizer is None:
        return layer
    new = of_levels(layer)
    new.quantizes_kernel = False
    new.quantizes_inputs = layer.quantizes_inputs
    if getattr(layer, "groups", 1) > 1:
        new.convolution_op = functools.partial(export.grouped_convolution, new)
    return new


def _called(new, layer, x, training=False):
    return new(x)
