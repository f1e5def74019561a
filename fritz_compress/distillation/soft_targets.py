import keras
from keras import tree

from fritz_compress.distillation.outputs import gives_logits
from fritz_compress.distillation.recorded import RecordedTeacher
from fritz_compress.losses import SoftTargetLoss


@keras.saving.register_keras_serializable("fritz_compress")
class SoftTargets(keras.distillation.DistillationLoss):
    """Teaches a student the probabilities of its teacher, softened.

    `losses.SoftTargetLoss` of every output; works on logits and on
    probabilities. To be used in a `Distiller`.

    Args:
        temperature: See `losses.SoftTargetLoss`. Defaults to 4.
        from_logits, teacher_from_logits: Whether the student, and the
            teacher, return logits; `None`, the default, to tell from the last
            layers, or from what a recorded teacher says.

    Raises:
        TypeError, ValueError: on construction as `losses.SoftTargetLoss`; in
            a distiller for models whose last layers do not tell.

    Reference: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
    Network", https://arxiv.org/abs/1503.02531, section 2.

    Example:

    >>> distiller(teacher, student, SoftTargets(temperature=4.0))
    """

    def __init__(
        self,
        temperature: float = 4.0,
        from_logits: bool | None = None,
        teacher_from_logits: bool | None = None,
    ):
        SoftTargetLoss(temperature)  # Refuses what is no temperature.
        self.temperature = temperature
        self.from_logits = from_logits
        self.teacher_from_logits = teacher_from_logits

    def validate_model_compatibility(self, teacher, student):
        """Learns from the last layers whether outputs are logits."""
        made = _flags(student, self.from_logits, student)
        known = _flags(teacher, self.teacher_from_logits, student)
        self._logits = tuple(zip(made if known is None else known, made))

    def compute_loss(
        self, teacher_outputs, student_outputs, sample_weight=None, **kwargs
    ):
        return self._loss(
            teacher_outputs, student_outputs, sample_weight, self._logits
        )

    def compute_loss_of_teacher(
        self, teacher_outputs, student_outputs, sample_weight=None
    ):
        """The same for a teacher that learns from its student."""
        swapped = [flags[::-1] for flags in self._logits]
        return self._loss(
            student_outputs, teacher_outputs, sample_weight, swapped
        )

    def get_config(self):
        return {
            "temperature": self.temperature,
            "from_logits": self.from_logits,
            "teacher_from_logits": self.teacher_from_logits,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def _loss(self, targets, outputs, sample_weight, logits):
        pairs = zip(tree.flatten(targets), tree.flatten(outputs), logits)
        return sum(
            SoftTargetLoss(self.temperature, made, known)(
                target, output, sample_weight
            )
            for target, output, (known, made) in pairs
        )


def _flags(model, from_logits, student):
    """Whether each output is logits, `None` if nobody knows."""
    if from_logits is not None:
        return [from_logits] * len(tree.flatten(student.outputs))
    if isinstance(model, RecordedTeacher):
        return model.from_logits
    return gives_logits(model)
