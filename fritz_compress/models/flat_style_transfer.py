"""A style transfer network of few wide layers at a quarter of the size."""

from keras import layers

from fritz_compress.layers import (
    CropToMatch,
    DeprocessStylizedImage,
    DepthToSpace,
    PadToMultiple,
)
from fritz_compress.models.style_transfer import StyleTransferNetwork

BLOCK = 4  # Pixels on a side of what one position of the core paints.


class FlatStyleTransferNetwork(StyleTransferNetwork):
    """Builds the flat style transfer network.

    An 8x8 convolution of stride 4, residual blocks at a quarter of the size,
    and a 1x1 convolution whose channels are the pixels of 4x4 blocks. No layer
    computes at full size, where the other style networks spend their time: at
    640x480 it has a seventh of the multiply-accumulates of
    `SmallStyleTransferNetwork` at alpha 0.3, and more weights.

    | alpha | channels | weights | multiply-accumulates per pixel |
    |-------|----------|---------|--------------------------------|
    | 1.0   | 32       | 44,912  | 2,784                          |
    | 0.5   | 16       | 13,264  | 816                            |
    | 0.375 | 12       | 8,232   | 504                            |

    Unlike its base class it takes and returns pictures of any size: those
    that are no multiple of 4 are mirrored at their lower and right edge, and
    what was added is taken off at the end.

    It learns from a teacher's pixels (`training.distill`) or from a painting
    (`training.train_perceptual`). Blocks of 4x4 pixels that are painted from
    one position tempt it into a regular grid of dots in flat areas:
    `losses.PixelLoss` with a `grid_weight` keeps it from that.

    Attributes:
        filters: Channels at a quarter of the size at alpha 1.0.
        blocks: Number of residual blocks.
        normalization: See `StyleTransferNetwork`.

    Example:

    >>> FlatStyleTransferNetwork.build((480, 640), alpha=0.5).count_params()
    13264
    """

    filters = (32,)
    blocks = 2
    multiple = 1

    @classmethod
    def network(cls, x, width: int):
        """All layers: pixels to pixels, given the width."""
        photo = x
        fits = all(side and side % BLOCK == 0 for side in photo.shape[1:3])
        if not fits:
            x = PadToMultiple(BLOCK, name="pad")(photo)
        x = cls.convolution(x, width, 2 * BLOCK, strides=BLOCK, name="encode")
        for block in range(1, cls.blocks + 1):
            x = cls.residual_block(x, width, name=f"residual_{block}")
        x = cls.paint(x)
        if not fits:
            x = CropToMatch(name="crop")([x, photo])
        return x

    @classmethod
    def paint(cls, x):
        """From the core to the pixels of 4x4 blocks, in `[0, 255]`."""
        x = layers.Conv2D(3 * BLOCK**2, 1, name="decode_blocks")(x)
        x = DepthToSpace(BLOCK, name="decode_rgb")(x)
        x = layers.Activation("tanh", name="tanh")(x)
        return DeprocessStylizedImage(name="deprocess")(x)
