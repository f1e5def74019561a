"""Stages of residual blocks, each half as large and wider."""

from keras import layers, ops

from fritz_compress.checks import check_one_of
from fritz_compress.models.image_classifier import ImageClassifier
from fritz_compress.models.widths import scaled

SHORTCUTS = ("A", "B")


class ResidualNetwork(ImageClassifier):
    """Base of the ResNets, made to be subclassed.

    Attributes:
        widths: Filters of each stage at alpha 1.0.
    """

    widths: tuple[int, ...]

    @classmethod
    def features(cls, x, alpha, blocks, shortcut, **options):
        """The stem, `blocks` residual blocks in each stage, the end."""
        check_one_of("shortcut", shortcut, SHORTCUTS)
        widths = [
            scaled(filters, alpha, f"{cls.__name__}.widths[{i}]")
            for i, filters in enumerate(cls.widths)
        ]
        x = cls.stem(x, widths[0])
        for stage, filters in enumerate(widths, 1):
            for block in range(1, blocks + 1):
                strides = 2 if stage > 1 and block == 1 else 1
                name = f"stage_{stage}_{block}"
                x = cls.residual_block(
                    x, filters, strides, shortcut, name, **options
                )
        return cls.end(x)

    @classmethod
    def stem(cls, x, filters):
        """What comes before the stages."""
        return cls.convolution(x, filters, 3, name="stem")

    @classmethod
    def residual_block(cls, x, filters, strides, shortcut, name):
        """Two 3x3 convolutions, their input added, relu."""
        y = cls.convolution(x, filters, 3, strides, name=f"{name}_first")
        y = cls.convolution(
            y, filters, 3, activation=None, name=f"{name}_second"
        )
        x = cls.shortened(x, filters, strides, shortcut, name)
        x = layers.Add(name=f"{name}_add")([x, y])
        return layers.Activation("relu", name=f"{name}_relu")(x)

    @classmethod
    def end(cls, x):
        """What comes after the stages, before the head: nothing."""
        return x

    @classmethod
    def shortened(cls, x, filters, strides, shortcut, name):
        """The input of a block in the shape of its output."""
        if strides == 1:
            return x
        shorten = cls.zero_shortcut if shortcut == "A" else cls.projection
        return shorten(x, filters, strides, f"{name}_shortcut")

    @classmethod
    def zero_shortcut(cls, x, filters, strides, name):
        """Option A: every other position, zeros on both sides of channels."""
        x = layers.MaxPooling2D(1, strides, name=name)(x)
        more = filters - x.shape[-1]
        before = more // 2
        return ops.pad(x, [[0, 0]] * 3 + [[before, more - before]])

    @classmethod
    def projection(cls, x, filters, strides, name):
        """Option B: a 1x1 convolution."""
        return cls.convolution(
            x, filters, 1, strides, activation=None, name=name
        )
