"""ResNets for pictures of 32x32."""

import keras

from fritz_compress.checks import is_whole
from fritz_compress.models.residual import ResidualNetwork


class CifarResNet(ResidualNetwork):
    """Builds the ResNets of the CIFAR-10 experiments.

    He et al., "Deep Residual Learning for Image Recognition",
    https://arxiv.org/abs/1512.03385, section 4.2: a 3x3 convolution, three
    stages of `(depth - 2) / 6` residual blocks at 32x32, 16x16 and 8x8, and a
    dense layer. Table 6 prints 0.27, 0.46, 0.66, 0.85 and 1.7 million
    parameters, which are the trainable ones.

    | depth | shortcut | parameters | trainable | MACs        |
    |-------|----------|------------|-----------|-------------|
    | 20    | A        | 271,098    | 269,722   | 40,551,040  |
    | 20    | B        | 274,042    | 272,474   | 40,813,184  |
    | 32    | A        | 466,426    | 464,154   | 68,862,592  |
    | 44    | A        | 661,754    | 658,586   | 97,174,144  |
    | 56    | A        | 857,082    | 853,018   | 125,485,696 |
    | 110   | A        | 1,736,058  | 1,727,962 | 252,887,680 |

    Convolutions of stride 2 are padded as Keras does, at the lower and right
    edge of an even size; the network does not subtract the mean of the
    pixels, and comes without weights.

    Attributes:
        widths: Filters of each stage at alpha 1.0.

    Example:

    >>> CifarResNet.build((28, 28), depth=20, channels=1).input_shape
    (None, 28, 28, 1)
    """

    widths: tuple[int, ...] = (16, 32, 64)
    kernel_initializer = "he_normal"

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (32, 32),
        alpha: float = 1.0,
        depth: int = 20,
        shortcut: str = "A",
        *,
        classes: int = 10,
        **arguments,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size: `(height, width)`, or `None` for a model that takes
                any size.
            alpha: Width multiplier: every width is `int(alpha * filters)`.
            depth: Number of layers with weights, 6n + 2: 20, 32, 44, 56, 110.
            shortcut: What is added where a stage is halved in size and doubled
                in channels: "A", every other position with zeros as the new
                channels; or "B", a 1x1 convolution.
            classes: Number of classes.
            **arguments: Those of `ImageClassifier.build`.

        Raises:
            ValueError: for another depth or shortcut, and as
                `ImageClassifier.build`.
        """
        per_block = 2 * len(cls.widths)
        if not is_whole(depth) or depth <= 2 or (depth - 2) % per_block:
            raise ValueError(
                f"`depth` must be {per_block}n + 2, such as "
                f"{3 * per_block + 2}. Received: depth={depth!r}."
            )
        return super().build(
            image_size,
            alpha,
            blocks=(depth - 2) // per_block,
            shortcut=shortcut,
            classes=classes,
            **arguments,
        )
