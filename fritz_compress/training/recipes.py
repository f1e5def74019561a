"""Recipes around `model.fit` that any callback can join."""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Sequence

import keras
import numpy as np

from fritz_compress.distillation import pixel_distiller
from fritz_compress.distillation.freezing import restore, trainable_flags
from fritz_compress.losses import PerceptualLoss
from fritz_compress.training.backup import resumed
from fritz_compress.training.photos import Photos

STEPS_PER_EPOCH = 100  # A killed training loses at most this many steps.


def distill(
    teacher: keras.Model,
    student: keras.Model,
    photos: Photos,
    steps: int,
    crop_size: int = 128,
    batch_size: int = 4,
    learning_rate: float = 3e-2,
    texture_weight: float = 0.3,
    fixed_statistics: bool = False,
    seed: int = 0,
    backup_dir: str | os.PathLike | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    grid_weight: float = 0.0,
    grid_share: float = 1.0,
) -> keras.callbacks.History:
    """Trains `student` in place on the exact pixels of `teacher`.

    Adam with a warm-up of 100 steps (5% of a short training) and a cosine
    decay to 0, on random crops, with `losses.PixelLoss`.

    Args:
        teacher: Model from photos to pictures; frozen while this runs.
        student: Model to train, of the same input and output shape.
        photos: Photos to cut crops from.
        steps: Optimizer steps in all, rounded up to whole epochs of at most
            100 steps.
        crop_size: Side of a crop in pixels, a multiple of 4. Defaults to 128.
        batch_size: Crops per step. Defaults to 4.
        learning_rate: Peak of the schedule. Defaults to `3e-2`: `1e-3` is far
            too low for networks of this size.
        texture_weight: See `losses.PixelLoss`. Defaults to 0.3.
        fixed_statistics: Whether batch normalizations of the student keep
            their mean and variance while their scale and offset are trained,
            as after `surgery.fold_normalization`. Defaults to `False`.
        seed: Seed of the crops. Initial weights are the caller's.
        backup_dir: Folder in which progress is kept while training, or
            `None`. Calling again with the same arguments after a kill goes
            on from there, on the same schedule and the same crops.
        callbacks: More callbacks, such as `callbacks.FilterPruning`.
        grid_weight, grid_share: See `losses.PixelLoss`; for a student that
            paints blocks of pixels, `models.FlatStyleTransferNetwork`. Default
            to 0 and 1.

    Returns: the history of `fit`.

    Raises:
        ValueError: for a number out of range, a student without trainable
            weights, one of other shapes than the teacher, or a `backup_dir`
            of another training.
    """
    _check(student, steps, crop_size)
    optimizer = keras.optimizers.Adam(warmup_cosine(learning_rate, steps))
    batches = functools.partial(photos.batches, crop_size, batch_size, seed)
    with _frozen(teacher):
        distiller = pixel_distiller(
            teacher,
            student,
            optimizer,
            texture_weight,
            fixed_statistics,
            grid_weight,
            grid_share,
        )
        return _fit(distiller, batches, steps, backup_dir, callbacks)


def train_perceptual(
    model: keras.Model,
    extractor: keras.Model,
    style_image: np.ndarray,
    photos: Photos,
    steps: int,
    crop_size: int = 128,
    batch_size: int = 2,
    learning_rate: float = 3e-3,
    content_weight: float = 1.0,
    style_weight: float = 1e-4,
    variation_weight: float = 10.0,
    border: int = 0,
    grid_weight: float = 0.0,
    seed: int = 0,
    backup_dir: str | os.PathLike | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Trains `model` in place to paint photos in the style of a picture.

    Adam with warm-up and cosine decay on random crops, with
    `losses.PerceptualLoss`. From random weights it takes some 10,000 steps; a
    network that was distilled first needs some hundreds. How `model` was
    compiled does not matter and is left as it is.

    Args:
        model: Model from photos to pictures, with a graph.
        extractor: Frozen features, `models.VGG16Features.build(...)`.
        style_image: `(height, width, 3)` in `[0, 255]`. Its strokes are
            learned at the size they have in these pixels.
        photos, steps, crop_size, batch_size, learning_rate, seed, backup_dir,
            callbacks: As in `distill`.
        content_weight, style_weight, variation_weight, border, grid_weight:
            See `losses.PerceptualLoss`.

    Returns: the history of `fit`.

    Raises:
        ValueError: as `distill`, and as `losses.PerceptualLoss`.
    """
    _check(model, steps, crop_size)
    loss = PerceptualLoss(
        extractor,
        style_image,
        content_weight=content_weight,
        style_weight=style_weight,
        variation_weight=variation_weight,
        border=border,
        grid_weight=grid_weight,
    )
    optimizer = keras.optimizers.Adam(warmup_cosine(learning_rate, steps))
    # A model of the same layers: a user's model does not end up compiled
    # with a loss that holds a network and cannot be saved.
    painter = keras.Model(model.input, model.output, name=model.name)
    painter.compile(optimizer=optimizer, loss=loss)

    def batches(first_batch):
        crops = photos.batches(crop_size, batch_size, seed, first_batch)
        return crops.map(lambda photo: (photo, photo))

    return _fit(painter, batches, steps, backup_dir, callbacks)


def warmup_cosine(
    learning_rate: float, steps: int
) -> keras.optimizers.schedules.CosineDecay:
    """Linear warm-up over 100 steps (5% of short trainings), then a cosine.

    Args:
        learning_rate: Peak of the schedule.
        steps: Steps until it is back at 0.
    """
    warmup = max(1, min(100, steps // 20))
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / warmup,
        max(1, steps - warmup),
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )


@contextlib.contextmanager
def _frozen(teacher):
    """Undoes what `Distiller` does to the layers of its teacher."""
    flags = trainable_flags(teacher)
    try:
        yield
    finally:
        restore(flags)


def _check(model, steps, crop_size):
    if steps < 1:
        raise ValueError(
            f"`steps` must be at least 1. Received: steps={steps}."
        )
    if crop_size < 16 or crop_size % 4:
        raise ValueError(
            "`crop_size` must be a multiple of 4 and at least 16. Received: "
            f"crop_size={crop_size}."
        )
    if not model.trainable_weights:
        raise ValueError(
            f"Model '{model.name}' has no trainable weights. Set "
            "`model.trainable = True` if it was frozen."
        )


def _fit(
    model: keras.Model,
    batches: Callable,
    steps: int,
    backup_dir: str | os.PathLike | None,
    callbacks: Sequence[keras.callbacks.Callback],
) -> keras.callbacks.History:
    epochs = math.ceil(steps / STEPS_PER_EPOCH)
    steps_per_epoch = math.ceil(steps / epochs)
    callbacks, first_epoch = resumed(
        model, backup_dir, steps_per_epoch, callbacks
    )
    return model.fit(
        batches(first_epoch * steps_per_epoch),
        initial_epoch=first_epoch,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
