import operator

import keras
from keras import ops


@keras.saving.register_keras_serializable("fritz_compress")
class StandardizeImage(keras.layers.Layer):
    """Brings every photo to the same brightness, contrast and tint.

    Computes `(x - mean) / (deviation + epsilon)`, clipped to `[-limit,
    limit]`, with the mean and the standard deviation of each channel of each
    photo, at training and at inference alike. A network behind it can keep
    one set of statistics for all photos. It has no weights.

    The statistics are those of every `stride`-th pixel of every `stride`-th
    row, which is enough for photos and saves a pass over the picture. Half
    precision inputs are standardized in float32.

    Args:
        stride: Pixels from one that is looked at to the next, in both
            directions. Defaults to 4.
        epsilon: Added to the deviation, in the unit of the input, so that
            the noise of an even picture is not blown up. Defaults to 1, for
            pixels in `[0, 255]`.
        limit: Largest value returned, in standard deviations. Few pixels are
            beyond the default of 2.5, and integer files need a range.
        **kwargs: `keras.layers.Layer` arguments such as `name` and `dtype`.

    Input shape: `(batch, height, width, channels)`.
    Output shape: the input shape.

    Raises:
        ValueError: on construction if `stride` is not a whole number of at
            least 1, or `epsilon` or `limit` is not positive; on build if the
            input does not have four axes.

    Example:

    >>> StandardizeImage()(keras.ops.full((1, 8, 8, 3), 200.0))[0, 0, 0]
    [0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        stride: int = 4,
        epsilon: float = 1.0,
        limit: float = 2.5,
        **kwargs,
    ):
        if not _is_count(stride):
            raise ValueError(
                "`stride` must be a whole number of pixels, at least 1. "
                f"Received: stride={stride!r}."
            )
        if not epsilon > 0 or not limit > 0:
            raise ValueError(
                "`epsilon` and `limit` must be positive. Received: "
                f"epsilon={epsilon}, limit={limit}."
            )
        super().__init__(**kwargs)
        self.stride = stride
        self.epsilon = epsilon
        self.limit = limit

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(
                f"Layer '{self.name}' expects photos of shape (batch, height, "
                f"width, channels). Received: input_shape={tuple(input_shape)}."
            )

    def call(self, inputs):
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        x = ops.cast(inputs, dtype)
        sample = x[:, :: self.stride, :: self.stride]
        mean, variance = ops.moments(sample, (1, 2), keepdims=True)
        gain = 1.0 / (ops.sqrt(variance) + self.epsilon)
        outputs = ops.clip((x - mean) * gain, -self.limit, self.limit)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "stride": self.stride,
            "epsilon": self.epsilon,
            "limit": self.limit,
        }


def _is_count(value):
    try:
        return operator.index(value) >= 1
    except TypeError:
        return False
