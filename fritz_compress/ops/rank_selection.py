"""Which rank each kernel gets: by kept energy, or by a budget for all."""

from collections.abc import Sequence

import numpy as np

RESOLUTION = 2**14  # Parts of a budget that are told apart.
ROUNDING = 1e-12  # Of a kernel's energy: what float32 cannot keep anyway.


def cheapest(
    costs: np.ndarray, errors: np.ndarray, energy: float
) -> int | None:
    """The cheapest option that keeps enough of a kernel.

    Args:
        costs: One number per option.
        errors: Squared error of each, as a share of the kernel's energy.
        energy: Share to keep at least, in `(0, 1]`.

    Returns: its index, or `None` if no option does.

    >>> cheapest(np.array([10, 20, 30]), np.array([0.4, 0.1, 0.0]), 0.9)
    1
    """
    enough = errors <= 1 - energy + ROUNDING
    if not enough.any():
        return None
    return int(np.argmin(np.where(enough, costs, np.inf)))


def within_budget(
    costs: Sequence[np.ndarray], errors: Sequence[np.ndarray], budget: int
) -> list[int]:
    """One option per kernel, with the least sum of errors for a budget.

    Dynamic programming over the kernels and over what is spent, in 16,384
    parts of the budget, rounded up; what rounding leaves over is spent where
    it lowers the error most. Exact for budgets of so many units, and never
    exceeded.

    Args:
        costs: For each kernel the costs of its options, whole numbers.
        errors: Likewise, their errors.
        budget: What all may cost together.

    Returns: the index of an option for each kernel.

    Raises:
        ValueError: if the cheapest options cost more than that.

    Example: 2 kernels; 3 spent on the first lower the error more.

    >>> within_budget(
    ...     [np.array([1, 3]), np.array([1, 3])],
    ...     [np.array([0.9, 0.1]), np.array([0.5, 0.1])],
    ...     budget=4,
    ... )
    [1, 0]
    """
    least = sum(int(own.min()) for own in costs)
    if least > budget:
        raise ValueError(
            f"The cheapest options cost {least:,}. Received: budget={budget:,}."
        )
    unit = max(1, -(-budget // RESOLUTION))
    units = [-(-own // unit) for own in costs]
    chosen = _programmed(units, errors, budget // unit)
    if chosen is None:  # Rounded up, even the cheapest are too much.
        chosen = [int(np.argmin(own)) for own in costs]
    return _improved(chosen, costs, errors, budget)


def _programmed(costs, errors, budget):
    """The optimum for costs of some units each, `None` if there is none."""
    best = np.zeros(budget + 1)  # By what may be spent so far.
    choices = []
    for own, losses in zip(costs, errors):
        longer = np.full(budget + 1, np.inf)
        choice = np.zeros(budget + 1, "int32")
        for option in np.nonzero(own <= budget)[0]:
            cost = own[option]
            total = best[: budget + 1 - cost] + losses[option]
            lower = total < longer[cost:]
            longer[cost:][lower] = total[lower]
            choice[cost:][lower] = option
        best = longer
        choices.append(choice)
    if np.isinf(best[budget]):
        return None
    chosen = []
    for own, choice in zip(reversed(costs), reversed(choices)):
        chosen.append(int(choice[budget]))
        budget -= own[chosen[-1]]
    return chosen[::-1]


def _improved(chosen, costs, errors, budget):
    """Spends what is left on one kernel after the other, the best first."""
    chosen = list(chosen)
    left = budget - sum(int(own[i]) for own, i in zip(costs, chosen))
    while True:
        gains = []
        for kernel, (own, losses, now) in enumerate(zip(costs, errors, chosen)):
            affordable = np.where(own - own[now] <= left, losses, np.inf)
            option = int(np.argmin(affordable))
            gains.append((losses[now] - losses[option], kernel, option))
        gain, kernel, option = max(gains, default=(0, 0, 0))
        if gain <= 0:
            return chosen
        left -= int(costs[kernel][option] - costs[kernel][chosen[kernel]])
        chosen[kernel] = option
