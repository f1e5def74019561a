"""ResNets whose inner convolutions are of one bit, or few."""

from typing import Any

import keras
from keras import layers

from fritz_compress.models.binary_blocks import Bits
from fritz_compress.models.cifar_resnet import CifarResNet
from fritz_compress.models.residual import ResidualNetwork


class BinaryResidualNetwork(ResidualNetwork):
    """Base of the ResNets of few bits: what their blocks are.

    A residual unit is normalization, sign, binary convolution, twice, and its
    input is added: so signs are of numbers with a mean near zero, and what is
    added is not binary. The first convolution, the shortcuts with a kernel
    and the last dense layer stay float.

    Attributes:
        sign: The quantizer of activations of one bit.
    """

    sign: Any = "ste_sign"
    kernel_initializer = "he_normal"

    @classmethod
    def stem(cls, x, filters):
        return cls.convolution(x, filters, 3, activation=None, name="stem")

    @classmethod
    def end(cls, x):
        return cls.normalize(x, "last")

    @classmethod
    def residual_block(cls, x, filters, strides, shortcut, name, bits, bi_real):
        """Two binary convolutions, and a shortcut around both or each."""
        y = cls.binary_convolution(x, filters, strides, bits, f"{name}_first")
        x = cls.shortened(x, filters, strides, shortcut, name)
        if bi_real:
            x = y = layers.Add(name=f"{name}_first_add")([x, y])
        y = cls.binary_convolution(y, filters, 1, bits, f"{name}_second")
        return layers.Add(name=f"{name}_add")([x, y])

    @classmethod
    def binary_convolution(cls, x, filters, strides, bits, name):
        """Normalization, sign, 3x3 convolution."""
        x = cls.normalize(x, name, activation=None)
        x = bits.activate(x, name)
        return bits.convolution(
            x,
            filters,
            3,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=cls.kernel_initializer,
            name=f"{name}_convolution",
        )

    @classmethod
    def projection(cls, x, filters, strides, name):
        """Option B: the mean of 2x2 positions, then a float 1x1 convolution."""
        x = layers.AveragePooling2D(
            strides, padding="same", name=f"{name}_mean"
        )(x)
        return cls.convolution(x, filters, 1, activation=None, name=name)


class BinaryResNet(BinaryResidualNetwork, CifarResNet):
    """Builds ResNets for 32x32 with inner convolutions of one bit, or few.

    The stages of `CifarResNet`, with the residual unit of Rastegari et al.,
    "XNOR-Net", https://arxiv.org/abs/1603.05279, section 3.2 and figure 3:
    normalization before the sign, so that none is lost. Zhou et al.,
    "DoReFa-Net", https://arxiv.org/abs/1606.06160, for more bits; Liu et al.,
    "Bi-Real Net", https://arxiv.org/abs/1808.00278, for a shortcut around
    each convolution.

    | depth | parameters | of them one bit | MACs    | binary MACs |
    |-------|------------|-----------------|---------|-------------|
    | 8     | 75,834     | 73,728          | 443,008 | 11,796,480  |
    | 14    | 173,498    | 170,496         | 443,008 | 25,952,256  |
    | 20    | 271,162    | 267,264         | 443,008 | 40,108,032  |
    | 32    | 466,490    | 460,800         | 443,008 | 68,419,584  |
    | 44    | 661,818    | 654,336         | 443,008 | 96,731,136  |
    | 56    | 857,146    | 847,872         | 443,008 | 125,042,688 |

    Binary networks want more filters than float ones: `alpha=2` makes them
    twice as wide. The network comes without weights.

    Attributes:
        widths: Filters of each stage at alpha 1.0.
        sign: The quantizer of activations of one bit: "ste_sign";
            "approx_sign" in Bi-Real net.

    Example:

    >>> model = BinaryResNet.build(depth=20, alpha=2)
    >>> weights_only = BinaryResNet.build(depth=20, num_bits=None)
    """

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (32, 32),
        alpha: float = 1.0,
        depth: int = 20,
        shortcut: str = "A",
        *,
        num_bits: int | None = 1,
        kernel_quantizer: Any = "magnitude_aware_sign",
        input_scale: bool = False,
        bi_real: bool = False,
        classes: int = 10,
        **arguments,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)`, or `None` for a model that takes
                any size.
            alpha: Width multiplier: every width is `int(alpha * filters)`.
            depth: Number of layers with weights, 6n + 2: 8, 14, 20, ... 56.
            shortcut: Where a stage is halved in size and doubled in channels:
                "A", every other position with zeros as the new channels; or
                "B", means of 2x2 and a float 1x1 convolution.
            num_bits: Bits of the activations that the inner convolutions
                read: 1 for signs, 2 to 8 for DoReFa's levels, `None` for
                floats after a ReLU.
            kernel_quantizer: Of the inner convolutions: a name, an object, or
                `None` for floats. With `num_bits=None` too, the network is a
                float one of the same shape.
            input_scale: Whether their sums are scaled by the magnitude of
                their inputs (`layers.XnorConv2D`); for `num_bits=1`.
            bi_real: Whether each convolution has a shortcut of its own.
            classes: Number of classes.
            **arguments: Those of `ImageClassifier.build`.

        Raises:
            ValueError: for another depth or shortcut, `num_bits` out of
                range, a quantizer that there is not; and as
                `ImageClassifier.build`.
        """
        return super().build(
            image_size,
            alpha,
            depth,
            shortcut,
            bits=Bits(num_bits, kernel_quantizer, input_scale, cls.sign),
            bi_real=bi_real,
            classes=classes,
            **arguments,
        )


class BinaryResNet18(BinaryResidualNetwork):
    """Builds ResNet-18 for ImageNet with inner convolutions of one bit.

    He et al., https://arxiv.org/abs/1512.03385, table 1, with the units of
    `BinaryResNet`; a 7x7 convolution and a maximum before them.

    | shortcut | parameters | of them one bit | MACs        | binary MACs   |
    |----------|------------|-----------------|-------------|---------------|
    | B        | 11,699,368 | 10,985,472      | 137,793,536 | 1,676,279,808 |

    So many parameters has BinaryResNetE18 of the Larq Zoo too,
    https://docs.larq.dev/zoo/, which has a shortcut around each convolution
    (`bi_real=True`) and no scales. The network comes without weights.

    Attributes:
        widths: Filters of each stage at alpha 1.0.
        sign: As of `BinaryResNet`.

    Example:

    >>> model = BinaryResNet18.build(bi_real=True)
    """

    widths = (64, 128, 256, 512)

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (224, 224),
        alpha: float = 1.0,
        *,
        shortcut: str = "B",
        num_bits: int | None = 1,
        kernel_quantizer: Any = "magnitude_aware_sign",
        input_scale: bool = False,
        bi_real: bool = False,
        **arguments,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)`, or `None` for a model that takes
                any size.
            alpha: Width multiplier: every width is `int(alpha * filters)`.
            shortcut, num_bits, kernel_quantizer, input_scale, bi_real: As of
                `BinaryResNet.build`.
            **arguments: Those of `ImageClassifier.build`.

        Raises:
            ValueError: as `BinaryResNet.build`.
        """
        return super().build(
            image_size,
            alpha,
            blocks=2,
            shortcut=shortcut,
            bits=Bits(num_bits, kernel_quantizer, input_scale, cls.sign),
            bi_real=bi_real,
            **arguments,
        )

    @classmethod
    def stem(cls, x, filters):
        x = cls.convolution(x, filters, 7, 2, activation=None, name="stem")
        return layers.MaxPooling2D(3, 2, padding="same", name="stem_maximum")(x)
