"""What pruning callbacks share: when to prune, and holding zeros at zero."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from fritz_compress.callbacks.channel_selection import network_of
from fritz_compress.callbacks.masks import Masks
from fritz_compress.checks import check_fraction, described, is_number
from fritz_compress.ops.schedules import (
    CubicRise,
    Schedule,
    final_fraction_of,
    first_update,
    latest_update,
)

STEPS = {"begin_step": 0, "end_step": 1000, "frequency": 100}


def schedule_from(
    schedule: float | Schedule, name: str, **steps: int
) -> Schedule:
    """A schedule: the one given, or for a number a rise to that fraction.

    Args:
        schedule: An object or function as in `ops.schedules`, or a number.
        name: What the argument is called that the user gave it by.
        **steps: `begin_step`, `end_step` and `frequency`, for a number only.

    Raises:
        TypeError: for what is neither.
        ValueError: for a number or steps out of range, and for steps beside
            a schedule, which has its own.
    """
    if is_number(schedule):
        check_fraction(name, schedule)
        return CubicRise(schedule, **steps)
    if not callable(schedule):
        raise TypeError(
            f"`{name}` must be a number or be called with a step, as "
            f"`PolynomialDecay` is. Received: {described(schedule)}."
            f"{_hint(schedule)}"
        )
    if steps != STEPS:
        given = ", ".join(f"{k}={v}" for k, v in steps.items())
        raise ValueError(
            "A schedule has steps of its own. Received: "
            f"{type(schedule).__name__} and {given}. Pass the steps to the "
            "schedule, or a fraction in its place."
        )
    return schedule


class ScheduledPruning(keras.callbacks.Callback):
    """Prunes when a schedule says so and holds what is pruned at zero.

    What is pruned is up to the subclass, which implements

    - `_select(network)`: finds what may be pruned; raises if there is none;
    - `_read()`: learns from the weights what has been pruned already;
    - `_prune(fraction)`: chooses more; returns whether there was more;
    - `_pairs()`: variables with masks, true where a value is kept;
    - `_measure()`: the fraction that is zero.

    Args:
        schedule: Called with a step, returns whether to prune and a fraction.
    """

    _log = "sparsity"  # What `_measure` is called in the logs.
    _goal = "final sparsity"  # What warnings call the schedule's last value.
    _things = "weights"

    def __init__(self, schedule: Schedule):
        super().__init__()
        self.schedule = schedule
        self.skipped: tuple[tuple[str, str], ...] = ()

    def on_train_begin(self, logs=None):
        # Reset here, not in __init__: one instance may serve several fits.
        self._masks: Masks | None = None
        self._seen: int | None = None
        self._last: tuple[int, float] | None = None
        self._select(network_of(self.model))

    def on_train_batch_begin(self, batch, logs=None):
        if self._masks is None:
            # Not on train begin: BackupAndRestore may come after this one.
            step = self._step()
            self._read()
            self._masks, self._settled = Masks(), Masks()
            self._make_masks()
            if self._update(step):
                self._masks.apply()
                self._warn_if_late(step)

    def on_train_batch_end(self, batch, logs=None):
        self._update(self._step())
        self._masks.apply()

    def on_epoch_end(self, epoch, logs=None):
        self._sync()
        self._settled.apply()
        if logs is not None:
            logs[self._log] = self._measure()

    def on_train_end(self, logs=None):
        if self._masks is not None:
            step = self._step()
            # An average of weights may just have taken the weights' place.
            self._masks.apply()
            self._settled.apply()
            self._warn_if_incomplete(step)

    def _select(self, network: keras.Model) -> None:
        raise NotImplementedError

    def _read(self) -> None:
        raise NotImplementedError

    def _prune(self, fraction: float) -> bool:
        raise NotImplementedError

    def _pairs(self) -> Iterable[tuple[keras.Variable, np.ndarray]]:
        raise NotImplementedError

    def _measure(self) -> float:
        raise NotImplementedError

    def _sync(self) -> Any:
        # On JAX reading `self.model` brings the variables up to date.
        return self.model

    def _step(self):
        return int(ops.convert_to_numpy(self._sync().optimizer.iterations))

    def _update(self, step):
        """Prunes if that is due, and tells whether more is pruned now."""
        if step == self._seen:
            return False
        update = latest_update(self.schedule, step, after=self._seen)
        self._seen = step
        if update is None or update[1] == 0:
            return False
        self._last = update
        more = self._prune(update[1])
        if more:
            self._make_masks()
            self._settled.apply()
        return more

    def _make_masks(self):
        """Masks for what the optimizer moves, and for what stays once zero.

        That is the moving mean of a channel of zeros: it need not be held.
        """
        moved, settled = [], []
        for variable, mask in self._pairs():
            pairs = moved if variable.trainable else settled
            pairs.append((variable, mask))
        self._masks.update(moved)
        self._settled.update(settled)

    def _is_reached(self, fraction):
        # The error of a sparsity that was computed as float32.
        return fraction >= final_fraction_of(self.schedule) - 1e-6

    def _warn_if_late(self, step):
        end = getattr(self.schedule, "end_step", -1)
        if 0 <= end < step:
            warnings.warn(
                f"{type(self).__name__} has end_step={end}, but the optimizer "
                f"has done {step} steps already: all {self._things} are "
                "pruned at once. Count `begin_step` and `end_step` from "
                "`optimizer.iterations`, or compile the model again.",
                stacklevel=2,
            )

    def _warn_if_incomplete(self, step):
        if final_fraction_of(self.schedule) == 0:
            return
        if self._last is None:
            problem = f"pruned nothing: {self._why_nothing(step)}"
        elif not self._is_reached(self._last[1]):
            problem = (
                f"did not reach {self._goal}="
                f"{final_fraction_of(self.schedule):.4g}: "
                f"{self._why_incomplete(step)}"
            )
        else:
            problem = self._problem()
        if problem:
            name = type(self).__name__
            warnings.warn(f"{name} {problem}", stacklevel=2)

    def _problem(self) -> str | None:
        """What is wrong although the schedule was followed to its end."""
        return None

    def _why_nothing(self, step):
        first = first_update(self.schedule)
        if first is None:
            return (
                f"training ended after {step} optimizer steps, and the "
                "schedule asked for none after any of them. Check its steps "
                "and its `frequency`."
            )
        return (
            f"training ended after {step} optimizer steps and the first "
            f"{self._things} go after {first}. Train longer, or lower "
            "`begin_step` and `frequency`."
        )

    def _why_incomplete(self, step):
        end = getattr(self.schedule, "end_step", -1)
        if 0 <= end <= step:
            last, fraction = self._last
            return (
                f"the last time the schedule pruned was after {last} steps, "
                f"at {fraction:.4g}. Choose a `frequency` that divides the "
                "steps from begin_step to end_step."
            )
        until = f" and end_step is {end}" if end >= 0 else ""
        return (
            f"training ended after {step} optimizer steps{until}. Train "
            "longer, or lower `end_step`."
        )


def _hint(schedule):
    if isinstance(schedule, Mapping) or hasattr(schedule, "suggest"):
        return (
            " Fractions by layer, such as `table.suggest(max_loss=0.01)`, are "
            "for `IterativePruning` and `prune_filters`."
        )
    return ""
