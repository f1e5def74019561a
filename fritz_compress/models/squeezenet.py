"""SqueezeNet."""

import keras
from keras import layers, ops

from fritz_compress.models.image_classifier import ImageClassifier
from fritz_compress.models.widths import scaled

# Filters and kernel size of the first convolution, and after which of the
# modules (1 stands for that convolution) the size is halved.
VERSIONS = {"1.0": (96, 7, (1, 4, 8)), "1.1": (64, 3, (1, 3, 5))}
BYPASSES = ("none", "simple", "complex")


class SqueezeNet(ImageClassifier):
    """Builds SqueezeNet: eight fire modules, which squeeze and expand.

    Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer
    parameters and <0.5MB model size", https://arxiv.org/abs/1602.07360, table
    1; and the authors' version 1.1, https://github.com/forresti/SqueezeNet, of
    the same accuracy with 2.3 times fewer multiply-accumulates (MACs). The
    paper prints 1,248,424 parameters, 4.8 MB; its 7.7 MB for complex bypass
    are more than the convolutions of figure 2 make up, 6.4 MB.

    | version | bypass  | parameters | MACs          |
    |---------|---------|------------|---------------|
    | 1.0     | none    | 1,248,424  | 818,924,576   |
    | 1.0     | simple  | 1,248,424  | 818,924,576   |
    | 1.0     | complex | 1,589,672  | 1,165,298,720 |
    | 1.1     | none    | 1,235,496  | 349,151,936   |
    | 1.1     | complex | 1,572,648  | 447,660,736   |

    The first convolution has no padding, and the maxima at the right and
    lower edge are over what is left there, as in Caffe and PyTorch. There is
    no normalization. The network comes without weights.

    Attributes:
        modules: Filters of each fire module: in its 1x1 convolution, and in
            each of the 1x1 and 3x3 convolutions that read it.
        dropout: Share of the features that are dropped while training.

    Example:

    >>> SqueezeNet.build(version="1.1", classes=10).count_params()
    727626
    """

    modules: tuple[tuple[int, int], ...] = (
        (16, 64),
        (16, 64),
        (32, 128),
        (32, 128),
        (48, 192),
        (48, 192),
        (64, 256),
        (64, 256),
    )
    dropout: float = 0.5
    smallest = 21

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (224, 224),
        alpha: float = 1.0,
        version: str = "1.0",
        bypass: str = "none",
        **arguments,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)`, or `None` for a model that takes
                any size.
            alpha: Width multiplier: every width is `int(alpha * filters)`.
            version: "1.0" or "1.1".
            bypass: "none"; "simple" to add the inputs of modules 3, 5, 7 and
                9 to their outputs; "complex" to add those of the others, too,
                through 1x1 convolutions (section 6, figure 2).
            **arguments: Those of `ImageClassifier.build`.

        Raises:
            ValueError: for an unknown version or bypass, and as
                `ImageClassifier.build`.
        """
        for name, value, known in (
            ("version", version, tuple(VERSIONS)),
            ("bypass", bypass, BYPASSES),
        ):
            if value not in known:
                raise ValueError(
                    f"`{name}` must be one of {known}. Received: "
                    f"{name}={value!r}."
                )
        return super().build(
            image_size, alpha, version=version, bypass=bypass, **arguments
        )

    @classmethod
    def features(cls, x, alpha, version, bypass):
        stem, kernel_size, pooled = VERSIONS[version]
        filters = scaled(stem, alpha, "conv1")
        x = layers.Conv2D(
            filters, kernel_size, 2, activation="relu", name="conv1"
        )(x)
        for number, widths in enumerate(cls.modules, 2):
            if number - 1 in pooled:
                x = cls.pool(x, f"pool{number - 1}")
            name = f"fire{number}"
            squeeze, expand = (scaled(w, alpha, name) for w in widths)
            y = cls.fire(x, squeeze, expand, name)
            x = cls.bypassed(x, y, bypass, name)
        return x

    @classmethod
    def fire(cls, x, squeeze, expand, name):
        """A 1x1 convolution, then 1x1 and 3x3 beside each other (fig. 1)."""
        x = cls.convolution(x, squeeze, 1, name=f"{name}_squeeze1x1")
        x = [
            cls.convolution(x, expand, 1, name=f"{name}_expand1x1"),
            cls.convolution(x, expand, 3, name=f"{name}_expand3x3"),
        ]
        return layers.Concatenate(name=f"{name}_concatenate")(x)

    @classmethod
    def convolution(cls, x, filters, kernel_size, *, activation="relu", name):
        """Convolution with bias, activation."""
        return layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            activation=activation,
            name=name,
        )(x)

    @classmethod
    def bypassed(cls, x, y, bypass, name):
        """The output `y` of a module, with its input `x` added or not."""
        alike = x.shape[-1] == y.shape[-1]
        if bypass == "none" or (bypass == "simple" and not alike):
            return y
        if not alike:
            x = cls.convolution(
                x, y.shape[-1], 1, activation=None, name=f"{name}_bypass"
            )
        return layers.Add(name=f"{name}_add")([x, y])

    @classmethod
    def pool(cls, x, name):
        """Maxima of 3x3 positions at half the size, rounded up."""
        parities = {side and side % 2 for side in x.shape[1:3]}
        if parities == {0}:
            # It pads the lower and right edge alone, and no maximum sees it.
            return layers.MaxPooling2D(3, 2, padding="same", name=name)(x)
        if parities != {1}:
            # What is mirrored is next to itself in the last maximum of an
            # even size, and in none of an odd one.
            edges = [[0, 0], [0, 1], [0, 1], [0, 0]]
            x = ops.pad(x, edges, mode="reflect")
        return layers.MaxPooling2D(3, 2, name=name)(x)

    @classmethod
    def top(cls, x, alpha, classes, activation):
        """A map of every class, and their means."""
        x = layers.Dropout(cls.dropout, name="dropout")(x)
        x = cls.convolution(x, classes, 1, name="conv10")
        x = layers.GlobalAveragePooling2D(name="average")(x)
        return layers.Activation(activation, name="predictions")(x)
