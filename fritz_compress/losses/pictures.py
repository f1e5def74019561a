"""Losses that train pictures: on a teacher's pixels, or on a style."""

import keras
import numpy as np
from keras import ops

from fritz_compress.ops import style

HALF_RANGE = 127.5  # pixels of [0, 255] become units of [-1, 1]


@keras.saving.register_keras_serializable("fritz_compress")
class PixelLoss(keras.losses.Loss):
    """Mean absolute error of pixels, of their texture and of their grid.

    `mean|y - t| / 127.5 + texture_weight * sum over steps 1, 2, 4 and both
    axes of mean|e(y) - e(t)|`, with `e` the `ops.style.texture_energy` of the
    picture in units of 127.5. Plain L1 leaves fine texture out; the second
    term asks for its amount without asking for every grain's position.

    A network that paints blocks of `block` pixels at once repeats itself from
    block to block, which shows as a grid of dots in flat areas. `grid_weight *
    mean|g(y) - grid_share * g(t)|` is added against it, with `g` the
    `ops.style.grid_pattern`.

    Args:
        texture_weight: Weight of the texture term, 0 for none. Defaults to
            0.3.
        grid_weight: Weight of the grid term, 0 for none, the default.
        grid_share: How much of the teacher's own repetition to keep, from 0
            to 1. Defaults to 1, all.
        block: Side of a block in pixels. Defaults to 4.
        name: Name of the loss.

    Call arguments:
        y_true: The teacher's pictures, `(batch, height, width, 3)` in
            `[0, 255]`, sides of at least 12 pixels; with a grid term, sides
            that are multiples of `block`, at least 8 of them.
        y_pred: The student's pictures, same shape.

    Raises:
        ValueError: on construction if a weight is negative, `grid_share` not
            in `[0, 1]` or `block` below 2; when called on pictures that are
            too small for a term.

    Example:

    >>> float(PixelLoss()(teacher(photos), student(photos)))
    0.31
    """

    def __init__(
        self,
        texture_weight: float = 0.3,
        grid_weight: float = 0.0,
        grid_share: float = 1.0,
        block: int = 4,
        name: str = "pixel_loss",
        **kwargs,
    ):
        if texture_weight < 0 or grid_weight < 0:
            raise ValueError(
                "`texture_weight` and `grid_weight` must not be negative; 0 "
                "switches the term off. Received: texture_weight="
                f"{texture_weight}, grid_weight={grid_weight}."
            )
        if not 0 <= grid_share <= 1:
            raise ValueError(
                "`grid_share` is a fraction in [0, 1]. Received: "
                f"grid_share={grid_share}."
            )
        _check_block(block)
        super().__init__(name=name, **kwargs)
        self.texture_weight = texture_weight
        self.grid_weight = grid_weight
        self.grid_share = grid_share
        self.block = block

    def call(self, y_true, y_pred):
        y_true = y_true / HALF_RANGE
        y_pred = y_pred / HALF_RANGE
        loss = _mean_absolute_error(y_true, y_pred)
        if self.texture_weight:
            _check_sides(y_true.shape)
            loss += self.texture_weight * _texture_error(y_true, y_pred)
        if self.grid_weight:
            _check_blocks(y_true.shape, self.block)
            loss += self.grid_weight * _mean_absolute_error(
                self.grid_share * style.grid_pattern(y_true, self.block),
                style.grid_pattern(y_pred, self.block),
            )
        return loss

    def get_config(self):
        return {
            **super().get_config(),
            "texture_weight": self.texture_weight,
            "grid_weight": self.grid_weight,
            "grid_share": self.grid_share,
            "block": self.block,
        }


