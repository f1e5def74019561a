"""What kernels of few bits take once a model is deployed."""

import dataclasses
import math

import keras

from fritz_compress.costs.binary import has_scale
from fritz_compress.graph import flatten_layers
from fritz_compress.layers.binary_kernel import has_few_bits

SCALE_BITS = 32


@dataclasses.dataclass(frozen=True)
class KernelBits:
    """A kernel with a quantizer, as it will be stored.

    Attributes:
        each: Bits of one number.
        scales: Bits of the scales of its filters that are no weight yet.
    """

    each: int
    scales: int


def kernel_bits(model: keras.Model) -> dict[int, KernelBits]:
    """Of every kernel with a quantizer, by the `id` of the weight."""
    return {
        id(layer.kernel): KernelBits(layer.kernel_bits, _scales(layer))
        for layer in flatten_layers(model)
        if has_few_bits(layer)
    }


def _scales(layer):
    if layer.use_scale or not has_scale(layer):
        return 0
    shape, within = layer.kernel.shape, layer.kernel_axes
    filters = [size for axis, size in enumerate(shape) if axis not in within]
    return SCALE_BITS * math.prod(filters)
