import keras
from keras import ops


@keras.saving.register_keras_serializable("fritz_compress")
class CropToMatch(keras.layers.Layer):
    """Takes off the lower and right edge what another picture does not have.

    The counterpart of `PadToMultiple`: called as `layer([x, reference])`, it
    returns the upper left part of `x` that is as high and as wide as
    `reference`, of which nothing but the size is used. It has no weights.

    Input shape: two tensors `(batch, height, width, channels)`, the second
        not higher or wider than the first.
    Output shape: height and width of the second, channels of the first.

    Raises:
        ValueError: when called on anything but two such tensors.

    Example:

    >>> padded = PadToMultiple(4)(photos)
    >>> CropToMatch()([network(padded), photos]).shape == photos.shape
    True
    """

    def call(self, inputs):
        x, reference = inputs
        height, width = ops.shape(reference)[1:3]
        return x[:, :height, :width]

    def compute_output_shape(self, input_shape):
        shapes = [tuple(shape) for shape in input_shape]
        if len(shapes) != 2 or any(len(shape) != 4 for shape in shapes):
            raise ValueError(
                f"Layer '{self.name}' expects two pictures of shape (batch, "
                f"height, width, channels). Received: input_shape={shapes}."
            )
        (batch, *sides, channels), (_, *wanted, _) = shapes
        for side, size in zip(sides, wanted):
            if None not in (side, size) and size > side:
                raise ValueError(
                    f"Layer '{self.name}' can only make its first input "
                    f"smaller. Received: input_shape={shapes}."
                )
        return (batch, *wanted, channels)

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.KerasTensor(shape, self.compute_dtype)
