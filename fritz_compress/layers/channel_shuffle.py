import keras
from keras import ops

from fritz_compress.checks import check_count


@keras.saving.register_keras_serializable("fritz_compress")
class ChannelShuffle(keras.layers.Layer):
    """Deals the channels of groups out, one of each group in turn.

    Output channel `i * groups + g` is channel `i` of group `g`, as if the
    channels were written into `groups` rows and read by column. After a
    grouped convolution every group of the next one sees channels of all. It
    has no weights, and `ChannelShuffle(channels // groups)` undoes it.

    Args:
        groups: Number of groups, at least 1.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape: `(batch, ..., channels)`, channels a multiple of `groups`.
    Output shape: the input shape.

    Raises:
        TypeError: on construction if `groups` is no whole number.
        ValueError: on construction if `groups` is below 1; on build if
            channels are unknown, or `groups` does not divide them.

    Reference: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional
    Neural Network for Mobile Devices", https://arxiv.org/abs/1707.01083,
    section 3.1.

    Example:

    >>> ChannelShuffle(2)(keras.ops.array([[0, 1, 2, 3, 4, 5]]))
    [[0, 3, 1, 4, 2, 5]]
    """

    def __init__(self, groups: int, **kwargs):
        groups = check_count("groups", groups)
        super().__init__(**kwargs)
        self.groups = groups

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels is None or channels % self.groups:
            raise ValueError(
                f"Layer '{self.name}': `groups` must divide the channels, "
                f"which must be known. Received: groups={self.groups}, "
                f"input_shape={tuple(input_shape)}."
            )

    def call(self, inputs):
        shape = ops.shape(inputs)
        columns = shape[-1] // self.groups
        x = ops.reshape(inputs, (-1, self.groups, columns))
        return ops.reshape(ops.swapaxes(x, 1, 2), (-1, *shape[1:]))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
