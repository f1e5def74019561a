"""What the networks with kernels and activations of few bits have in common."""

import dataclasses
from typing import Any

from keras import layers

from fritz_compress import quantizers
from fritz_compress.checks import check_one_of
from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    XnorConv2D,
    XnorDense,
)
from fritz_compress.ops.packing import check_nbits
from fritz_compress.quantizers.binary import MOST_BITS


@dataclasses.dataclass(frozen=True)
class Bits:
    """How few bits the inner layers of a network compute with.

    Attributes:
        num_bits: Of activations: 1 for signs, 2 to 8 for DoReFa's levels
            from 0 to 1, `None` for floats after a ReLU.
        kernel_quantizer: Name or object; `None` for float kernels.
        input_scale: Whether sums are scaled by the magnitude of the inputs,
            as XNOR-Net does.
        sign: The quantizer of activations of one bit.

    Raises:
        ValueError: for `num_bits` out of range, or an input scale of layers
            whose inputs are no signs.
    """

    num_bits: int | None = 1
    kernel_quantizer: Any = "magnitude_aware_sign"
    input_scale: bool = False
    sign: Any = "ste_sign"

    def __post_init__(self):
        if self.num_bits is not None:
            check_nbits(self.num_bits, MOST_BITS, "num_bits")
        check_one_of("input_scale", self.input_scale, (False, True))
        if self.input_scale and self.num_bits != 1:
            raise ValueError(
                "`input_scale` is for signs of inputs, num_bits=1. Received: "
                f"num_bits={self.num_bits}."
            )

    @property
    def input_quantizer(self) -> Any:
        """That of activations, or `None`."""
        if self.num_bits is None:
            return None
        return self.sign if self.num_bits == 1 else self._levels()

    def _levels(self):
        return quantizers.DoReFa(self.num_bits)

    def convolution(self, x, filters, kernel_size, **arguments):
        """A convolution of quantized inputs with a quantized kernel."""
        if self._floats:
            return layers.Conv2D(filters, kernel_size, **arguments)(x)
        kind = XnorConv2D if self.input_scale else BinaryConv2D
        return kind(filters, kernel_size, **self._quantizers, **arguments)(x)

    def dense(self, x, units, quantizes_inputs=True, **arguments):
        """A dense layer, whose inputs may be left as they are."""
        if self._floats:
            return layers.Dense(units, **arguments)(x)
        own = self._quantizers
        kind = (
            XnorDense if self.input_scale and quantizes_inputs else BinaryDense
        )
        if not quantizes_inputs:
            own = {**own, "input_quantizer": None}
        return kind(units, **own, **arguments)(x)

    def activate(self, x, name: str):
        """ReLU where activations are floats; quantizing layers have none."""
        if self.num_bits is None:
            return layers.Activation("relu", name=f"{name}_relu")(x)
        return x

    @property
    def _floats(self):
        return self.num_bits is None and self.kernel_quantizer is None

    @property
    def _quantizers(self):
        return {
            "kernel_quantizer": self.kernel_quantizer,
            "input_quantizer": self.input_quantizer,
        }
