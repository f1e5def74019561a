"""Trainings that can be repeated to the bit, on samples of arrays in memory."""

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from fritz_compress.checks import (
    check_count,
    check_fraction,
    described,
    is_number,
)
from fritz_compress.surgery.training_state import compile_like
from fritz_compress.training.backup import EpochBackup

_SAMPLES, _ORDERS, _ALL, _NOISE = range(4)  # Streams of random numbers.


@dataclasses.dataclass(frozen=True)
class RetrainingSettings:
    """How, and how long, to retrain: see `training.prune_layer_by_layer`."""

    floor: float
    monitor: str = "accuracy"
    mode: str = "max"
    recovery_epochs: int = 10
    sample_fraction: float = 0.1
    epochs_per_sample: int = 10
    final_epochs: int = 10
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self):
        if self.mode not in ("max", "min"):
            raise ValueError(
                f"`mode` must be 'max' or 'min'. Received: mode='{self.mode}'."
            )
        check_fraction("sample_fraction", self.sample_fraction, "(0, 1]")
        if not is_number(self.floor) or math.isnan(self.floor):
            raise ValueError(
                "`floor` must be a number. Received: "
                f"floor={described(self.floor)}."
            )
        lowest = {"final_epochs": 0, "seed": 0}
        counts = ("recovery_epochs", "epochs_per_sample", "batch_size")
        for name, least in {**lowest, **dict.fromkeys(counts, 1)}.items():
            count = check_count(name, getattr(self, name), least)
            # An int, since the journal holds no numbers of numpy.
            object.__setattr__(self, name, count)


class Retrainer:
    """Trains networks with the settings of another one until they are good.

    Orders, samples and the noise of dropouts depend on the seed and the
    number of the epoch alone, not on what was trained before.

    Args:
        model: Compiled; its loss, metrics and optimizer settings are used.
        data, validation_data: Arrays, `(inputs, targets)` or with sample
            weights.
        settings: What to reach, and in which time.
        callbacks: More callbacks for each training.

    Raises:
        ValueError: if the model is not compiled, or data is not arrays of
            one length.
    """

    def __init__(
        self,
        model: keras.Model,
        data: tuple,
        validation_data: tuple,
        settings: RetrainingSettings,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ):
        if not model.compiled:
            raise ValueError(
                f"Model '{model.name}' must be compiled, to be retrained. "
                "Call `model.compile(optimizer, loss, metrics=['accuracy'])`."
            )
        self.size = _size("data", data)
        _size("validation_data", validation_data)
        self.model = model
        self.data = tuple(data)
        self.validation_data = tuple(validation_data)
        self.settings = settings
        self.callbacks = tuple(callbacks)

    def compile(self, model: keras.Model) -> keras.Model:
        """Compiles `model` as the original was, and returns it."""
        compile_like(self.model, model)
        return model

    def measure(self, model: keras.Model) -> float:
        """The metric on the validation data."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(
            self.validation_data
        )
        logs = model.evaluate(
            x,
            y,
            sample_weight=weights,
            batch_size=self.settings.batch_size,
            verbose=0,
            return_dict=True,
        )
        monitor = self.settings.monitor
        if monitor not in logs:
            raise ValueError(
                "`monitor` must be a metric that the model is compiled with: "
                f"{', '.join(sorted(logs))}. Received: monitor='{monitor}'."
            )
        return float(logs[monitor])

    def reaches_floor(self, metric: float) -> bool:
        """Whether a metric is good enough; NaN is not."""
        if self.settings.mode == "min":
            return metric <= self.settings.floor
        return metric >= self.settings.floor

    def recover(
        self, model: keras.Model, first_epoch: int
    ) -> tuple[float, int]:
        """Trains on samples until the floor is reached, an epoch at least.

        Args:
            model: Compiled; it is trained in place.
            first_epoch: Number of the first epoch: decides on the sample.

        Returns: the metric after the last epoch, and the number of epochs.
        """
        settings = self.settings
        count = max(1, round(settings.sample_fraction * self.size))

        def rows(epoch):
            number = epoch // settings.epochs_per_sample
            sample = self._random(_SAMPLES, number)
            chosen = sample.choice(self.size, count, replace=False)
            return self._random(_ORDERS, epoch).permutation(chosen)

        until = _UntilFloor(f"val_{settings.monitor}", self.reaches_floor)
        epochs = settings.recovery_epochs
        self._fit(model, rows, count, first_epoch, epochs, [until])
        return until.metric, until.epochs

    def train(
        self, model: keras.Model, backup_dir: str | os.PathLike | None
    ) -> float:
        """Trains on all data, from where a backup left off.

        Returns: the metric after the last epoch.
        """

        def rows(epoch):
            return self._random(_ALL, epoch).permutation(self.size)

        first_epoch, backups = 0, []
        if backup_dir is not None:
            backup = EpochBackup(backup_dir, self._steps(self.size))
            first_epoch = backup.restore(model)
            backups = [backup]
        left = self.settings.final_epochs - first_epoch
        self._fit(model, rows, self.size, first_epoch, left, backups)
        return self.measure(model)

    def _fit(self, model, rows, count, first_epoch, epochs, callbacks):
        model.fit(
            self._batches(rows, first_epoch),
            validation_data=self.validation_data,
            validation_batch_size=self.settings.batch_size,
            steps_per_epoch=self._steps(count),
            initial_epoch=first_epoch,
            epochs=first_epoch + epochs,
            callbacks=[_Noise(self._random), *self.callbacks, *callbacks],
            shuffle=False,
            verbose=0,
        )

    def _steps(self, count):
        return max(1, count // self.settings.batch_size)

    def _batches(
        self, rows: Callable[[int], np.ndarray], first_epoch: int
    ) -> Iterator[tuple]:
        for epoch in itertools.count(first_epoch):
            chosen = rows(epoch)
            for step in range(self._steps(len(chosen))):
                start = step * self.settings.batch_size
                batch = chosen[start : start + self.settings.batch_size]
                yield keras.tree.map_structure(lambda a: a[batch], self.data)

    def _random(self, stream, number):
        return np.random.default_rng([self.settings.seed, stream, number])


class _UntilFloor(keras.callbacks.Callback):
    """Stops a training as soon as its metric is good enough."""

    def __init__(self, monitor, is_enough):
        super().__init__()
        self.monitor = monitor
        self.is_enough = is_enough
        self.metric, self.epochs = math.nan, 0

    def on_epoch_end(self, epoch, logs=None):
        self.metric = float(logs[self.monitor])
        self.epochs += 1
        if self.is_enough(self.metric):
            self.model.stop_training = True


class _Noise(keras.callbacks.Callback):
    """Starts the random numbers of dropouts anew in every epoch.

    Their states are neither saved with a model nor carried over to a smaller
    one, so that a run which was interrupted would go on with others.
    """

    def __init__(self, random):
        super().__init__()
        self.random = random

    def on_epoch_begin(self, epoch, logs=None):
        numbers = self.random(_NOISE, epoch)
        for variable in self.model.variables:
            if variable.name == "seed_generator_state":
                size = tuple(variable.shape)
                variable.assign(
                    numbers.integers(2**32, size=size, dtype="uint32")
                )


def _size(name, data):
    """How many samples; checks that all arrays have as many."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise ValueError(
            f"`{name}` must be arrays (inputs, targets), or (inputs, targets, "
            f"sample_weights). Received: {type(data).__name__}."
        )
    sizes = {len(array) for array in keras.tree.flatten(tuple(data))}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            f"The arrays of `{name}` must have one length, at least 1. "
            f"Received: lengths {sorted(sizes)}."
        )
    return sizes.pop()
