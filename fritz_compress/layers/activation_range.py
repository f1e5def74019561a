from typing import Any

import keras
from keras import ops

from fritz_compress import quantizers
from fritz_compress.checks import check_fraction
from fritz_compress.layers.requantization import round_twice


@keras.saving.register_keras_serializable("fritz_compress")
class ActivationRange(keras.layers.Layer):
    """Rounds activations to integers of one scale, and learns their range.

    In training the range follows the smallest and largest number of each
    batch by a moving average, which begins with the first batch; then the
    numbers are rounded to the levels of the range. At inference, and once
    `frozen`, the range stays. Gradients pass as if nothing was rounded, and
    are zero where numbers were clipped.

    Args:
        quantizer: Name or object of `fritz_compress.quantizers`. Defaults to
            `"linear"` of 8 bits.
        momentum: Share of the old range that a batch leaves, a fraction.
            Defaults to 0.99.
        low, high: Ends of the range that are known, such as `low=0.0` after
            a ReLU; `None` for those that are learned.
        frozen: Whether the range stays in training too. Defaults to `False`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Attributes:
        range: The weight `(low, high)`, shape `(2,)`, never trained.

    Call arguments:
        inputs: An array of any shape.
        requantization: The second output of the `QuantizedLayer` that made
            them, where TFLite rounds its sums twice: that is simulated, except
            in training with a range that still moves.
        training: As in Keras.

    Output shape: the input shape, and `(3,)`: both ends of the range and the
    width of a step, for layers that compute with them.

    Raises:
        TypeError, ValueError: on construction for an argument that is not as
            described.

    Reference: Jacob et al., https://arxiv.org/abs/1712.05877, section 3.1.

    Example:

    >>> rounded, ends = ActivationRange(low=0.0, high=2.55)(np.array([0.014]))
    >>> rounded
    [0.01]
    """

    def __init__(
        self,
        quantizer: Any = "linear",
        momentum: float = 0.99,
        low: float | None = None,
        high: float | None = None,
        frozen: bool = False,
        **kwargs,
    ):
        check_fraction("momentum", momentum)
        _check_ends(low, high)
        super().__init__(**kwargs)
        self.quantizer = quantizers.get(quantizer)
        self.momentum = momentum
        self.low = low
        self.high = high
        self.frozen = frozen

    def build(self, inputs_shape, requantization_shape=None):
        ends = [
            0.0 if self.low is None else self.low,
            1.0 if self.high is None else self.high,
        ]
        self.range = self._number("range", (2,), ends)
        self.batches = self._number("batches", (), 0.0)

    def call(self, inputs, requantization=None, training=False):
        ends = self._ends(inputs, training)
        if requantization is not None and (self.frozen or not training):
            inputs = round_twice(inputs, requantization, self._step(ends))
        return self._outputs(inputs, ends)

    def compute_output_shape(self, inputs_shape, requantization_shape=None):
        return inputs_shape, (3,)

    def get_config(self):
        return {
            **super().get_config(),
            "quantizer": quantizers.serialize(self.quantizer),
            "momentum": self.momentum,
            "low": self.low,
            "high": self.high,
            "frozen": self.frozen,
        }

    def set_range(self, low: float, high: float) -> None:
        """Gives the range; ends that are known stay, and zero is inside.

        Args:
            low, high: Smallest and largest number that is not clipped.
        """
        seen = ops.convert_to_tensor([float(low), float(high)])
        low, high = self.quantizer.range_of(seen)
        self.range.assign(ops.stack(self._with_known(low, high)))
        self.batches.assign(1.0)

    def _ends(self, inputs, training):
        """The range to round to, moved by what comes in."""
        ends = ops.convert_to_tensor(self.range)
        known = self.low is not None and self.high is not None
        if known or self.frozen or not training:
            return ends
        seen = self.quantizer.range_of(ops.stop_gradient(inputs))
        seen = ops.stack(self._with_known(*seen))
        kept = ops.where(self.batches > 0, self.momentum, 0.0)
        ends = kept * ends + (1 - kept) * seen
        self.range.assign(ends)
        self.batches.assign(ops.add(self.batches, 1.0))
        return ends

    def _outputs(self, inputs, ends):
        low, high = ends[0], ends[1]
        outputs = self.quantizer(inputs, low, high)
        return outputs, ops.stack([low, high, self._step(ends)])

    def _step(self, ends):
        step, _ = self.quantizer.scale_and_zero(ends[0], ends[1])
        return step

    def _with_known(self, low, high):
        low = low if self.low is None else ops.full((), self.low)
        high = high if self.high is None else ops.full((), self.high)
        # Of numbers that are all zero, or all below a known end.
        return low, ops.where(high > low, high, low + 1.0)

    def _number(self, name, shape, value):
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=lambda shape, dtype: ops.cast(value, dtype),
            trainable=False,
            autocast=False,
        )


def _check_ends(low, high):
    if (low is not None and low > 0) or (high is not None and high < 0):
        raise ValueError(
            "A range must include zero: `low` at most 0, `high` at least 0. "
            f"Received: low={low}, high={high}."
        )
    if low is not None and high is not None and not low < high:
        raise ValueError(
            f"`low` must be below `high`. Received: low={low}, high={high}."
        )
