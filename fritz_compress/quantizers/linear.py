"""Evenly spaced levels of a range: the integers of TFLite, simulated."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from fritz_compress.checks import check_count

# Range of numbers that are all zero: any will do, but none may be empty.
_ANY = 1.0


class _Uniform:
    """Evenly spaced levels within a range, `2**nbits` of them or one less.

    The rounding is that of TensorFlow's fake quantization, the operation that
    the TFLite converter reads integers from: to the nearest level, halves
    upwards, after the range was moved a little so that zero is a level.
    """

    narrow: bool

    def __init__(self, nbits: int = 8):
        nbits = check_count("nbits", nbits, least=2)
        if nbits > 16:
            raise ValueError(
                "`nbits` of a quantizer must be from 2 to 16. Received: "
                f"nbits={nbits}. Leave the layer float instead."
            )
        self.nbits = nbits

    def __call__(self, values: Any, low: Any, high: Any) -> Any:
        """The nearest levels, as floats in the shape of `values`.

        Args:
            values: Floats, a tensor of any shape.
            low, high: The range: one number each, or one per index of the
                last axis.
        """
        low, high = (
            ops.convert_to_tensor(end, "float32") for end in (low, high)
        )
        axis = -1 if len(low.shape) else None
        # Only on tensors: on Keras' symbolic ones it forgets its arguments.
        return keras.quantizers.fake_quant_with_min_max_vars(
            values, low, high, self.nbits, self.narrow, axis
        )

    def scale_and_zero(self, low: Any, high: Any) -> tuple[Any, Any]:
        """Width of a step, and the signed integer that stands for zero.

        Args:
            low, high: The range, as for a call.
        """
        steps = 2**self.nbits - 1 - self.narrow
        scale = (high - low) / steps
        zero = ops.clip(ops.round(-low / scale), 0, steps) + self.narrow
        return scale, zero - 2 ** (self.nbits - 1)

    def get_config(self) -> dict[str, Any]:
        """Arguments to make it again with."""
        return {"nbits": self.nbits}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "_Uniform":
        """The quantizer of a `get_config`."""
        return cls(**config)


@keras.saving.register_keras_serializable("fritz_compress")
class Linear(_Uniform):
    """Levels between two ends with zero among them: TFLite's activations.

    Args:
        nbits: Bits of the integers, 2 to 16. Defaults to 8.

    Raises:
        TypeError, ValueError: for `nbits` that is no such number.

    Reference: Jacob et al., "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference",
    https://arxiv.org/abs/1712.05877, section 2.1.

    Example: steps of 1 from -1 to 2.

    >>> Linear(nbits=2)(keras.ops.array([-3.0, 0.2, 1.7]), -1.0, 2.0)
    [-1.0, 0.0, 2.0]
    """

    narrow = False

    def range_of(self, values: Any) -> tuple[Any, Any]:
        """Smallest and largest number, zero counted in."""
        low = ops.minimum(ops.min(values), 0.0)
        high = ops.maximum(ops.max(values), 0.0)
        return low, ops.where(high > low, high, low + _ANY)


@keras.saving.register_keras_serializable("fritz_compress")
class LinearSymmetric(_Uniform):
    """As many levels below zero as above: weights, 16-bit activations.

    The lowest code is not used, so multiplying numbers and range by any
    factor, a negative one too, multiplies the result. That is why weights may
    be quantized before or after a normalization is folded into them.

    Args:
        nbits: Bits of the integers, 2 to 16. Defaults to 8.

    Raises:
        TypeError, ValueError: for `nbits` that is no such number.

    Example: steps of 1 from -1 to 1.

    >>> LinearSymmetric(nbits=2)(keras.ops.array([-3.0, 0.2]), -1.0, 1.0)
    [-1.0, 0.0]
    """

    narrow = True

    def range_of(self, values: Any, axis: Any = None) -> tuple[Any, Any]:
        """Minus and plus the largest magnitude.

        Args:
            values: Floats, a tensor of any shape.
            axis: Axes to look along; all by default.
        """
        limit = ops.max(ops.abs(values), axis=axis)
        limit = ops.where(limit > 0, limit, _ANY)
        return -limit, limit
