from typing import Any

import keras

from fritz_compress import quantizers


@keras.saving.register_keras_serializable("fritz_compress")
class RangeRounding(keras.layers.Layer):
    """Rounds numbers to the levels of a range measured elsewhere.

    TFLite's averaging operations (average pooling, bilinear resizing) return
    integers of the scale that their input has.

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
        return self.quantizer(inputs, input_range[0], input_range[1])

    def compute_output_shape(self, inputs_shape, input_range_shape=None):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "quantizer": quantizers.serialize(self.quantizer),
        }
