from collections.abc import Mapping, Sequence
from typing import Any

import keras

# The names of what the targets of such a data set hold.
LABELS, TEACHER_OUTPUTS = "labels", "teacher_outputs"


@keras.saving.register_keras_serializable("fritz_compress")
class RecordedTeacher(keras.Model):
    """A teacher that is not there: its outputs come with the targets.

    The targets of such a data set are a dictionary with `"teacher_outputs"`,
    and `"labels"` if there are some; `training.cache_teacher` makes one.

    Args:
        from_logits: Whether each output is logits; `None` if that is not
            known, and they are like the student's.
        name: Name of the model.
    """

    def __init__(
        self,
        from_logits: Sequence[bool] | None = None,
        name: str = "recorded_teacher",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.from_logits = None if from_logits is None else tuple(from_logits)
        self.built = True

    def call(self, inputs, training=None):
        raise ValueError(
            "A recorded teacher cannot be called: its outputs come with the "
            f"targets, as '{TEACHER_OUTPUTS}'. Fit on a data set of "
            "`training.cache_teacher`."
        )

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}


def split_targets(y: Any) -> tuple[Any, Any]:
    """Labels and the teacher's outputs, each `None` if they are missing."""
    if not isinstance(y, Mapping):
        return y, None
    return y.get(LABELS), y.get(TEACHER_OUTPUTS)
