"""What all networks that classify pictures have in common."""

import os
from collections.abc import Callable

import keras
from keras import layers

from fritz_compress.checks import check_count
from fritz_compress.models.building import finished, image_input


class ImageClassifier:
    """Base of the networks that classify pictures, made to be subclassed.

    A subclass says what comes before the head, in `features`; it takes the
    network's own options, which `build` hands on to it. Every block is a
    classmethod that takes a tensor and returns one, so that a subclass may
    replace it.

    Attributes:
        channels: Of a picture, where `build` is not told: 3, for RGB.
        smallest: Side of the smallest picture that the layers let through.
        flattens: Whether the head counts positions, so that with it the
            size of the pictures must be known.
        kernel_initializer: Of convolutions made by `convolution`.

    Example:

    >>> class Tiny(ImageClassifier):
    ...     @classmethod
    ...     def features(cls, x, alpha):
    ...         return keras.layers.Conv2D(scaled(8, alpha, "stem"), 3)(x)
    >>> Tiny.build((32, 32), alpha=0.5, classes=10).output_shape
    (None, 10)
    """

    channels: int = 3
    smallest: int = 1
    flattens: bool = False
    kernel_initializer: str = "glorot_uniform"

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (224, 224),
        alpha: float = 1.0,
        *,
        classes: int = 1000,
        include_top: bool = True,
        classifier_activation: str | Callable | None = "softmax",
        checkpoint_file: str | os.PathLike | None = None,
        input_tensor: keras.KerasTensor | None = None,
        channels: int | None = None,
        **options,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)`, or `None` for a model that takes
                any size.
            alpha: Width multiplier.
            classes: Number of classes, the width of the last layer.
            include_top: Whether the model ends with `top`, the head that
                classifies, or with what `features` returns.
            classifier_activation: Of the last layer; `None` for logits.
            checkpoint_file: Weights to load: `.weights.h5`, `.keras`, `.h5`
                or `.npz`.
            input_tensor: Keras tensor to build on, in place of a new input;
                its size is used, not `image_size`.
            channels: Of a picture. Defaults to those of `input_tensor`, else
                to the attribute of the class.
            **options: Of the network; see its class.

        Input shape: `(batch, height, width, channels)`.
        Output shape: `(batch, classes)`; without the head that of the
            features.

        Raises:
            TypeError: for `classes` or `channels` that are no whole number,
                and for an option that the network does not have.
            ValueError: for an `alpha` that leaves a layer without filters, a
                size that is too small or unknown where it must be known,
                `classes` below 1, or a checkpoint of another architecture.
        """
        classes = check_count("classes", classes)
        if channels is not None:
            channels = check_count("channels", channels)
        elif input_tensor is None:
            channels = cls.channels
        size = image_size if input_tensor is None else None
        inputs = image_input(size, channels, input_tensor)
        cls._check_size(inputs.shape[1:3], include_top)
        outputs = cls.features(inputs, alpha, **options)
        if include_top:
            outputs = cls.top(outputs, alpha, classes, classifier_activation)
        return finished(cls, inputs, outputs, checkpoint_file)

    @classmethod
    def features(cls, x, alpha: float):
        """All layers before the head: pictures to feature maps."""
        raise NotImplementedError(
            f"{cls.__name__} must define `features(cls, x, alpha)`, which "
            "takes pictures and returns what its head classifies."
        )

    @classmethod
    def top(cls, x, alpha: float, classes: int, activation):
        """The head: the mean of every feature map, then a dense layer."""
        x = layers.GlobalAveragePooling2D(name="average")(x)
        return cls.predictions(x, classes, activation)

    @classmethod
    def convolution(
        cls,
        x,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        *,
        groups: int = 1,
        padding: str = "same",
        activation: str | None = "relu",
        name: str,
    ):
        """Convolution without bias, normalization, activation."""
        x = layers.Conv2D(
            filters,
            kernel_size,
            strides,
            padding=padding,
            groups=groups,
            use_bias=False,
            kernel_initializer=cls.kernel_initializer,
            name=f"{name}_convolution",
        )(x)
        return cls.normalize(x, name, activation)

    @classmethod
    def normalize(cls, x, name: str, activation: str | None = "relu"):
        """What follows a convolution: normalization, activation."""
        x = layers.BatchNormalization(name=f"{name}_normalization")(x)
        if activation is None:
            return x
        return layers.Activation(activation, name=f"{name}_{activation}")(x)

    @classmethod
    def predictions(cls, x, classes: int, activation, name="predictions"):
        """The last layer."""
        return layers.Dense(classes, activation=activation, name=name)(x)

    @classmethod
    def _check_size(cls, size, include_top):
        if None in size and include_top and cls.flattens:
            raise ValueError(
                f"The head of {cls.__name__} needs pictures of one size. "
                f"Received: {tuple(size)}. Pass `image_size`, (height, width)"
                ", or include_top=False."
            )
        if any(side is not None and side < cls.smallest for side in size):
            raise ValueError(
                f"Pictures of {cls.__name__} must be at least "
                f"{cls.smallest}x{cls.smallest}. Received: {tuple(size)}."
            )
