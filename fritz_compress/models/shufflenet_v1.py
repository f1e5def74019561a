"""ShuffleNet, version 1."""

import keras
from keras import layers

from fritz_compress.models.shufflenet import ShuffleNet
from fritz_compress.models.widths import divisible


class ShuffleNetV1(ShuffleNet):
    """Builds ShuffleNet: grouped 1x1 convolutions with shuffled channels.

    Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural
    Network for Mobile Devices", https://arxiv.org/abs/1707.01083, table 1. It
    prints the multiply-accumulates (MACs) for groups of 1, 2, 3, 4 and 8 in
    millions: 143, 140, 137, 133 and 137, without the last, dense layer.

    | alpha | groups | parameters | trainable | MACs        |
    |-------|--------|------------|-----------|-------------|
    | 1.0   | 1      | 1,546,624  | 1,531,936 | 143,078,976 |
    | 1.0   | 2      | 1,754,248  | 1,733,848 | 140,836,512 |
    | 1.0   | 3      | 1,890,208  | 1,865,728 | 137,460,672 |
    | 1.0   | 4      | 1,996,088  | 1,968,344 | 134,339,776 |
    | 1.0   | 8      | 2,473,936  | 2,434,768 | 138,365,952 |
    | 0.5   | 3      | 730,564    | 718,324   | 37,589,856  |
    | 1.5   | 3      | 3,478,888  | 3,442,168 | 292,443,552 |
    | 2.0   | 3      | 5,499,736  | 5,450,776 | 524,045,184 |

    It is the authors' network, with a bias in the last layer:
    https://github.com/megvii-model/ShuffleNet-Series. The first 1x1
    convolution of all is not grouped, and strided layers pad both edges
    alike. It comes without weights.

    Attributes:
        stem, repeats: See `ShuffleNet`.
        widths: Channels of the first stage at alpha 1.0, by groups; each
            stage after it has twice as many.
        squeeze: How many times fewer channels are inside of a unit.

    Example:

    >>> ShuffleNetV1.build(alpha=0.5, groups=8).count_params()
    1031032
    """

    widths: dict[int, int] = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
    squeeze: int = 4

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (224, 224),
        alpha: float = 1.0,
        groups: int = 3,
        shuffle: bool = True,
        **arguments,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)`, or `None` for a model that takes
                any size.
            alpha: Width multiplier, the paper's scale factor s. Widths are
                rounded to what the groups divide; as in the authors' code the
                stem does not widen between 1.0 and 2.0.
            groups: Of the 1x1 convolutions: 1, 2, 3, 4 or 8.
            shuffle: Whether channels are shuffled. Without, groups never see
                each other inside a unit; the network has as many parameters
                and MACs (table 3).
            **arguments: Those of `ImageClassifier.build`.

        Raises:
            ValueError: for groups that the paper does not have, and as
                `ImageClassifier.build`.
        """
        if groups not in tuple(cls.widths):
            raise ValueError(
                f"`groups` must be one of {', '.join(map(str, cls.widths))}. "
                f"Received: groups={groups!r}."
            )
        return super().build(
            image_size, alpha, groups=groups, shuffle=shuffle, **arguments
        )

    @classmethod
    def features(cls, x, alpha, groups, shuffle):
        # Inside of a unit, too, groups must divide the channels.
        unit = cls.squeeze * groups
        width = divisible(cls.widths[groups], alpha, "stage_2", unit)
        widening = 1.0 if 1 < alpha < 2 else alpha
        x = cls.entrance(x, divisible(cls.stem, widening, "stem", groups))
        for stage, repeats in enumerate(cls.repeats, 2):
            for repeat in range(repeats):
                first = stage == 2 and not repeat
                x = cls.unit(
                    x,
                    width,
                    1 if repeat else 2,
                    (1 if first else groups, groups),
                    shuffle,
                    f"stage_{stage}_{repeat + 1}",
                )
            width *= 2
        return x

    @classmethod
    def unit(cls, x, filters, strides, groups, shuffle, name):
        """What is added to its input, or stands beside its mean (figure 2).

        Args:
            groups: Of the first and of the second 1x1 convolution.
        """
        made = filters - (x.shape[-1] if strides > 1 else 0)
        inside = filters // cls.squeeze
        y = cls.convolution(x, inside, 1, groups=groups[0], name=f"{name}_in")
        if shuffle and groups[1] > 1:
            y = cls.shuffled(y, groups[1], f"{name}_shuffle")
        y = cls.depthwise(y, strides, f"{name}_depthwise")
        y = cls.convolution(
            y, made, 1, groups=groups[1], activation=None, name=f"{name}_out"
        )
        if strides == 1:
            x = layers.Add(name=f"{name}_add")([x, y])
            return layers.Activation("relu", name=f"{name}_relu")(x)
        x = layers.ZeroPadding2D(1, name=f"{name}_pool_padding")(x)
        x = layers.AveragePooling2D(3, 2, name=f"{name}_pool")(x)
        y = layers.Activation("relu", name=f"{name}_relu")(y)
        return layers.Concatenate(name=f"{name}_concatenate")([x, y])
