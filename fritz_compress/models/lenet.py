"""The two LeNets that compression has been measured on since 2015."""

import keras
from keras import layers

from fritz_compress.models.image_classifier import ImageClassifier
from fritz_compress.models.widths import scaled


class LeNet(ImageClassifier):
    """Base of the two: dense layers on pictures of handwritten digits.

    Attributes:
        hidden: Units of the hidden dense layers.
    """

    hidden: tuple[int, ...]
    channels = 1
    flattens = True

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (28, 28),
        alpha: float = 1.0,
        *,
        classes: int = 10,
        **arguments,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)`; `None` only without the head.
            alpha: Width multiplier: every width is `int(alpha * filters)`.
            classes: Number of classes.
            **arguments: Those of `ImageClassifier.build`; `channels` is 1
                where nothing says otherwise.
        """
        return super().build(image_size, alpha, classes=classes, **arguments)

    @classmethod
    def top(cls, x, alpha, classes, activation):
        """Dense layers, named "ip" for inner product."""
        x = layers.Flatten(name="flatten")(x)
        for number, units in enumerate(cls.hidden, 1):
            units = scaled(units, alpha, f"ip{number}")
            x = layers.Dense(units, activation="relu", name=f"ip{number}")(x)
        name = f"ip{len(cls.hidden) + 1}"
        return cls.predictions(x, classes, activation, name)


class LeNet300100(LeNet):
    """Builds LeNet-300-100: two hidden dense layers.

    LeCun et al., "Gradient-Based Learning Applied to Document Recognition",
    Proceedings of the IEEE 86(11), 1998, section III-C: the 28x28-300-100-10
    network. Han, Mao and Dally, "Deep Compression",
    https://arxiv.org/abs/1510.00149, table 2, count 266 thousand weights.

    | alpha | parameters | MACs    |
    |-------|------------|---------|
    | 1.0   | 266,610    | 266,200 |

    Layers are named as in Caffe. It comes without weights.

    Attributes:
        hidden: Units of the hidden layers.

    Example:

    >>> LeNet300100.build().count_params()
    266610
    """

    hidden = (300, 100)

    @classmethod
    def features(cls, x, alpha):
        """Nothing: the pictures themselves are what is classified."""
        return x


class LeNet5(LeNet):
    """Builds Caffe's LeNet-5: two convolutions and two dense layers.

    https://github.com/BVLC/caffe/blob/master/examples/mnist/lenet.prototxt,
    after section II of the paper of `LeNet300100`, with wider layers. Han, Mao
    and Dally, "Deep Compression", https://arxiv.org/abs/1510.00149, table 3,
    count 431 thousand weights.

    | alpha | parameters | MACs      |
    |-------|------------|-----------|
    | 1.0   | 431,080    | 2,293,000 |

    As in Caffe, only the first dense layer has an activation: a convolution
    is followed by the maximum over 2x2 positions alone. It comes without
    weights.

    Attributes:
        filters: Of the 5x5 convolutions.
        hidden: Units of the hidden layer.

    Example:

    >>> LeNet5.build().count_params()
    431080
    """

    filters: tuple[int, ...] = (20, 50)
    hidden = (500,)
    smallest = 16

    @classmethod
    def features(cls, x, alpha):
        """Convolutions without padding, and maxima."""
        for number, filters in enumerate(cls.filters, 1):
            filters = scaled(filters, alpha, f"conv{number}")
            x = layers.Conv2D(filters, 5, name=f"conv{number}")(x)
            x = layers.MaxPooling2D(name=f"pool{number}")(x)
        return x
