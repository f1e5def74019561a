from typing import Any

import keras
from keras import ops

from fritz_compress.checks import check_count
from fritz_compress.layers.activation_range import ActivationRange
from fritz_compress.layers.requantization import round_twice

# Phones rescale 8-bit integers by a factor of 8 bits behind the point.
_FRACTION = 256
_SMALLEST, _LARGEST = 1 / 256, 128


@keras.saving.register_keras_serializable("fritz_compress")
class ConcatenationRange(ActivationRange):
    """Concatenates tensors and rounds them to integers of one scale.

    TFLite's concatenation copies integers, so all its inputs must have the
    scale of its output. Those that nothing else reads are made with that
    scale. The others have integers of a range of their own, and are
    rescaled first: by a factor that XNNPACK, which runs TFLite's operations on
    a CPU, rounds to 1/256. That is seen in the last bit, and simulated.

    Args:
        axis: Axis to concatenate along. Defaults to the last.
        ranged: Indices of the inputs that have a range of their own.
        summed: Indices of those that are sums which TFLite rounds twice.
        **kwargs: Those of `ActivationRange`.

    Call arguments:
        inputs: A list of tensors.
        input_ranges: For each index in `ranged`, what `ActivationRange`
            returned beside that tensor.
        requantizations: For each index in `summed`, what `QuantizedLayer`
            returned beside that tensor.
        training: As in Keras.

    Output shape: that of the concatenation, and `(3,)` as of
    `ActivationRange`.
    """

    def __init__(
        self, axis: int = -1, ranged: Any = (), summed: Any = (), **kwargs
    ):
        super().__init__(**kwargs)
        self.axis = axis
        self.ranged = [check_count("ranged", index, 0) for index in ranged]
        self.summed = [check_count("summed", index, 0) for index in summed]

    def build(
        self,
        inputs_shape,
        input_ranges_shape=None,
        requantizations_shape=None,
    ):
        super().build(inputs_shape)

    def call(self, inputs, input_ranges=(), requantizations=(), training=False):
        ends = self._ends(ops.concatenate(inputs, self.axis), training)
        step = self._step(ends)
        inputs = list(inputs)
        for index, own in zip(self.ranged, input_ranges):
            inputs[index] = inputs[index] * self._error(own[2] / step)
        if self.frozen or not training:
            for index, how in zip(self.summed, requantizations):
                inputs[index] = round_twice(inputs[index], how, step)
        return self._outputs(ops.concatenate(inputs, self.axis), ends)

    def compute_output_shape(
        self,
        inputs_shape,
        input_ranges_shape=None,
        requantizations_shape=None,
    ):
        shape = list(inputs_shape[0])
        sizes = [shape[self.axis] for shape in inputs_shape]
        shape[self.axis] = None if None in sizes else sum(sizes)
        return tuple(shape), (3,)

    def get_config(self):
        return {
            **super().get_config(),
            "axis": self.axis,
            "ranged": self.ranged,
            "summed": self.summed,
        }

    def _error(self, factor):
        """How far off the rounded factor is, as a factor close to 1."""
        if self.quantizer.nbits != 8:
            return 1.0
        rounded = ops.round(factor * _FRACTION) / (factor * _FRACTION)
        inside = (factor >= _SMALLEST) & (factor < _LARGEST)
        return ops.stop_gradient(ops.where(inside, rounded, 1.0))
