"""What a style loss measures: Gram matrices, variation, local texture."""

from keras import ops

TEXTURE_STEPS = (1, 2, 4)  # pixels between the two ends of a difference
TEXTURE_WINDOW = 8  # pixels on a side
GRID_WINDOW = 8  # blocks on a side


def gram_matrix(features):
    """Correlations between the channels of a feature map.

    `G[i, j] = sum over positions of f_i f_j / (height * width * channels)`,
    Johnson et al. 2016, section 3.2.

    Args:
        features: Tensor of shape `(batch, height, width, channels)`.

    Returns: tensor of shape `(batch, channels, channels)`.
    """
    batch, height, width, channels = ops.shape(features)
    flat = ops.reshape(features, (batch, height * width, channels))
    products = ops.matmul(ops.transpose(flat, (0, 2, 1)), flat)
    return products / ops.cast(height * width * channels, features.dtype)


def total_variation(images):
    """Mean `|dx|` plus mean `|dy|` of each image, in the images' units.

    Args:
        images: Tensor of shape `(batch, height, width, channels)`.

    Returns: tensor of shape `(batch,)`.
    """
    return sum(
        ops.mean(ops.abs(_difference(images, 1, axis)), axis=(1, 2, 3))
        for axis in (1, 2)
    )


def texture_energy(images, step, axis):
    """Local strength of the differences between pixels `step` apart.

    The root mean square of the differences in windows of 8x8 pixels, every 4
    pixels: how rough the texture is, not where its grains lie. Comparing it
    restores texture that a mean over plausible pictures would blur.

    Args:
        images: Tensor of shape `(batch, height, width, channels)`, sides of
            at least `8 + step`.
        step: Distance in pixels.
        axis: 1 for vertical, 2 for horizontal differences.

    Returns: tensor of shape `(batch, rows, columns, channels)`.
    """
    squares = ops.square(_difference(images, step, axis))
    # Means of 2x2 blocks of 4x4 pixels: windows of 8 at a stride of 4, faster.
    blocks = ops.average_pool(squares, 4, strides=4, padding="valid")
    means = ops.average_pool(blocks, 2, strides=1, padding="valid")
    return ops.sqrt(means + 1e-4)  # The gradient of the root at 0 is infinite.


def grid_pattern(images, block):
    """What repeats itself from block to block, all around.

    The mean over windows of 8x8 blocks, every 4 blocks, of how far each pixel
    of a block is from the block's mean: zero where nothing has the period of
    the blocks. A network that paints whole blocks from one position leaves
    such a pattern in flat areas, as a grid of dots.

    Args:
        images: Tensor of shape `(batch, height, width, channels)`, sides
            multiples of `block` and of at least 8 blocks.
        block: Side of a block in pixels.

    Returns: tensor of shape `(batch, rows, columns, block**2, channels)`.
    """
    pixels = ops.space_to_depth(images, block, data_format="channels_last")
    # Sizes of what is left are known, and the batch need not be.
    *_, rows, columns, depth = pixels.shape
    channels = depth // block**2
    means = ops.average_pool(pixels, GRID_WINDOW, strides=4, padding="valid")
    rows, columns = ((n - GRID_WINDOW) // 4 + 1 for n in (rows, columns))
    means = ops.reshape(means, (-1, rows, columns, block**2, channels))
    return means - ops.mean(means, axis=3, keepdims=True)


def _difference(images, step, axis):
    if axis == 1:
        return images[:, step:] - images[:, :-step]
    return images[:, :, step:] - images[:, :, :-step]
