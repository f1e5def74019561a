"""A teacher's probabilities in place of labels."""

from typing import Any

import keras
import numpy as np
from keras import ops

from fritz_compress.checks import check_positive

# The logarithm of a probability that was rounded to zero.
_SMALLEST = float(np.finfo("float32").tiny)


@keras.saving.register_keras_serializable("fritz_compress")
class SoftTargetLoss(keras.losses.Loss):
    """How far a student is from the softened probabilities of its teacher.

    `T^2 * sum over classes of p log(p / q)` with `p = softmax(t / T)` of the
    teacher's logits `t` and `q = softmax(s / T)` of the student's: the
    cross-entropy with soft targets less their entropy, which nobody can
    change. Its gradient with respect to `s` is `T (q - p)`; without the factor
    `T^2` it would shrink as `1 / T^2`, and the weight beside a loss on labels
    would depend on the temperature.

    Probabilities, of a model that ends in a softmax, are taken back to logits
    by their logarithm, which is exact up to a constant that a softmax does not
    see. What a float rounds to zero is lost: prefer logits where there is a
    choice. `keras.distillation.LogitsDistillation` differs: its default loss
    is applied to the logits themselves, and probabilities below 1e-7 have no
    gradient.

    Args:
        temperature: `T`, a positive number; 1 leaves the probabilities as
            they are, a large one asks for the logits themselves. Defaults to
            4.
        from_logits: Whether both are logits, the default, or probabilities.
        teacher_from_logits: The same for the teacher alone; `None`, the
            default, if it is like the student.
        name: Name of the loss.

    Call arguments:
        y_true: The teacher's outputs, `(batch, ..., classes)`.
        y_pred: The student's outputs, same shape.

    Raises:
        TypeError: on construction if `temperature` is no number.
        ValueError: if it is not positive, or not finite.

    Reference: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
    Network", https://arxiv.org/abs/1503.02531, section 2.

    Example:

    >>> student.compile("adam", SoftTargetLoss(temperature=4.0))
    >>> student.fit(images, teacher.predict(images))
    """

    def __init__(
        self,
        temperature: float = 4.0,
        from_logits: bool = True,
        teacher_from_logits: bool | None = None,
        name: str = "soft_target_loss",
        **kwargs,
    ):
        check_positive("temperature", temperature)
        super().__init__(name=name, **kwargs)
        self.temperature = temperature
        self.from_logits = from_logits
        self.teacher_from_logits = teacher_from_logits

    def call(self, y_true, y_pred):
        of_teacher = self.teacher_from_logits
        if of_teacher is None:
            of_teacher = self.from_logits
        target = self._log_probabilities(y_true, of_teacher)
        made = self._log_probabilities(y_pred, self.from_logits)
        divergence = ops.sum(ops.exp(target) * (target - made), axis=-1)
        return self.temperature**2 * divergence

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "from_logits": self.from_logits,
            "teacher_from_logits": self.teacher_from_logits,
        }

    def _log_probabilities(self, outputs: Any, from_logits: bool) -> Any:
        """Logarithms of the softened probabilities, in single precision."""
        logits = ops.cast(outputs, "float32")
        if not from_logits:
            logits = ops.log(ops.maximum(logits, _SMALLEST))
        return ops.log_softmax(logits / self.temperature, axis=-1)
