"""VGG-16, of ImageNet and of CIFAR-10."""

import keras
from keras import layers

from fritz_compress.models.image_classifier import ImageClassifier
from fritz_compress.models.widths import scaled


class VGG16(ImageClassifier):
    """Builds VGG-16: 13 convolutions and three dense layers.

    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale
    Image Recognition", https://arxiv.org/abs/1409.1556, table 1,
    configuration D; table 2 prints 138 million parameters.

    | alpha | parameters  | MACs           |
    |-------|-------------|----------------|
    | 1.0   | 138,357,544 | 15,470,264,320 |

    Layers, their names and weights are those of `keras.applications.VGG16`,
    whose files load as `checkpoint_file`, and which expects what
    `keras.applications.vgg16.preprocess_input` returns. The network comes
    without weights. `VGG16Features` is the part that perceptual losses need.

    Attributes:
        blocks: Filters and number of the convolutions at each size.
        hidden: Units of the dense layers before the last.

    Example:

    >>> VGG16.build(alpha=0.125, classes=10).count_params()
    2104498
    """

    blocks: tuple[tuple[int, int], ...] = (
        (64, 2),
        (128, 2),
        (256, 3),
        (512, 3),
        (512, 3),
    )
    hidden: tuple[int, ...] = (4096, 4096)
    smallest = 32
    flattens = True

    @classmethod
    def features(cls, x, alpha):
        for block, (filters, count) in enumerate(cls.blocks, 1):
            for number in range(1, count + 1):
                name = f"block{block}_conv{number}"
                x = cls.convolution(
                    x, scaled(filters, alpha, name), 3, name=name
                )
            x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        return x

    @classmethod
    def convolution(cls, x, filters, kernel_size, *, name):
        """Convolution with bias, relu."""
        return layers.Conv2D(
            filters, kernel_size, padding="same", activation="relu", name=name
        )(x)

    @classmethod
    def top(cls, x, alpha, classes, activation):
        """Dense layers on all positions."""
        x = layers.Flatten(name="flatten")(x)
        for number, units in enumerate(cls.hidden, 1):
            name = f"fc{number}"
            x = cls.dense(x, scaled(units, alpha, name), name)
        return cls.predictions(x, classes, activation)

    @classmethod
    def dense(cls, x, units, name):
        """Dense layer, relu."""
        return layers.Dense(units, activation="relu", name=name)(x)


class CifarVGG16(VGG16):
    """Builds the VGG-16 for CIFAR-10 that pruning is often shown on.

    Li et al., "Pruning Filters for Efficient ConvNets",
    https://arxiv.org/abs/1608.08710, table 2: VGG-16 with one hidden dense
    layer of 512 and with batch normalization after every convolution. Their
    table prints the multiply-accumulates (MACs), 3.13e8, and the 14,977,728
    weights of kernels as 1.5e7 parameters.

    | alpha | parameters | trainable  | MACs        |
    |-------|------------|------------|-------------|
    | 1.0   | 14,995,146 | 14,986,698 | 313,463,808 |

    The network comes without weights.

    Example:

    >>> CifarVGG16.build(alpha=0.25).output_shape
    (None, 10)
    """

    hidden = (512,)

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (32, 32),
        alpha: float = 1.0,
        *,
        classes: int = 10,
        **arguments,
    ) -> keras.Model:
        """See `ImageClassifier.build`."""
        return super().build(image_size, alpha, classes=classes, **arguments)

    @classmethod
    def convolution(cls, x, filters, kernel_size, *, name):
        """Convolution without bias, normalization, relu."""
        return super(VGG16, cls).convolution(x, filters, kernel_size, name=name)
