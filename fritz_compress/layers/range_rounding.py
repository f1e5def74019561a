from typing import Any

import keras
from keras import ops

from fritz_compress import quantizers

# Means that lie between two integers must not miss that by a float's error.
_TIE = 1e-4


@keras.saving.register_keras_serializable("fritz_compress")
class RangeRounding(keras.layers.Layer):
    """Rounds numbers to the levels of a range measured elsewhere.

    TFLite's averaging operations (average pooling, bilinear resizing) return
    integers of the scale that their input has, and rounds halves away from
    the integer 0, which stands for the middle of the range. Halves are
    frequent: a quarter of all means of four.

    Args:
        quantizer: Name or object of `fritz_compress.quantizers`. Defaults to
            `"linear"` of 8 bits.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Call arguments:
        inputs: What was averaged.
        input_range: The second output of the `ActivationRange` in front.

    Output shape: that of `inputs`.
    """

    def __init__(self, quantizer: Any = "linear", **kwargs):
        super().__init__(**kwargs)
        self.quantizer = quantizers.get(quantizer)

    def build(self, inputs_shape, input_range_shape=None):
        self.built = True

    def call(self, inputs, input_range):
        low, high, step = input_range[0], input_range[1], input_range[2]
        _, zero = self.quantizer.scale_and_zero(low, high)
        integers = inputs / step + zero
        rounded = ops.sign(integers) * ops.floor(ops.abs(integers) + 0.5 + _TIE)
        outputs = (rounded - zero) * step
        # The gradient passes as if nothing was rounded.
        return inputs + ops.stop_gradient(outputs - inputs)

    def compute_output_shape(self, inputs_shape, input_range_shape=None):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "quantizer": quantizers.serialize(self.quantizer),
        }
