"""MobileNet, version 2."""

from keras import layers

from fritz_compress.models.image_classifier import ImageClassifier
from fritz_compress.models.widths import divisible, scaled


class MobileNetV2(ImageClassifier):
    """Builds MobileNetV2: 17 inverted residuals with linear bottlenecks.

    Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    https://arxiv.org/abs/1801.04381, table 2. The width multiplier is that of
    section 4: above 1.0 it widens the last convolution too, below it does not.
    Table 4 prints 3.4 million parameters and 300 million multiply-accumulates
    (MACs) for 1.0, and 6.9 and 585 for 1.4; the authors' published networks
    have the MACs of this table.

    | alpha | parameters | trainable | MACs        |
    |-------|------------|-----------|-------------|
    | 1.4   | 6,156,712  | 6,108,776 | 582,195,824 |
    | 1.3   | 5,431,048  | 5,386,792 | 509,374,560 |
    | 1.0   | 3,538,984  | 3,504,872 | 300,774,272 |
    | 0.75  | 2,663,064  | 2,636,424 | 209,069,792 |
    | 0.5   | 1,987,224  | 1,968,680 | 97,131,840  |
    | 0.35  | 1,691,208  | 1,677,128 | 59,285,808  |

    Layers, their names and weights are those of
    `keras.applications.MobileNetV2`, whose files load as `checkpoint_file`,
    and which expects pixels scaled to `[-1, 1]`. The network does not scale
    them, and comes without weights.

    Attributes:
        stem, last: Filters of the first and the last convolution.
        stages: Expansion, filters, repeats and stride of the first, as in
            table 2.

    Example:

    >>> MobileNetV2.build((96, 96), alpha=0.35, classes=10).count_params()
    423018
    """

    stem: int = 32
    stages: tuple[tuple[int, int, int, int], ...] = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    last: int = 1280

    @classmethod
    def features(cls, x, alpha):
        filters = divisible(cls.stem, alpha, "Conv1")
        x = layers.Conv2D(
            filters, 3, 2, padding="same", use_bias=False, name="Conv1"
        )(x)
        x = cls.normalize(x, "bn_Conv1")
        x = layers.ReLU(6.0, name="Conv1_relu")(x)
        for number, (expansion, filters, strides) in enumerate(cls._blocks()):
            name = f"block_{number}_" if number else "expanded_conv_"
            # Keras rounds down before it rounds to 8. So that its weights fit:
            filters = scaled(filters, alpha, f"{name}project")
            filters = divisible(filters, 1.0, f"{name}project")
            x = cls.inverted_residual(x, filters, expansion, strides, name)
        filters = divisible(cls.last, max(alpha, 1.0), "Conv_1")
        x = cls.pointwise(x, filters, "Conv_1", "Conv_1_bn")
        return layers.ReLU(6.0, name="out_relu")(x)

    @classmethod
    def inverted_residual(cls, x, filters, expansion, strides, name):
        """1x1 to more channels, 3x3 each, 1x1 to few without relu (fig. 4)."""
        y = x
        if expansion > 1:
            wide = expansion * x.shape[-1]
            y = cls.pointwise(y, wide, f"{name}expand", f"{name}expand_BN")
            y = layers.ReLU(6.0, name=f"{name}expand_relu")(y)
        y = cls.depthwise(y, strides, name)
        y = cls.pointwise(y, filters, f"{name}project", f"{name}project_BN")
        if strides == 1 and filters == x.shape[-1]:
            return layers.Add(name=f"{name}add")([x, y])
        return y

    @classmethod
    def pointwise(cls, x, filters, name, normalization):
        """A 1x1 convolution and its normalization."""
        x = layers.Conv2D(filters, 1, use_bias=False, name=name)(x)
        return cls.normalize(x, normalization)

    @classmethod
    def depthwise(cls, x, strides, name):
        """A 3x3 convolution of every channel, normalization, relu."""
        x = layers.DepthwiseConv2D(
            3, strides, padding="same", use_bias=False, name=f"{name}depthwise"
        )(x)
        x = cls.normalize(x, f"{name}depthwise_BN")
        return layers.ReLU(6.0, name=f"{name}depthwise_relu")(x)

    @classmethod
    def normalize(cls, x, name, activation=None):
        """Batch normalization, with the statistics of the published ones."""
        return layers.BatchNormalization(
            epsilon=1e-3, momentum=0.999, name=name
        )(x)

    @classmethod
    def _blocks(cls):
        """Expansion, filters and stride of every block."""
        for expansion, filters, repeats, strides in cls.stages:
            for repeat in range(repeats):
                yield expansion, filters, 1 if repeat else strides
