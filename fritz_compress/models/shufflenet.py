"""What both versions of ShuffleNet have in common."""

from keras import layers

from fritz_compress.layers import ChannelShuffle
from fritz_compress.models.image_classifier import ImageClassifier


class ShuffleNet(ImageClassifier):
    """Base of `ShuffleNetV1` and `ShuffleNetV2`.

    Layers of stride 2 pad both edges by one pixel, as PyTorch does, where the
    networks were trained. (Keras' own 'same' pads the lower and right edge of
    an even size alone.)

    Attributes:
        stem: Filters of the first convolution at alpha 1.0.
        repeats: Units of each stage.
    """

    stem: int = 24
    repeats: tuple[int, ...] = (4, 8, 4)

    @classmethod
    def entrance(cls, x, filters):
        """A convolution and a maximum, each at half the size."""
        x = layers.ZeroPadding2D(1, name="stem_padding")(x)
        x = cls.convolution(x, filters, 3, 2, padding="valid", name="stem")
        # What is padded are maxima already: relu leaves no number below 0.
        x = layers.ZeroPadding2D(1, name="pool_padding")(x)
        return layers.MaxPooling2D(3, 2, name="pool")(x)

    @classmethod
    def depthwise(cls, x, strides, name):
        """A 3x3 convolution of every channel, normalization, no relu."""
        if strides > 1:
            x = layers.ZeroPadding2D(1, name=f"{name}_padding")(x)
        x = layers.DepthwiseConv2D(
            3,
            strides,
            padding="valid" if strides > 1 else "same",
            use_bias=False,
            name=f"{name}_convolution",
        )(x)
        return cls.normalize(x, name, activation=None)

    @classmethod
    def shuffled(cls, x, groups, name):
        """The channels of each group in turn."""
        return ChannelShuffle(groups, name=name)(x)
