"""ShuffleNet, version 2."""

from keras import layers

from fritz_compress.models.shufflenet import ShuffleNet
from fritz_compress.models.widths import divisible


class ShuffleNetV2(ShuffleNet):
    """Builds ShuffleNetV2: half of the channels pass each unit untouched.

    Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN
    Architecture Design", https://arxiv.org/abs/1807.11164, table 5. It prints
    multiply-accumulates (MACs) of 41, 146, 299 and 591 million, with those of
    other operations; the authors' published networks have 1.4, 2.3, 3.5 and
    7.4 million parameters.

    | alpha | stages        | last | parameters | trainable | MACs        |
    |-------|---------------|------|------------|-----------|-------------|
    | 0.5   | 48, 96, 192   | 1024 | 1,374,744  | 1,366,792 | 40,476,448  |
    | 1.0   | 116, 232, 464 | 1024 | 2,294,784  | 2,278,604 | 144,907,992 |
    | 1.5   | 176, 352, 704 | 1024 | 3,527,064  | 3,503,624 | 295,759,392 |
    | 2.0   | 244, 488, 976 | 2048 | 7,427,712  | 7,393,996 | 583,253,464 |

    It is the authors' network, with a bias in the last layer:
    https://github.com/megvii-model/ShuffleNet-Series. (For 2.0 the paper's
    table prints 224 channels in the first stage, which do not double to the
    488 of the next; the published weights have 244.) It comes without weights.

    Attributes:
        stem, repeats: See `ShuffleNet`.
        widths: Channels of the first stage and of the last convolution, by
            alpha. Any other alpha multiplies all widths of 1.0, the stem's
            too.

    Example:

    >>> ShuffleNetV2.build((64, 64), alpha=0.5, classes=10).count_params()
    359994
    """

    widths: dict[float, tuple[int, int]] = {
        0.5: (48, 1024),
        1.0: (116, 1024),
        1.5: (176, 1024),
        2.0: (244, 2048),
    }

    @classmethod
    def features(cls, x, alpha):
        stem, width, last = cls._widths(alpha)
        x = cls.entrance(x, stem)
        for stage, repeats in enumerate(cls.repeats, 2):
            for repeat in range(repeats):
                name = f"stage_{stage}_{repeat + 1}"
                if repeat:
                    x = cls.unit(x, name)
                else:
                    x = cls.strided_unit(x, width, name)
            width *= 2
        return cls.convolution(x, last, 1, name="last")

    @classmethod
    def unit(cls, x, name):
        """One half of the channels is computed, the other passes (fig. 3c)."""
        half = x.shape[-1] // 2
        y = cls.branch(x[..., half:], half, 1, name)
        return cls.joined(x[..., :half], y, name)

    @classmethod
    def strided_unit(cls, x, filters, name):
        """Two halves, both computed from all channels (figure 3d)."""
        filters //= 2
        y = cls.branch(x, filters, 2, name)
        x = cls.depthwise(x, 2, f"{name}_side_depthwise")
        x = cls.convolution(x, filters, 1, name=f"{name}_side_out")
        return cls.joined(x, y, name)

    @classmethod
    def branch(cls, x, filters, strides, name):
        """1x1, 3x3 of every channel, 1x1."""
        x = cls.convolution(x, filters, 1, name=f"{name}_in")
        x = cls.depthwise(x, strides, f"{name}_depthwise")
        return cls.convolution(x, filters, 1, name=f"{name}_out")

    @classmethod
    def joined(cls, x, y, name):
        """The channels of both, in turn."""
        x = layers.Concatenate(name=f"{name}_concatenate")([x, y])
        return cls.shuffled(x, 2, f"{name}_shuffle")

    @classmethod
    def _widths(cls, alpha):
        """Channels of the stem, the first stage and the last convolution."""
        if alpha in tuple(cls.widths):
            return (cls.stem, *cls.widths[alpha])
        first, last = cls.widths[1.0]
        return (
            divisible(cls.stem, alpha, "stem"),
            divisible(first, alpha, "stage_2", 2),
            divisible(last, alpha, "last"),
        )
