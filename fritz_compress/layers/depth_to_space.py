import operator

import keras
from keras import ops


@keras.saving.register_keras_serializable("fritz_compress")
class DepthToSpace(keras.layers.Layer):
    """Lays the channels of every position out as a block of positions.

    Output channel `c` at row `i` and column `j` of a block is input channel
    `(i * block_size + j) * channels + c`: the order of TensorFlow and of Core
    ML. A 1x1 convolution in front of it is a transposed convolution whose
    kernel is as large as its stride, and faster. It has no weights.

    Args:
        block_size: Side of a block in positions, at least 2.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape: `(batch, height, width, block_size**2 * channels)`.
    Output shape: `(batch, block_size * height, block_size * width, channels)`.

    Raises:
        ValueError: on construction if `block_size` is not a whole number of
            at least 2; on build if the input does not have four axes, or
            channels that fill whole blocks.

    Reference: Shi et al., "Real-Time Single Image and Video Super-Resolution
    Using an Efficient Sub-Pixel Convolutional Neural Network",
    https://arxiv.org/abs/1609.05158, section 3.2.

    Example:

    >>> DepthToSpace(4)(keras.ops.ones((1, 60, 80, 48))).shape
    (1, 240, 320, 3)
    """

    def __init__(self, block_size: int, **kwargs):
        try:
            whole = operator.index(block_size)
        except TypeError:
            whole = 0
        if whole < 2:
            raise ValueError(
                "`block_size` must be a whole number of at least 2. "
                f"Received: block_size={block_size!r}."
            )
        super().__init__(**kwargs)
        self.block_size = whole

    def build(self, input_shape):
        channels = self.block_size**2
        if (
            len(input_shape) != 4
            or input_shape[-1] is None
            or input_shape[-1] % channels
        ):
            raise ValueError(
                f"Layer '{self.name}' expects shape (batch, height, width, "
                f"channels) with a multiple of block_size**2={channels} "
                f"channels. Received: input_shape={tuple(input_shape)}."
            )

    def call(self, inputs):
        return ops.depth_to_space(
            inputs, self.block_size, data_format="channels_last"
        )

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        sides = [side and side * self.block_size for side in sides]
        return (batch, *sides, channels // self.block_size**2)

    def get_config(self):
        return {**super().get_config(), "block_size": self.block_size}
