"""Ranks by energy and by budget beside brute force."""

import itertools

import numpy as np
import pytest

from fritz_compress.ops.rank_selection import cheapest, within_budget


@pytest.mark.parametrize(
    "energy, index",
    [(0.5, 0), (0.6, 0), (0.61, 2), (0.9, 2), (0.95, 3), (1.0, 3)],
)
def test_the_cheapest_that_keeps_enough(energy, index):
    costs = np.array([10, 30, 20, 40])
    errors = np.array([0.4, 0.05, 0.1, 0.0])
    errors[1] = 0.2  # Beaten by a cheaper one.
    assert cheapest(costs, errors, energy) == index


def test_what_float32_rounds_away_need_not_be_kept():
    assert cheapest(np.array([1, 2]), np.array([1e-13, 0.0]), 1.0) == 0
    assert cheapest(np.array([1]), np.array([0.1]), 0.95) is None


def options(seed):
    rng = np.random.default_rng(seed)
    costs = [
        np.sort(rng.integers(1, 30, rng.integers(1, 7)))
        for _ in range(rng.integers(1, 5))
    ]
    errors = [np.sort(rng.random(len(own)))[::-1] for own in costs]
    least, most = (sum(f(own) for own in costs) for f in (min, max))
    return costs, errors, int(rng.integers(least, most + 1))


def spent(values, chosen):
    return sum(own[index] for own, index in zip(values, chosen))


@pytest.mark.parametrize("seed", range(100))
def test_no_choice_within_the_budget_is_better(seed):
    costs, errors, budget = options(seed)
    chosen = within_budget(costs, errors, budget)
    assert spent(costs, chosen) <= budget
    best = min(
        spent(errors, other)
        for other in itertools.product(*(range(len(own)) for own in costs))
        if spent(costs, other) <= budget
    )
    assert spent(errors, chosen) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_large_budgets_are_met_closely(seed):
    """Costs in millions: near the bound that linear programming gives."""
    rng = np.random.default_rng(seed)
    costs = [np.arange(1, 65) * rng.integers(10**4, 10**6) for _ in range(30)]
    falls = [np.sort(rng.exponential(size=64))[::-1] for _ in costs]
    errors = [own[::-1].cumsum()[::-1] - own for own in falls]
    budget = sum(own.sum() for own in costs) // 64
    chosen = within_budget(costs, errors, int(budget))
    assert 0.999 * budget < spent(costs, chosen) <= budget
    # Each error is convex in the cost, so that greedy ratios are the bound.
    steps = sorted(
        (-(own[1] - own[0]) / cost, cost)
        for many, kernel in zip(costs, errors)
        for own, cost in zip(
            itertools.pairwise(kernel), np.diff(many), strict=True
        )
    )
    bound = spent(errors, [0] * len(costs))
    left = budget - spent(costs, [0] * len(costs))
    for gain, cost in reversed(steps):
        share = min(1, left / cost)
        bound -= gain * cost * share
        left -= cost * share
        if left <= 0:
            break
    assert spent(errors, chosen) <= 1.001 * bound


def test_costs_that_rounding_lifts_over_the_budget():
    """Each is 1 above a multiple of the unit that budgets are cut into."""
    budget = 2**20
    costs = [np.array([budget // 4 + 1]), np.array([budget // 2, budget])]
    costs.append(np.array([budget // 4 - 1]))
    errors = [np.array([0.1]), np.array([0.2, 0.1]), np.array([0.3])]
    assert within_budget(costs, errors, budget) == [0, 0, 0]


def test_a_budget_below_the_cheapest_is_an_error():
    options = [np.array([3, 5]), np.array([2000, 4])], [np.ones(2), np.ones(2)]
    with pytest.raises(ValueError, match="cost 7. Received: budget=6"):
        within_budget(*options, 6)
