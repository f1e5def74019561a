from collections.abc import Sequence
from typing import Any

import keras

from fritz_compress.checks import check_fraction, check_model
from fritz_compress.distillation.distiller import Distiller
from fritz_compress.distillation.outputs import gives_logits
from fritz_compress.distillation.soft_targets import SoftTargets


def distiller(
    teacher: keras.Model,
    student: keras.Model,
    losses: Any = None,
    optimizer: Any = "adam",
    hard_weight: float = 0.1,
    *,
    loss: Any = None,
    loss_weights: Sequence[float] | None = None,
    train_teacher: bool = False,
    metrics: Sequence[Any] | None = None,
    **compile_arguments: Any,
) -> Distiller:
    """A compiled model whose `fit` teaches a student.

    Fit it on samples with labels (without, if `hard_weight` is 0), with any
    callbacks; then use `student`, which is trained in place. The loss is
    `hard_weight * loss(labels, student) + (1 - hard_weight) * losses`.

    Args:
        teacher: The teacher, which is frozen unless it learns along. Or
            `teacher` of a `training.cache_teacher`, to fit on its data set,
            which costs the student alone.
        student: The student, of the same input and output shapes.
        losses: One or several of `SoftTargets`, `Hint`, `AttentionTransfer`,
            `PixelDistillation` and those of `keras.distillation`. Defaults to
            `SoftTargets(temperature=4.0)`.
        optimizer: Of the student, and of all that learns along.
        hard_weight: Weight of the loss on labels, in `[0, 1]`. Defaults to
            0.1: soft targets say more than labels.
        loss: On labels. Defaults to the cross-entropy with class numbers, of
            logits or probabilities as the student's last layer tells.
        loss_weights: A weight for each of `losses`; 1 by default.
        train_teacher: Whether the teacher learns along, see `Distiller`.
        metrics: Keras metrics of the student on labels.
        **compile_arguments: Others of `keras.Model.compile`.

    Raises:
        TypeError, ValueError: as `Distiller` and the losses.

    Reference: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
    Network", https://arxiv.org/abs/1503.02531.

    Example:

    >>> taught = distiller(teacher, student, SoftTargets(temperature=4.0))
    >>> taught.fit(images, labels, epochs=10, callbacks=[FilterPruning(0.25)])
    >>> surgery.remove_pruned_filters(student).save("small.keras")
    """
    check_model(student, "student")
    check_fraction("hard_weight", hard_weight, "[0, 1]")
    model = Distiller(
        teacher,
        student,
        SoftTargets() if losses is None else losses,
        loss_weights,
        student_loss_weight=hard_weight,
        train_teacher=train_teacher,
        name=f"{student.name}_distiller",
    )
    if loss is None and hard_weight:
        loss = _loss_on_labels(student)
    model.compile(optimizer, loss, metrics, **compile_arguments)
    return model


def _loss_on_labels(student):
    from_logits = gives_logits(student)
    if len(from_logits) > 1:
        raise ValueError(
            f"Student '{student.name}' has {len(from_logits)} outputs. Pass a "
            "`loss` on labels for them, or hard_weight=0."
        )
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=from_logits[0]
    )