class PerceptualLoss(keras.losses.Loss):
    """Content, style and variation losses of Johnson et al.

    `content_weight * mean (F_c(y) - F_c(x))^2 + style_weight * sum over
    layers of |G(F_l(y)) - G(F_l(s))|^2 + variation_weight * V(y)`, with `F`
    the features of a frozen network, `G` their Gram matrix, `x` the photo, `s`
    the style picture and `V` the total variation in grey levels.

    The target of `fit` is the photo itself: `fit(photos.map(lambda x: (x,
    x)))`. A style loss alone says little about the picture: look at it, too.
    The loss holds a network and is not serializable.

    Args:
        extractor: Model from pictures in `[0, 255]` to a list of feature
            maps, such as `models.VGG16Features.build()`.
        style_image: Array of shape `(height, width, 3)` in `[0, 255]`.
        content_layer: Index of the feature map compared with the photo's.
            Defaults to 2, block3_conv3 of `VGG16Features`.
        content_weight: Defaults to 1.
        style_weight: Defaults to `1e-4`; the Gram terms are large.
        variation_weight: Defaults to 10.
        border: Pixels at each edge that are not looked at, 0 by default. A
            network sees its own padding there, and may learn to paint the
            style into a frame.
        grid_weight: Of `mean|g(y)|`, with `g` the `ops.style.grid_pattern` in
            grey levels: against the dots of a network that paints blocks of
            pixels at once. Defaults to 0.
        block: Side of such a block in pixels. Defaults to 4.
        name: Name of the loss.

    Call arguments:
        y_true: Photos, `(batch, height, width, 3)` in `[0, 255]`.
        y_pred: Their stylized pictures, same shape.

    Raises:
        ValueError: on construction for a style image that is not RGB, a
            `content_layer` that the extractor does not have, a negative
            `border` or `grid_weight`, or a `block` below 2; when called, as
            `PixelLoss`.

    Reference: Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time
    Style Transfer and Super-Resolution", https://arxiv.org/abs/1603.08155,
    section 3.2.
    """

    def __init__(
        self,
        extractor: keras.Model,
        style_image: np.ndarray,
        content_layer: int = 2,
        content_weight: float = 1.0,
        style_weight: float = 1e-4,
        variation_weight: float = 10.0,
        border: int = 0,
        grid_weight: float = 0.0,
        block: int = 4,
        name: str = "perceptual_loss",
        **kwargs,
    ):
        style_image = np.asarray(style_image, "float32")
        if style_image.ndim != 3 or style_image.shape[-1] != 3:
            raise ValueError(
                "`style_image` must have shape (height, width, 3). Received: "
                f"shape {style_image.shape}."
            )
        if not 0 <= content_layer < len(extractor.outputs):
            raise ValueError(
                "`content_layer` must be an index into the extractor's "
                f"{len(extractor.outputs)} feature maps. Received: "
                f"content_layer={content_layer}."
            )
        if border < 0 or grid_weight < 0:
            raise ValueError(
                "`border` and `grid_weight` must not be negative. Received: "
                f"border={border}, grid_weight={grid_weight}."
            )
        _check_block(block)
        super().__init__(name=name, **kwargs)
        self.extractor = extractor
        self.content_layer = content_layer
        self.content_weight = content_weight
        self.style_weight = style_weight
        self.variation_weight = variation_weight
        self.border = border
        self.grid_weight = grid_weight
        self.block = block
        # As NumPy: constants of the training step on every backend.
        self.style_grams = [
            ops.convert_to_numpy(style.gram_matrix(features))
            for features in self._features(style_image[None])
        ]

    def call(self, y_true, y_pred):
        y_true, y_pred = self._inside(y_true), self._inside(y_pred)
        content = self._features(y_true)[self.content_layer]
        features = self._features(y_pred)
        loss = self.content_weight * ops.mean(
            ops.square(features[self.content_layer] - content), axis=(1, 2, 3)
        )
        for feature, target in zip(features, self.style_grams):
            errors = ops.square(style.gram_matrix(feature) - target)
            loss += self.style_weight * ops.sum(errors, axis=(1, 2))
        if self.grid_weight:
            _check_blocks(y_pred.shape, self.block)
            pattern = style.grid_pattern(y_pred, self.block)
            loss += self.grid_weight * _mean_absolute_error(0.0, pattern)
        return loss + self.variation_weight * style.total_variation(y_pred)

    def _inside(self, pictures):
        if not self.border:
            return pictures
        return pictures[
            :, self.border : -self.border, self.border : -self.border
        ]

    def _features(self, pictures):
        """A list even of one feature map, in single precision."""
        features = keras.tree.flatten(self.extractor(pictures))
        return [ops.cast(feature, "float32") for feature in features]


def _mean_absolute_error(y_true, y_pred):
    errors = ops.abs(y_true - y_pred)
    return ops.mean(errors, axis=tuple(range(1, len(errors.shape))))


def _texture_error(y_true, y_pred):
    return sum(
        _mean_absolute_error(
            style.texture_energy(y_true, step, axis),
            style.texture_energy(y_pred, step, axis),
        )
        for step in style.TEXTURE_STEPS
        for axis in (1, 2)
    )


def _check_sides(shape):
    least = style.TEXTURE_WINDOW + max(style.TEXTURE_STEPS)
    sides = tuple(shape[1:3])
    if any(side is not None and side < least for side in sides):
        raise ValueError(
            f"The texture term needs pictures of at least {least}x{least} "
            f"pixels. Received: {sides}. Use larger crops or "
            "texture_weight=0."
        )


def _check_blocks(shape, block):
    least = style.GRID_WINDOW * block
    sides = tuple(shape[1:3])
    if any(side is None or side < least or side % block for side in sides):
        raise ValueError(
            f"The grid term needs pictures whose sides are multiples of {block}"
            f" and at least {least} pixels. Received: {sides}. Use other crops "
            "or grid_weight=0."
        )


def _check_block(block):
    if block < 2:
        raise ValueError(
            "`block` is a side in pixels and must be at least 2. Received: "
            f"block={block}."
        )
