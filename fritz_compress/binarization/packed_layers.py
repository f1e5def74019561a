"""A layer of Keras with a kernel of signs, computed from words."""

import math
from typing import Any

from keras import ops

from fritz_compress.binarization.thresholds import Limits, limits_of_floats
from fritz_compress.graph import Node
from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    XnorConv2D,
    XnorDense,
)
from fritz_compress.layers.binary_kernel import BinaryKernel
from fritz_compress.ops import binary_products
from fritz_compress.ops.binary_products import Threads

_SCALED_BY_INPUTS = XnorConv2D, XnorDense
_KINDS = BinaryConv2D, BinaryDense, *_SCALED_BY_INPUTS
_PADS = -1, 0, 1


class PackedLayer:
    """One call of a layer, which can be computed from words.

    Attributes:
        layer: The layer.
        kernel: Its signs.
        scale: A number for each filter, or `None`.
        input_limits: What has the sign 1 among the numbers that come in;
            `None` if they come as words.
        sum_limits: What has the sign 1 for the next layer among the sums,
            which then leave as words; `None` if floats leave.
    """

    def __init__(self, node: Node):
        self.layer = node.operation
        levels, self.scale = self.layer.kernel_levels(training=False)
        levels = ops.convert_to_numpy(levels)
        if levels.ndim == 2:
            levels = levels[None, None]
        self.kernel = binary_products.pack_kernel(levels)
        self.input_limits = limits_of_floats(self.layer.quantized_inputs, 1)
        self.sum_limits: Limits | None = None

    def take_positions(self, places: tuple[int, ...]) -> None:
        """Makes a dense layer one that reads `(height, width, words)`."""
        units = self.kernel.shape[-1]
        levels = ops.convert_to_numpy(self.layer.kernel_levels()[0])
        self.kernel = binary_products.pack_kernel(
            levels.reshape(*places, units)
        )

    @property
    def products(self) -> int:
        """Products in a sum, at most."""
        return math.prod(self.kernel.shape[:-1])

    @property
    def scales_by_inputs(self) -> bool:
        """Whether it needs its inputs as floats, beside their signs."""
        return isinstance(self.layer, _SCALED_BY_INPUTS)

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds to compute with."""
        total = self.kernel.nbytes
        if self.input_limits is not None:
            total += self.input_limits.nbytes
        if self.sum_limits is not None:
            return total + self.sum_limits.nbytes
        floats = 0 if self.scale is None else self.kernel.shape[-1]
        floats += self.kernel.shape[-1] * self.layer.use_bias
        return total + 4 * floats

    def __call__(self, inputs: Any, threads: Threads) -> Any:
        """The layer's outputs, or words."""
        words = inputs
        if self.input_limits is not None:
            values = ops.convert_to_numpy(inputs)
            words = binary_products.pack(values, *self.input_limits, threads)
        sums = self._sums(words, threads)
        if self.sum_limits is not None:
            return binary_products.pack(sums, *self.sum_limits, threads)
        sums = ops.convert_to_tensor(sums.astype("float32"))
        return self.layer.of_sums(sums, self.scale, inputs)

    def _sums(self, words, threads):
        if isinstance(self.layer, BinaryConv2D):
            return binary_products.convolve(
                words,
                self.kernel,
                self.layer.strides,
                self.layer.padding,
                self.layer.dilation_rate,
                int(self.layer.pad_values),
                threads,
            )
        if self.kernel.shape[:2] != (1, 1):
            sums = binary_products.convolve(words, self.kernel, threads=threads)
            return sums.reshape(len(sums), -1)
        return binary_products.dense(words, self.kernel, threads)


def why_floats(node: Node) -> str | None:
    """Why a call is computed in floats; `None` if words can do it."""
    layer = node.operation
    if not isinstance(layer, BinaryKernel):
        return "no binary layer"
    if isinstance(layer, BinaryDepthwiseConv2D):
        return "depthwise: each sum is of few products"
    if type(layer) not in _KINDS:
        return f"{node.kind} is a class of its own, which may do more"
    for of, bits in ("kernel", layer.kernel_bits), ("input", layer.input_bits):
        if not _is_sign(getattr(layer, f"{of}_quantizer")):
            kind = "floats" if bits == 32 else f"{bits} bits"
            return f"its {of} is of {kind}, no signs"
    if not (layer.quantizes_kernel and layer.quantizes_inputs):
        return "it does not quantize yet, as `GradualBinarization` left it"
    for dtype in layer.compute_dtype, node.inputs[0].dtype:
        if dtype != "float32":
            return f"it computes with {dtype}, not float32"
    if limits_of_floats(layer.quantized_inputs, 1) is None:
        return "its input quantizer makes no step from -1 to 1"
    return _why_not_convolved(layer)


def _is_sign(quantizer):
    return quantizer is not None and quantizer.is_sign


def _why_not_convolved(layer):
    if not isinstance(layer, BinaryConv2D):
        return None
    if layer.data_format != "channels_last":
        return "its channels come first"
    if layer.groups > 1:
        return f"it has {layer.groups} groups"
    if layer.pads and layer.pad_values not in _PADS:
        return f"it pads with {layer.pad_values}, which is not -1, 0 or 1"
    return None
