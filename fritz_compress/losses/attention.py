"""Where a network looks, in place of what it sees there."""

import keras
from keras import ops

_SMALLEST = 1e-24  # Of a sum of squares that is divided by.


@keras.saving.register_keras_serializable("fritz_compress")
class AttentionTransferLoss(keras.losses.Loss):
    """How differently two networks spread their attention over positions.

    The attention of a feature map is the sum of squares over its channels, a
    map of one number per position; each is divided by its length as a vector,
    and half the squared distance of both is the loss. Numbers of channels may
    differ. Where sizes do, the teacher's map is resized to the student's,
    bilinearly.

    The paper's formula has the distance itself. It is squared here, as in the
    code of the authors: the gradient of a distance has no limit where both
    agree.

    Args:
        name: Name of the loss.

    Call arguments:
        y_true: The teacher's features, `(batch, positions, channels)` or
            `(batch, height, width, channels)`.
        y_pred: The student's, as many axes.

    Raises:
        ValueError: when called on anything else; sequences of different
            lengths are not resized.

    Reference: Zagoruyko and Komodakis, "Paying More Attention to Attention",
    https://arxiv.org/abs/1612.03928, equations 1 (with p = 2) and 2.
    """

    def __init__(self, name: str = "attention_transfer_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        _check_axes(y_true.shape, y_pred.shape)
        target, made = _attention(y_true), _attention(y_pred)
        if len(made.shape) == 3 and target.shape[1:] != made.shape[1:]:
            target = ops.image.resize(
                target[..., None],
                ops.shape(made)[1:3],
                data_format="channels_last",
            )[..., 0]
        difference = _directions(target) - _directions(made)
        return 0.5 * ops.sum(ops.square(difference), axis=-1)


def _attention(features):
    return ops.sum(ops.square(ops.cast(features, "float32")), axis=-1)


def _directions(maps):
    """One vector of length 1 per sample; zeros stay zeros, with a gradient."""
    vectors = ops.reshape(maps, (ops.shape(maps)[0], -1))
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, _SMALLEST))


def _check_axes(teacher, student):
    if len(teacher) != len(student) or len(student) not in (3, 4):
        raise ValueError(
            "Attention is of feature maps (batch, height, width, channels) or "
            "(batch, positions, channels). Received: the teacher's of shape "
            f"{tuple(teacher)}, the student's of shape {tuple(student)}."
        )
    if len(student) == 3 and None not in (teacher[1], student[1]):
        if teacher[1] != student[1]:
            raise ValueError(
                "Attention over sequences needs as many positions in both. "
                f"Received: {teacher[1]} in the teacher, {student[1]} in the "
                "student. Choose other layers."
            )
