import operator

import keras
from keras import ops


@keras.saving.register_keras_serializable("fritz_compress")
class PadToMultiple(keras.layers.Layer):
    """Mirrors a picture at its lower and right edge up to a multiple of a size.

    A network that divides its input by a stride sees whole blocks, and
    `CropToMatch` takes off at the end what was added here. Pictures that fit
    pass as they are. It has no weights.

    Args:
        multiple: What height and width become multiples of, at least 1.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape: `(batch, height, width, channels)`. A side that does not fit
        must be longer than what is added to it.
    Output shape: height and width rounded up to multiples of `multiple`.

    Raises:
        ValueError: on construction if `multiple` is not a whole number of at
            least 1; when called on an input that does not have four axes, or
            on one with a side too short to be mirrored.

    Example:

    >>> PadToMultiple(4)(keras.ops.ones((1, 255, 257, 3))).shape
    (1, 256, 260, 3)
    """

    def __init__(self, multiple: int, **kwargs):
        try:
            whole = operator.index(multiple)
        except TypeError:
            whole = 0
        if whole < 1:
            raise ValueError(
                "`multiple` must be a whole number of pixels, at least 1. "
                f"Received: multiple={multiple!r}."
            )
        super().__init__(**kwargs)
        self.multiple = whole

    def call(self, inputs):
        added = [-side % self.multiple for side in ops.shape(inputs)[1:3]]
        if all(isinstance(n, int) and n == 0 for n in added):
            return inputs
        height, width = added
        edges = [[0, 0], [0, height], [0, width], [0, 0]]
        return ops.pad(inputs, edges, mode="reflect")

    def compute_output_shape(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(
                f"Layer '{self.name}' expects pictures of shape (batch, "
                "height, width, channels). Received: "
                f"input_shape={tuple(input_shape)}."
            )
        for side in input_shape[1:3]:
            if side is not None and -side % self.multiple >= side:
                raise ValueError(
                    f"Layer '{self.name}' mirrors {-side % self.multiple} "
                    f"pixels of a side of {side}, which has too few. Use "
                    f"pictures of at least {self.multiple} pixels a side. "
                    f"Received: input_shape={tuple(input_shape)}."
                )
        batch, *sides, channels = input_shape
        sides = [side and side + -side % self.multiple for side in sides]
        return (batch, *sides, channels)

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}
