"""A student that learns a teacher's pictures."""

import keras

from fritz_compress.distillation.distiller import Distiller
from fritz_compress.losses import PixelLoss


@keras.saving.register_keras_serializable("fritz_compress")
class PixelDistillation(keras.distillation.DistillationLoss):
    """Teaches a student the exact pixels of its teacher.

    One more loss for `keras.distillation.Distiller`, to be used alone or
    beside Keras' own (`FeatureDistillation` and others).

    Args:
        texture_weight, grid_weight, grid_share: See `losses.PixelLoss`.
            Default to 0.3, 0 and 1.

    Raises:
        ValueError: on construction if a weight is negative.

    Example:

    >>> keras.distillation.Distiller(
    ...     teacher, student, PixelDistillation(), student_loss_weight=0.0)
    """

    def __init__(
        self,
        texture_weight: float = 0.3,
        grid_weight: float = 0.0,
        grid_share: float = 1.0,
    ):
        self.loss = PixelLoss(texture_weight, grid_weight, grid_share)

    def compute_loss(
        self, teacher_outputs, student_outputs, sample_weight=None, **kwargs
    ):
        return self.loss(teacher_outputs, student_outputs, sample_weight)

    def get_config(self):
        return {
            "texture_weight": self.loss.texture_weight,
            "grid_weight": self.loss.grid_weight,
            "grid_share": self.loss.grid_share,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def pixel_distiller(
    teacher: keras.Model,
    student: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    texture_weight: float = 0.3,
    fixed_statistics: bool = False,
    grid_weight: float = 0.0,
    grid_share: float = 1.0,
) -> Distiller:
    """A compiled distiller that learns from photos alone.

    `fit` it on batches of photos, without targets; the trained network is
    its attribute `student`. Freezes the teacher, as Keras does.

    Args:
        teacher: Model from photos to pictures, `(batch, height, width, 3)`.
        student: Model of the same input and output shape.
        optimizer: Optimizer of the student's weights.
        texture_weight: See `losses.PixelLoss`. Defaults to 0.3.
        fixed_statistics: Whether the student learns as it will be used: batch
            normalizations keep their mean and variance, and their scale and
            offset are trained. Defaults to `False`.
        grid_weight, grid_share: See `losses.PixelLoss`. Default to 0 and 1.

    Raises:
        ValueError: if teacher and student have different shapes.

    Reference: Hinton, Vinyals and Dean, "Distilling the Knowledge in a
    Neural Network", https://arxiv.org/abs/1503.02531, with pictures in place
    of soft targets.
    """
    kind = _AtInference if fixed_statistics else Distiller
    distiller = kind(
        teacher,
        student,
        PixelDistillation(texture_weight, grid_weight, grid_share),
        student_loss_weight=0.0,
        name=f"{student.name}_distiller",
    )
    distiller.compile(optimizer)
    distiller.build((None, *student.input_shape[1:]))
    return distiller


class _AtInference(Distiller):
    """A distiller whose student computes as outside of training."""

    def call(self, inputs, training=None, **kwargs):
        return super().call(inputs, training=False, **kwargs)
