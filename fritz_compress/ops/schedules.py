"""How far a compression has come after a number of optimizer steps."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from fritz_compress.checks import check_count, check_fraction

# An object or function of the steps done that returns whether to prune now,
# and the fraction that should then be zero. Numbers or scalar tensors.
Schedule = Callable[[int], tuple[Any, Any]]

_LONG_AFTER = 10**9  # Optimizer steps; below 2**31, for int32 tensors.


def fraction_at(
    step: int, final_fraction: float, begin_step: int, end_step: int
) -> float:
    """Fraction to hold at zero after `step` optimizer steps.

    Rises from 0 at `begin_step` to `final_fraction` at `end_step` along
    `final_fraction * (1 - (1 - progress)^3)`: quickly while there is much to
    spare, slowly at the end. It stays at `final_fraction` afterwards.

    Args:
        step: Optimizer steps done.
        final_fraction: Fraction to reach, in `[0, 1]`.
        begin_step: Last step with fraction 0.
        end_step: First step with `final_fraction`, above `begin_step`.

    Reference: Zhu and Gupta, "To prune, or not to prune",
    https://arxiv.org/abs/1710.01878, equation 1 with zero initial sparsity.

    Example: halfway, 7/8 of the fraction is reached.

    >>> fraction_at(50, final_fraction=0.8, begin_step=0, end_step=100)
    0.7
    """
    progress = (step - begin_step) / (end_step - begin_step)
    progress = min(max(progress, 0.0), 1.0)
    return final_fraction * (1.0 - (1.0 - progress) ** 3)


class _Configured:
    """`get_config` and `from_config` of a frozen dataclass: its fields."""

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]):
        """The schedule that `get_config` describes."""
        return cls(**config)


@keras.saving.register_keras_serializable("fritz_compress")
@dataclasses.dataclass(frozen=True)
class CubicRise(_Configured):
    """From nothing to a final fraction, which is reached for certain.

    Prunes every `frequency` steps after `begin_step`, and at `end_step`
    whether or not `frequency` divides the steps between. Called with a step,
    returns whether to prune and `fraction_at` that step.

    Args:
        final_fraction: Fraction to reach, in `[0, 1)`. Not a percent.
        begin_step: Optimizer steps done when the fraction starts to rise.
        end_step: Optimizer steps done when `final_fraction` is reached.
        frequency: Optimizer steps from one pruning to the next.

    Raises:
        TypeError: for a fraction that is no number, or steps that are no
            whole numbers.
        ValueError: for a value out of range.

    Example:

    >>> CubicRise(0.8, begin_step=0, end_step=100, frequency=50)(50)
    (True, 0.7)
    """

    final_fraction: float
    begin_step: int = 0
    end_step: int = 1000
    frequency: int = 100

    def __post_init__(self):
        check_fraction("final_fraction", self.final_fraction)
        _check_order(self.begin_step, self.end_step, "<")
        check_count("frequency", self.frequency)

    def __call__(self, step: int) -> tuple[bool, float]:
        begin, end = self.begin_step, self.end_step
        due = step == end or (
            begin < step < end and (step - begin) % self.frequency == 0
        )
        return due, fraction_at(step, self.final_fraction, begin, end)


@keras.saving.register_keras_serializable("fritz_compress")
@dataclasses.dataclass(frozen=True)
class ConstantSparsity(_Configured):
    """The same sparsity from the first pruning on.

    Takes the arguments of the class of this name in
    tensorflow-model-optimization and returns the same. Called with a step,
    returns whether to prune and `target_sparsity`.

    Args:
        target_sparsity: Fraction of zeros, in `[0, 1)`. Not a percent.
        begin_step: First step that prunes.
        end_step: No step after it prunes; -1 for no end.
        frequency: Optimizer steps from one pruning to the next.

    Raises:
        TypeError: for a fraction that is no number, or steps that are no
            whole numbers.
        ValueError: for a value out of range.

    Example:

    >>> ConstantSparsity(0.5, begin_step=0)(100)
    (True, 0.5)
    """

    target_sparsity: float
    begin_step: int
    end_step: int = -1
    frequency: int = 100

    def __post_init__(self):
        check_fraction("target_sparsity", self.target_sparsity)
        check_count("begin_step", self.begin_step, least=0)
        if self.end_step != -1:
            _check_order(self.begin_step, self.end_step, "<=")
        check_count("frequency", self.frequency)

    def __call__(self, step: int) -> tuple[bool, float]:
        return _is_turn(self, step), self.target_sparsity


@keras.saving.register_keras_serializable("fritz_compress")
@dataclasses.dataclass(frozen=True)
class PolynomialDecay(_Configured):
    """From an initial to a final sparsity, quickly first, slowly at the end.

    Takes the arguments of the class of this name in
    tensorflow-model-optimization and returns the same: called with a step,
    whether to prune, and

        final + (initial - final) * (1 - progress)^power

    with `progress` from 0 at `begin_step` to 1 at `end_step`. Only every
    `frequency` steps from `begin_step` on prune: where `frequency` does not
    divide `end_step - begin_step`, the final sparsity is never applied.

    Args:
        initial_sparsity: Fraction of zeros at `begin_step`, in `[0, 1)`.
        final_sparsity: Fraction of zeros at `end_step`, in `[0, 1)`.
        begin_step: First step that prunes.
        end_step: No step after it prunes.
        power: Exponent.
        frequency: Optimizer steps from one pruning to the next.

    Raises:
        TypeError: for a fraction that is no number, or steps that are no
            whole numbers.
        ValueError: for a value out of range.

    Reference: Zhu and Gupta, "To prune, or not to prune",
    https://arxiv.org/abs/1710.01878, equation 1.

    Example:

    >>> PolynomialDecay(0.0, 0.8, begin_step=0, end_step=200)(100)
    (True, 0.7)
    """

    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int
    power: float = 3
    frequency: int = 100

    def __post_init__(self):
        check_fraction("initial_sparsity", self.initial_sparsity)
        check_fraction("final_sparsity", self.final_sparsity)
        _check_order(self.begin_step, self.end_step, "<=")
        check_count("frequency", self.frequency)

    def __call__(self, step: int) -> tuple[bool, float]:
        # With begin_step == end_step there is one step, the last.
        length = max(self.end_step - self.begin_step, 1)
        left = min(max((self.end_step - step) / length, 0.0), 1.0)
        spread = self.initial_sparsity - self.final_sparsity
        sparsity = self.final_sparsity + spread * left**self.power
        return _is_turn(self, step), sparsity


def latest_update(
    schedule: Schedule, step: int, after: int | None = None
) -> tuple[int, float] | None:
    """The last step up to `step` at which a schedule prunes, and how much.

    Steps are not always seen one by one: some calls run several of them, and
    training may begin in the middle of a schedule.

    Args:
        schedule: Called with a step, returns whether to prune and a fraction.
        step: Optimizer steps done.
        after: Only steps later than this count. By default all do that the
            schedule's own `end_step` and `frequency` allow; of a schedule
            without these attributes only `step`.

    Returns: the step and the fraction, or `None` if there is no such step.
    """
    newest, oldest = step, step if after is None else after + 1
    end = getattr(schedule, "end_step", -1)
    frequency = getattr(schedule, "frequency", None)
    if end >= 0:
        newest = min(step, end)
    if after is None and frequency is not None:
        oldest = newest - frequency + 1
    for candidate in range(newest, max(oldest, 0) - 1, -1):
        due, fraction = schedule(candidate)
        if bool(due):
            return candidate, float(fraction)
    return None


def first_update(schedule: Schedule) -> int | None:
    """The first step at which a schedule prunes anything, if that is known.

    It is for schedules with `begin_step` and `frequency`; `None` for others,
    and if there is no such step.
    """
    begin = getattr(schedule, "begin_step", None)
    frequency = getattr(schedule, "frequency", None)
    if begin is None or frequency is None:
        return None
    end = getattr(schedule, "end_step", -1)
    last = begin + frequency
    for step in range(begin, (min(last, end) if end >= 0 else last) + 1):
        due, fraction = schedule(step)
        if bool(due) and float(fraction) > 0:
            return step
    return None


def final_fraction_of(schedule: Schedule) -> float:
    """The fraction that a schedule ends with."""
    return float(schedule(_LONG_AFTER)[1])


def _is_turn(schedule, step):
    begin, end = schedule.begin_step, schedule.end_step
    return (
        begin <= step
        and (end < 0 or step <= end)
        and (step - begin) % schedule.frequency == 0
    )


def _check_order(begin_step, end_step, order):
    check_count("begin_step", begin_step, least=0)
    check_count("end_step", end_step, least=0)
    if begin_step > end_step or (order == "<" and begin_step == end_step):
        raise ValueError(
            f"Steps must satisfy 0 <= begin_step {order} end_step. Received: "
            f"begin_step={begin_step}, end_step={end_step}."
        )
