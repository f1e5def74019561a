"""The model that is fit: a student, and what it is taught by."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fritz_compress.distillation.freezing import restore, trainable_flags
from fritz_compress.distillation.pairing import (
    OUTPUTS,
    check_pair,
    features_model,
    values_for,
)
from fritz_compress.distillation.recorded import (
    TEACHER_OUTPUTS,
    RecordedTeacher,
    split_targets,
)


@keras.saving.register_keras_serializable("fritz_compress")
class Distiller(keras.distillation.Distiller):
    """`keras.distillation.Distiller`, with what that one leaves out.

    The loss is `student_loss_weight` times the student's loss on labels, and
    the rest times the distillation losses. As in Keras, `fit` trains
    `student`, `predict` and the metrics are of it, and callbacks of this
    package work on it. Beyond Keras:

    - targets may bring the teacher's outputs (`training.cache_teacher`);
    - the teacher may learn along;
    - regressors of `Hint`s are trained, and are no part of the student;
    - the student computes once per step, also with losses in the middle, so
      that dropout and batch statistics are the same for all losses;
    - sample weights, and the student's regularizers, count. (Losses of Keras
      take no weights: these weigh labels and the losses of this package.)

    Where the teacher learns along, it is trained on the labels with the same
    weight, and with the rest on what the student says (soft targets and other
    losses between outputs; features flow one way). Each takes the other's
    outputs as they are. For two equal networks that is mutual learning, both
    stepping on the same forward pass.

    Args:
        teacher: The teacher; it is frozen, as in Keras, unless it learns
            along. Or a `RecordedTeacher`, or `None` for a plain one of these.
        student: The student, of the same input and output shapes.
        distillation_losses: One or several `keras.distillation` losses.
        distillation_loss_weights: A weight for each; 1 by default.
        student_loss_weight: Weight of the loss on labels, in `[0, 1]`.
        train_teacher: Whether the teacher learns along. Defaults to `False`.
        name: Name of the model.

    Raises:
        TypeError, ValueError: for models that are none or do not fit each
            other, a weight out of range, or a teacher that shall learn and is
            not there; when fit on targets without what is needed.

    References: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
    Network", https://arxiv.org/abs/1503.02531; Zhang et al., "Deep Mutual
    Learning", https://arxiv.org/abs/1706.00384, for the teacher that learns.
    """

    def __init__(
        self,
        teacher: keras.Model | None,
        student: keras.Model,
        distillation_losses: Any,
        distillation_loss_weights: Sequence[float] | None = None,
        student_loss_weight: float = 0.5,
        train_teacher: bool = False,
        name: str = "distiller",
        **kwargs,
    ):
        teacher = RecordedTeacher() if teacher is None else teacher
        check_pair(teacher, student, train_teacher)
        flags = trainable_flags(teacher)
        super().__init__(
            teacher,
            student,
            distillation_losses,
            distillation_loss_weights,
            student_loss_weight,
            name=name,
            **kwargs,
        )
        self.train_teacher = train_teacher
        if train_teacher:
            restore(flags)
            self.teacher_loss_tracker = keras.metrics.Mean(name="teacher_loss")
        regressors = [
            getattr(loss, "regressor", None)
            for loss in self.distillation_losses
        ]
        self.regressors = [x for x in regressors if x is not None]
        self.student_features = features_model(
            student, self.distillation_losses, "student_layer_name"
        )
        self.teacher_features = features_model(
            teacher, self.distillation_losses, "teacher_layer_name"
        )
        self.built = teacher.built and student.built

    @property
    def is_recorded(self) -> bool:
        """Whether the teacher's outputs come with the targets."""
        return isinstance(self.teacher, RecordedTeacher)

    def build(self, input_shape):
        """Builds the models that are not built yet."""
        for model in (self.student, self.teacher):
            if not model.built:
                model.build(input_shape)
        self.built = True

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """As of any model; without labels there is no `loss`.

        Raises:
            ValueError: if labels have a weight and there is no loss on them.
        """
        if loss is None and self.student_loss_weight > 0:
            raise ValueError(
                "Labels have the weight student_loss_weight="
                f"{self.student_loss_weight} and need a `loss`. Pass one, or "
                "student_loss_weight=0."
            )
        # Not that of Keras' distiller: it keeps the loss from the trainer,
        # which weighs samples.
        super(keras.distillation.Distiller, self).compile(
            optimizer=optimizer, loss=loss, metrics=metrics, **kwargs
        )

    def compile_from_config(self, config):
        """As of any model; Keras leaves distillers it loads uncompiled."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=None, **kwargs):
        """The student's outputs; in training with what else is compared."""
        if training and self.student_features is not None:
            return self.student_features(inputs, training=True)
        return self.student(inputs, training=training, **kwargs)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Losses on labels and of distillation, weighted, and regularizers."""
        labels, recorded = self._split(y, training)
        made = self._made(x, y_pred)
        # Before another call of a layer forgets them.
        penalty = sum((ops.sum(loss) for loss in self.losses), 0.0)

        def on_labels(outputs):
            if labels is None or not self.student_loss_weight:
                return 0.0
            loss = super(keras.distillation.Distiller, self).compute_loss(
                x, labels, outputs, sample_weight, training
            )
            return loss - penalty

        student_loss = on_labels(made[OUTPUTS])
        known = self._known(x, recorded, training)
        taught = 0.0
        if known is not None and self.student_loss_weight < 1:
            taught = self._distillation_loss(known, made, sample_weight)
        total = self._weighted(student_loss, taught)
        self.student_loss_tracker.update_state(student_loss)
        self.distillation_loss_tracker.update_state(taught)
        self.total_loss_tracker.update_state(total)
        if self.train_teacher:
            teacher_loss = self._weighted(
                on_labels(known[OUTPUTS]),
                self._loss_of_teacher(known, made, sample_weight),
            )
            self.teacher_loss_tracker.update_state(teacher_loss)
            total = total + teacher_loss
        return total + penalty

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The metrics of the student's outputs on labels."""
        labels, _ = self._split(y, training=False)
        outputs = self._made(None, y_pred, features=False)[OUTPUTS]
        return super().compute_metrics(x, labels, outputs, sample_weight)

    def get_config(self):
        return {**super().get_config(), "train_teacher": self.train_teacher}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for key in ("teacher", "student"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        config["distillation_losses"] = [
            keras.saving.deserialize_keras_object(loss)
            for loss in config["distillation_losses"]
        ]
        return cls(**config)

    def _split(self, y, training):
        """Labels, and the teacher's outputs if they come along."""
        if not self.is_recorded:
            return y, None
        labels, recorded = split_targets(y)
        if training and recorded is None:
            raise ValueError(
                f"Distiller '{self.name}' has no teacher, so that targets must "
                f"be a dictionary with '{TEACHER_OUTPUTS}'. Received: targets "
                "without. Fit on a data set of `training.cache_teacher`, or "
                "pass the teacher."
            )
        return labels, recorded

    def _made(self, x, y_pred, features=True):
        """The student's outputs, and features by the names of layers."""
        if isinstance(y_pred, dict) and OUTPUTS in y_pred:
            return y_pred
        if features and self.student_features is not None:
            return self.student_features(x, training=False)
        return {OUTPUTS: self.student(x) if y_pred is None else y_pred}

    def _known(self, x, recorded, training):
        """The same of the teacher."""
        if self.is_recorded:
            return None if recorded is None else {OUTPUTS: recorded}
        model = self.teacher_features or self.teacher
        known = model(x, training=bool(training) and self.train_teacher)
        return known if self.teacher_features else {OUTPUTS: known}

    def _distillation_loss(self, known, made, sample_weight):
        known = keras.tree.map_structure(ops.stop_gradient, known)
        total = 0.0
        for loss, weight in self._weighted_losses():
            targets, outputs = values_for(loss, known, made)
            loss.validate_outputs(targets, outputs)
            value = loss.compute_loss(
                targets, outputs, **_weights(sample_weight)
            )
            total = total + weight * value
        return total

    def _loss_of_teacher(self, known, made, sample_weight):
        """What the teacher learns from the student's outputs."""
        outputs = keras.tree.map_structure(ops.stop_gradient, made[OUTPUTS])
        total = 0.0
        for loss, weight in self._weighted_losses():
            if getattr(loss, "teacher_layer_name", None) is not None:
                continue
            if hasattr(loss, "compute_loss_of_teacher"):
                value = loss.compute_loss_of_teacher(
                    known[OUTPUTS], outputs, sample_weight
                )
            else:
                value = loss.compute_loss(
                    outputs, known[OUTPUTS], **_weights(sample_weight)
                )
            total = total + weight * value
        return total

    def _weighted_losses(self):
        return zip(self.distillation_losses, self.distillation_loss_weights)

    def _weighted(self, on_labels, taught):
        weight = self.student_loss_weight
        return weight * on_labels + (1 - weight) * taught


def _weights(sample_weight):
    """Weights, if there are some, for losses that may not know them."""
    return {} if sample_weight is None else {"sample_weight": sample_weight}
