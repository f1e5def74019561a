"""A recipe that teaches classifiers."""

import contextlib
import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import keras

from fritz_compress.checks import check_count, check_model, check_positive
from fritz_compress.distillation import SoftTargets, distiller
from fritz_compress.distillation.pairing import check_pair
from fritz_compress.training.backup import resumed
from fritz_compress.training.recipes import warmup_cosine
from fritz_compress.training.teacher_cache import cache_teacher


def distill_classifier(
    teacher: keras.Model | None,
    student: keras.Model,
    x: Any,
    y: Any = None,
    *,
    epochs: int = 10,
    temperature: float = 4.0,
    hard_weight: float = 0.1,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    loss: Any = None,
    metrics: Sequence[Any] = ("accuracy",),
    validation_data: tuple | None = None,
    cache_dir: str | os.PathLike | None = None,
    seed: int = 0,
    backup_dir: str | os.PathLike | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Trains `student` in place on what `teacher` says, and on labels.

    What the teacher says is computed once, to disk, so that an epoch costs
    the student alone. Adam with a warm-up and a cosine decay to 0, with
    `losses.SoftTargetLoss`.

    Args:
        teacher: Model from samples to classes, logits or probabilities; it is
            left as it is. `None` if `cache_dir` holds all that it says.
        student: Model to train, of the same input and output shape.
        x: Inputs, an array.
        y: Labels, class numbers unless `loss` says otherwise; not needed if
            `hard_weight` is 0.
        epochs: Passes over the samples. Defaults to 10.
        temperature: See `losses.SoftTargetLoss`. Defaults to 4.
        hard_weight: Weight of the loss on labels, in `[0, 1]`. Defaults to
            0.1.
        batch_size: Samples per step. Defaults to 128.
        learning_rate: Peak of the schedule. Defaults to `1e-3`.
        loss: On labels, see `distillation.distiller`.
        metrics: Of the student on labels.
        validation_data: Inputs and labels for the metrics after each epoch.
        cache_dir: Where to keep what the teacher says, for the next training
            or a resumed one; by default a folder that is removed.
        seed: Seed of the order of the samples. Initial weights are the
            caller's.
        backup_dir: Folder in which progress is kept while training, or
            `None`. Calling again with the same arguments after a kill goes
            on from there, with the same order of samples.
        callbacks: More callbacks, such as `callbacks.FilterPruning`.

    Returns: the history of `fit`.

    Raises:
        TypeError, ValueError: for a number out of range, a student of other
            shapes than the teacher, labels that are missing, and as
            `cache_teacher`; for a `backup_dir` of another training.

    Example:

    >>> distill_classifier(teacher, student, images, labels, epochs=30)
    >>> student.save("small.keras")
    """
    check_model(student, "student")
    check_count("epochs", epochs)
    check_positive("learning_rate", learning_rate)
    losses = SoftTargets(temperature)
    if teacher is not None:  # Before it computes, whether it can teach.
        check_pair(teacher, student)
    if y is None and hard_weight:
        raise ValueError(
            f"Labels have the weight hard_weight={hard_weight} and there are "
            "none. Pass `y`, or hard_weight=0."
        )
    with _folder(cache_dir) as folder:
        cache = cache_teacher(teacher, x, folder, y, batch_size=batch_size)
        steps = math.ceil(cache.count / batch_size)
        model = distiller(
            cache.teacher,
            student,
            losses,
            keras.optimizers.Adam(warmup_cosine(learning_rate, epochs * steps)),
            hard_weight,
            loss=loss,
            metrics=metrics if y is not None else None,
        )
        callbacks, first_epoch = resumed(model, backup_dir, steps, callbacks)
        return model.fit(
            cache.dataset(batch_size, seed=seed, first_epoch=first_epoch),
            initial_epoch=first_epoch,
            epochs=epochs,
            shuffle=False,  # The data set has orders of its own.
            validation_data=validation_data,
            callbacks=callbacks,
            verbose=0,
        )


def _folder(cache_dir):
    if cache_dir is not None:
        return contextlib.nullcontext(cache_dir)
    return tempfile.TemporaryDirectory(prefix="teacher-")
