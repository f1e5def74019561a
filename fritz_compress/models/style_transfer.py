"""Feed-forward style transfer networks.

Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer
and Super-Resolution", https://arxiv.org/abs/1603.08155, supplementary table
1, with 'same' padding, instance normalization and nearest upsampling.
"""

import os

import keras
from keras import layers

from fritz_compress.layers import (
    DeprocessStylizedImage,
    InstanceNormalization,
    StandardizeImage,
)
from fritz_compress.models import building
from fritz_compress.models.widths import scaled

NORMALIZATIONS = {
    "instance": InstanceNormalization,
    "batch": layers.BatchNormalization,
}


class StyleTransferNetwork:
    """Builds the large style transfer network.

    A 9x9 convolution, two of stride 2, residual blocks at a quarter of the
    size, two upsamplings, a 9x9 convolution back to RGB, `tanh`, and pixels in
    `[0, 255]`. Every convolution has no bias and is followed by instance
    normalization, then by relu except before and after a residual addition
    and at the end.

    | alpha | trainable weights |
    |-------|-------------------|
    | 1.0   | 1,677,638         |
    | 0.5   | 424,102           |
    | 0.25  | 108,374           |

    With `normalization="batch"` every photo is standardized once, at the
    input, and batch normalization takes the place of instance normalization.
    Converters fold it into the convolutions: such a network is smaller and
    faster as a file, keeps its pictures in 8-bit integers, and has as many
    trainable weights (a mean and a variance per channel are not trained).
    `surgery.fold_normalization` makes one from a trained network.

    Subclass it to change the widths (`filters`), the depth (`blocks`), the
    normalization or any block: each is a classmethod that takes a tensor and
    returns one.

    Attributes:
        filters: Channels at full, half and quarter size at alpha 1.0.
        blocks: Number of residual blocks.
        normalization: "instance" or "batch", where `build` is not told.
        multiple: What height and width must be multiples of.

    Example:

    >>> model = StyleTransferNetwork.build((480, 640), alpha=0.25)
    >>> model.count_params()
    108374
    """

    filters: tuple[int, ...] = (32, 64, 128)
    blocks: int = 5
    normalization: str = "instance"
    multiple: int = 4  # Two convolutions of stride 2.

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None,
        alpha: float = 1.0,
        input_tensor: keras.KerasTensor | None = None,
        checkpoint_file: str | os.PathLike | None = None,
        normalization: str | None = None,
    ) -> keras.Model:
        """Returns an uncompiled model from RGB pixels to RGB pixels.

        Args:
            image_size: `(height, width)`, multiples of 4, or `None` for a
                model that takes any size. (At a size that is not a multiple
                of 4 the output is rounded up to the next one.)
            alpha: Width multiplier: every width is `int(alpha * filters)`.
            input_tensor: Keras tensor to build on, in place of a new input.
                Its size is used and `image_size` must agree or be `None`.
            checkpoint_file: Weights to load: `.weights.h5`, `.keras`, `.h5`
                or `.npz`.
            normalization: "instance", or "batch" for a network that
                converters can fold. Defaults to the attribute of the class,
                "instance".

        Input shape: `(batch, height, width, 3)`, values in `[0, 255]`.
        Output shape: the same, values in `[0, 255]`, not rounded.

        Raises:
            ValueError: for an `alpha` that leaves a layer without filters, a
                size that is not a multiple of 4, an input that does not have
                three channels, an unknown normalization, or a checkpoint of
                another architecture.
        """
        cls = cls._normalized_by(normalization or cls.normalization)
        widths = [
            scaled(filters, alpha, f"{cls.__name__}.filters[{i}]")
            for i, filters in enumerate(cls.filters)
        ]
        inputs = cls.image_input(image_size, input_tensor)
        outputs = cls.network(cls.prepare(inputs), *widths)
        return building.finished(cls, inputs, outputs, checkpoint_file)

    @classmethod
    def image_input(cls, image_size, input_tensor):
        """RGB pictures, of a size that the network keeps."""
        inputs = building.image_input(image_size, 3, input_tensor)
        cls._check_size(inputs.shape[1:3])
        return inputs

    @classmethod
    def prepare(cls, x):
        """What comes before `network`: photos are standardized or left."""
        if cls.normalization == "instance":
            return x
        return StandardizeImage(name="standardize")(x)

    @classmethod
    def network(cls, x, full: int, half: int, quarter: int):
        """All layers: pixels to pixels, given the three widths."""
        x = cls.convolution(x, full, 9, name="encode_full")
        x = cls.convolution(x, half, 3, strides=2, name="encode_half")
        x = cls.convolution(x, quarter, 3, strides=2, name="encode_quarter")
        for block in range(1, cls.blocks + 1):
            x = cls.residual_block(x, quarter, name=f"residual_{block}")
        x = cls.upsample(x, half, name="decode_half")
        x = cls.upsample(x, full, name="decode_full")
        x = cls.convolution(x, 3, 9, activation=None, name="decode_rgb")
        x = layers.Activation("tanh", name="tanh")(x)
        return DeprocessStylizedImage(name="deprocess")(x)

    @classmethod
    def convolution(
        cls, x, filters, kernel_size, strides=1, activation="relu", name=None
    ):
        """Convolution without bias, normalization, activation."""
        x = layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=False,
            name=f"{name}_convolution",
        )(x)
        normalization = NORMALIZATIONS[cls.normalization]
        x = normalization(epsilon=1e-3, name=f"{name}_normalization")(x)
        if activation is None:
            return x
        return layers.Activation(activation, name=f"{name}_{activation}")(x)

    @classmethod
    def residual_block(cls, x, filters, name=None):
        """Two 3x3 convolutions added to their input, no relu after."""
        y = cls.convolution(x, filters, 3, name=f"{name}_first")
        y = cls.convolution(
            y, filters, 3, activation=None, name=f"{name}_second"
        )
        return layers.Add(name=f"{name}_add")([x, y])

    @classmethod
    def upsample(cls, x, filters, name=None):
        """Nearest-neighbour upsampling to twice the size, 3x3 convolution."""
        x = layers.UpSampling2D(2, name=f"{name}_upsample")(x)
        return cls.convolution(x, filters, 3, name=name)

    @classmethod
    def _normalized_by(cls, normalization):
        """The class itself, or a subclass with another normalization."""
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {', '.join(NORMALIZATIONS)}. "
                f"Received: normalization={normalization!r}."
            )
        if normalization == cls.normalization:
            return cls
        return type(cls.__name__, (cls,), {"normalization": normalization})

    @classmethod
    def _check_size(cls, size):
        if any(side is not None and side % cls.multiple for side in size):
            raise ValueError(
                "`image_size` must be (height, width), both multiples of "
                f"{cls.multiple}, since the network makes them that much "
                f"smaller. Received: {tuple(size)}. Pad or crop the picture, "
                "or pass image_size=None for any size."
            )


class SmallStyleTransferNetwork(StyleTransferNetwork):
    """Builds the small style transfer network of the 17 KB file.

    The large network with 32 filters everywhere and three residual blocks.

    | alpha | trainable weights |
    |-------|-------------------|
    | 0.3   | 11,868            |
    | 0.25  | 9,830             |

    Example:

    >>> SmallStyleTransferNetwork.build(None, alpha=0.3).count_params()
    11868
    """

    filters = (32, 32, 32)
    blocks = 3
