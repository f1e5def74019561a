import keras
from keras import ops


@keras.saving.register_keras_serializable("fritz_compress")
class InstanceNormalization(keras.layers.Layer):
    """Normalizes every channel of every sample over its positions.

    Computes `gamma * (x - mean) / sqrt(variance + epsilon) + beta` with the
    mean and the (biased) variance of each sample and channel, at training and
    at inference alike. There are no moving statistics, and no statistics over
    channels: removing one channel leaves the others as they were.

    Unlike `keras.layers.GroupNormalization(groups=-1)` the layer never
    rewrites its own arguments, so it can be rebuilt on fewer channels. Only
    channels-last inputs are supported. Half precision inputs are normalized
    in float32, since variances of pixels exceed what float16 can hold.

    Args:
        epsilon: Added to the variance, inside the square root. Defaults to
            `1e-3`.
        **kwargs: `keras.layers.Layer` arguments such as `name` and `dtype`.

    Input shape: `(batch, ..., channels)`, at least one axis in between.
    Output shape: the input shape.

    Raises:
        ValueError: on construction if `epsilon` is not positive; on build if
            the input has fewer than three axes or unknown channels.

    Reference: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The
    Missing Ingredient for Fast Stylization",
    https://arxiv.org/abs/1607.08022, equation 4.

    Example:

    >>> InstanceNormalization()(keras.ops.ones((1, 8, 8, 3))).shape
    (1, 8, 8, 3)
    """

    def __init__(self, epsilon: float = 1e-3, **kwargs):
        if not epsilon > 0:
            raise ValueError(
                "`epsilon` must be positive, or a constant channel divides "
                f"by zero. Received: epsilon={epsilon}."
            )
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        if len(input_shape) < 3 or channels is None:
            raise ValueError(
                f"Layer '{self.name}' expects (batch, ..., channels) with at "
                "least one axis to normalize over and known channels. "
                f"Received: input_shape={tuple(input_shape)}."
            )
        self.gamma = self.add_weight(
            name="gamma",
            shape=(channels,),
            initializer="ones",
            autocast=False,
        )
        self.beta = self.add_weight(
            name="beta",
            shape=(channels,),
            initializer="zeros",
            autocast=False,
        )

    def call(self, inputs):
        axes = tuple(range(1, len(inputs.shape) - 1))
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        x = ops.cast(inputs, dtype)
        mean, variance = ops.moments(x, axes, keepdims=True)
        # One scale and one offset per channel: this algebra is what Core ML's
        # converter recognizes as a single instance_norm operation.
        scale = ops.rsqrt(variance + self.epsilon) * self.gamma
        outputs = x * scale + (self.beta - mean * scale)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
