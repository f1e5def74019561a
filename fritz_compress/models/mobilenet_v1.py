"""MobileNet, version 1."""

import keras
from keras import layers

from fritz_compress.checks import is_number
from fritz_compress.models.building import checked_size
from fritz_compress.models.image_classifier import ImageClassifier
from fritz_compress.models.widths import scaled


class MobileNetV1(ImageClassifier):
    """Builds MobileNet: 13 depthwise separable convolutions.

    Howard et al., "MobileNets: Efficient Convolutional Neural Networks for
    Mobile Vision Applications", https://arxiv.org/abs/1704.04861, table 1,
    with the two multipliers of sections 3.3 and 3.4. Tables 6 and 7 print the
    multiply-accumulates (MACs) of the last column in millions: 569, 325, 149,
    41; 418, 290 (here rounded up, 291) and 186.

    | alpha | rho        | parameters | trainable | MACs        |
    |-------|------------|------------|-----------|-------------|
    | 1.0   | 1 (224)    | 4,253,864  | 4,231,976 | 568,740,352 |
    | 0.75  | 1          | 2,601,976  | 2,585,560 | 325,400,448 |
    | 0.5   | 1          | 1,342,536  | 1,331,592 | 149,497,088 |
    | 0.25  | 1          | 475,544    | 470,072   | 41,030,272  |
    | 1.0   | 6/7 (192)  | 4,253,864  | 4,231,976 | 418,121,728 |
    | 1.0   | 5/7 (160)  | 4,253,864  | 4,231,976 | 290,675,200 |
    | 1.0   | 4/7 (128)  | 4,253,864  | 4,231,976 | 186,400,768 |

    Layers, their names and weights are those of
    `keras.applications.MobileNet`, whose files load as `checkpoint_file`, and
    which expects pixels scaled to `[-1, 1]`. The network does not scale them,
    and comes without weights.

    Attributes:
        blocks: Filters at alpha 1.0 and stride of each separable convolution.
        dropout: Share of the features that are dropped while training.

    Example:

    >>> MobileNetV1.build(alpha=0.25, rho=4 / 7).input_shape
    (None, 128, 128, 3)
    """

    stem: int = 32
    blocks: tuple[tuple[int, int], ...] = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    )
    dropout: float = 1e-3
    smallest = 31

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (224, 224),
        alpha: float = 1.0,
        rho: float = 1.0,
        *,
        input_tensor: keras.KerasTensor | None = None,
        **arguments,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)` at rho 1.0, or `None` for a model
                that takes any size.
            alpha: Width multiplier: every width is `int(alpha * filters)`.
            rho: Resolution multiplier: the model takes pictures of `rho *
                image_size`, rounded. Its parameters stay.
            input_tensor: See `ImageClassifier.build`; `rho` must be 1.
            **arguments: Those of `ImageClassifier.build`.

        Raises:
            ValueError: for a `rho` that is not positive or has no
                `image_size` to multiply, and as `ImageClassifier.build`.
        """
        if not is_number(rho) or not 0 < rho <= 1:
            raise ValueError(
                "`rho` is a resolution multiplier in (0, 1]. Received: "
                f"rho={rho!r}."
            )
        if rho != 1:
            if image_size is None or input_tensor is not None:
                raise ValueError(
                    "`rho` multiplies `image_size`, which must be given, and "
                    f"no `input_tensor` with it. Received: rho={rho}, "
                    f"image_size={image_size}."
                )
            image_size = [round(rho * x) for x in checked_size(image_size)]
        return super().build(
            image_size, alpha, input_tensor=input_tensor, **arguments
        )

    @classmethod
    def features(cls, x, alpha):
        x = cls.convolution(x, scaled(cls.stem, alpha, "conv1"))
        for number, (filters, strides) in enumerate(cls.blocks, 1):
            filters = scaled(filters, alpha, f"conv_pw_{number}")
            x = cls.separable_convolution(x, filters, strides, number)
        return x

    @classmethod
    def convolution(cls, x, filters):
        """The first layer, at half the size."""
        x = layers.Conv2D(
            filters, 3, 2, padding="same", use_bias=False, name="conv1"
        )(x)
        return cls.normalize(x, "conv1")

    @classmethod
    def separable_convolution(cls, x, filters, strides, number):
        """A 3x3 convolution of every channel, then a 1x1 of all (fig. 3)."""
        if strides > 1:
            x = layers.ZeroPadding2D(
                ((0, 1), (0, 1)), name=f"conv_pad_{number}"
            )(x)
        x = layers.DepthwiseConv2D(
            3,
            strides,
            padding="same" if strides == 1 else "valid",
            use_bias=False,
            name=f"conv_dw_{number}",
        )(x)
        x = cls.normalize(x, f"conv_dw_{number}")
        x = layers.Conv2D(
            filters, 1, padding="same", use_bias=False, name=f"conv_pw_{number}"
        )(x)
        return cls.normalize(x, f"conv_pw_{number}")

    @classmethod
    def normalize(cls, x, name, activation="relu"):
        """What follows a convolution: normalization, a relu that ends at 6."""
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
        return layers.ReLU(6.0, name=f"{name}_{activation}")(x)

    @classmethod
    def top(cls, x, alpha, classes, activation):
        """Means, and the dense layer as a 1x1 convolution of them."""
        x = layers.GlobalAveragePooling2D(keepdims=True, name="average")(x)
        x = layers.Dropout(cls.dropout, name="dropout")(x)
        x = layers.Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        x = layers.Reshape((classes,), name="reshape_2")(x)
        return layers.Activation(activation, name="predictions")(x)
