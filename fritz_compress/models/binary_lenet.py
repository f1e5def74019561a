"""Two small networks for handwritten digits with kernels of one bit."""

from typing import Any

import keras
from keras import layers

from fritz_compress.models.binary_blocks import Bits
from fritz_compress.models.lenet import LeNet, LeNet5
from fritz_compress.models.widths import scaled


class BinaryLeNet5(LeNet5):
    """Builds LeNet-5 with its inner layers of one bit, or few.

    `LeNet5` whose second convolution and first dense layer, 98% of its
    weights, are of few bits, with a normalization before each sign.

    | alpha | parameters | of them one bit | MACs    | binary MACs |
    |-------|------------|-----------------|---------|-------------|
    | 1.0   | 432,790    | 425,000         | 293,000 | 2,000,000   |

    Attributes:
        filters: Of the 5x5 convolutions.
        hidden: Units of the hidden layer.
        sign: The quantizer of activations of one bit.

    Example:

    >>> BinaryLeNet5.build(num_bits=None).output_shape
    (None, 10)
    """

    sign: Any = "ste_sign"

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (28, 28),
        alpha: float = 1.0,
        *,
        num_bits: int | None = 1,
        kernel_quantizer: Any = "magnitude_aware_sign",
        input_scale: bool = False,
        classes: int = 10,
        **arguments,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)`; `None` only without the head.
            alpha: Width multiplier: every width is `int(alpha * filters)`.
            num_bits, kernel_quantizer, input_scale: As of
                `BinaryResNet.build`.
            classes: Number of classes.
            **arguments: Those of `ImageClassifier.build`; `channels` is 1
                where nothing says otherwise.

        Raises:
            ValueError: as `BinaryResNet.build`.
        """
        return super().build(
            image_size,
            alpha,
            bits=Bits(num_bits, kernel_quantizer, input_scale, cls.sign),
            classes=classes,
            **arguments,
        )

    @classmethod
    def features(cls, x, alpha, bits):
        """A float convolution, one of few bits, and the hidden dense layer."""
        first, second = (
            scaled(filters, alpha, f"conv{number}")
            for number, filters in enumerate(cls.filters, 1)
        )
        x = layers.Conv2D(first, 5, use_bias=False, name="conv1")(x)
        x = cls.pooled(x, bits, 1)
        x = bits.convolution(x, second, 5, use_bias=False, name="conv2")
        x = cls.pooled(x, bits, 2)
        x = layers.Flatten(name="flatten")(x)
        units = scaled(cls.hidden[0], alpha, "ip1")
        x = bits.dense(x, units, use_bias=False, name="ip1")
        return cls.normalize(x, "ip1")

    @classmethod
    def pooled(cls, x, bits, number):
        """Maximum over 2x2 before the sign, which it would make 1."""
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
        x = cls.normalize(x, f"conv{number}", activation=None)
        return bits.activate(x, f"conv{number}")

    @classmethod
    def top(cls, x, alpha, classes, activation):
        return cls.predictions(x, classes, activation, "ip2")


class BinaryConnectMLP(LeNet):
    """Builds the dense network of the BinaryConnect experiments.

    Courbariaux et al., "BinaryConnect", https://arxiv.org/abs/1511.00363,
    section 3.1: three hidden layers of 1,024 units for 28x28 pixels, each
    normalized, with binary kernels. With `num_bits=1` it is that of Hubara et
    al., "Binarized Neural Networks", https://arxiv.org/abs/1602.02830, whose
    activations are signs as well; the pixels stay as they are. Other than in
    the papers the last layer, a softmax in place of their support vector
    machine, is float, and there is no dropout.

    | num_bits | parameters | of them one bit | MACs      | binary MACs |
    |----------|------------|-----------------|-----------|-------------|
    | None     | 2,922,506  | 2,899,968       | 2,910,208 | none        |
    | 1        | 2,922,506  | 2,899,968       | 813,056   | 2,097,152   |

    Attributes:
        hidden: Units of the hidden layers.
        sign: The quantizer of activations of one bit.

    Example:

    >>> BinaryConnectMLP.build(kernel_quantizer="stochastic_sign").input_shape
    (None, 28, 28, 1)
    """

    hidden = (1024, 1024, 1024)
    sign: Any = "ste_sign"

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (28, 28),
        alpha: float = 1.0,
        *,
        num_bits: int | None = None,
        kernel_quantizer: Any = "ste_sign",
        input_scale: bool = False,
        classes: int = 10,
        **arguments,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)`.
            alpha: Width multiplier: every width is `int(alpha * units)`.
            num_bits, kernel_quantizer, input_scale: As of
                `BinaryResNet.build`, but floats and signs by default.
            classes: Number of classes.
            **arguments: Those of `ImageClassifier.build`; `channels` is 1
                where nothing says otherwise.

        Raises:
            ValueError: as `BinaryResNet.build`.
        """
        return super().build(
            image_size,
            alpha,
            bits=Bits(num_bits, kernel_quantizer, input_scale, cls.sign),
            classes=classes,
            **arguments,
        )

    @classmethod
    def features(cls, x, alpha, bits):
        """Dense layers, each normalized, on pixels that stay as they are."""
        x = layers.Flatten(name="flatten")(x)
        for number, units in enumerate(cls.hidden, 1):
            name = f"ip{number}"
            units = scaled(units, alpha, name)
            x = bits.dense(x, units, number > 1, use_bias=False, name=name)
            x = cls.normalize(x, name, activation=None)
            if number < len(cls.hidden):
                x = bits.activate(x, name)
        return layers.Activation("relu", name="last_relu")(x)

    @classmethod
    def top(cls, x, alpha, classes, activation):
        name = f"ip{len(cls.hidden) + 1}"
        return cls.predictions(x, classes, activation, name)
