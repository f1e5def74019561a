"""Which rank each layer gets, and why some keep their kernel."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fritz_compress.ops import rank_selection
from fritz_compress.ops.decomposition import Rank
from fritz_compress.surgery.factorization.config import BAYESIAN
from fritz_compress.surgery.factorization.subjects import (
    Subject,
    check_some_are_served,
)

OPTIONS = 512  # Ranks of a layer among which a budget chooses, at most.


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a model may cost after factorization.

    Attributes:
        objective: "parameters" or "macs".
        fraction: Of what the model costs, what is left at most.
        total: What it costs.
    """

    objective: str
    fraction: float
    total: int

    @property
    def allowed(self) -> int:
        return int(self.fraction * self.total)


Choice = tuple[Rank | None, str]  # A rank, or `None` and the reason.


def choose(
    subjects: Sequence[Subject],
    objective: str,
    budget: Budget | None,
    seed: int,
) -> dict[Subject, Choice]:
    """A rank for each layer, only where it makes it smaller.

    Args:
        subjects: The layers.
        objective: "parameters" or "macs": what is to be smaller.
        budget: For all layers whose configuration does not say a rank.
        seed: For decompositions with a random start.

    Raises:
        ValueError: for a rank that no layer of its configuration can have, or
            a budget that cannot be met.
    """
    chooser = _Chooser(objective, seed)
    choices, shared, refused = {}, [], []
    for subject in subjects:
        if budget is not None and _is_open(subject):
            shared.append(subject)
            continue
        try:
            choices[subject] = chooser.choice(subject)
        except _OutOfRange as error:
            choices[subject] = None, str(error)
            refused.append((subject, str(error)))
    served = [s for s in subjects if s not in dict(refused)]
    check_some_are_served(refused, served)
    if budget is not None:
        choices |= chooser.shared(shared, choices, budget)
    return choices


class _OutOfRange(Exception):
    """A rank that the kernel of a layer cannot have."""


class _Chooser:
    def __init__(self, objective, seed):
        self.objective = objective
        self.seed = seed

    def choice(self, subject) -> Choice:
        """What the configuration of a layer says for itself."""
        config = subject.config
        if config.energy is not None:
            return self._by_energy(subject, config.energy)
        if config.rank in (None, BAYESIAN):
            decomposition = subject.method.decomposition
            rank = decomposition.bayesian_rank(subject.kernel)
            if not min(rank):
                return None, "variational Bayes sees nothing but noise"
        else:
            rank = _checked(subject)
        after, before = self._cost(subject, rank), self._before(subject)
        if after < before:
            return rank, ""
        return None, (
            f"rank {shown(rank)} would take {after:,} {self.noun} in place of "
            f"{before:,}"
        )

    def shared(self, subjects, choices, budget) -> dict[Subject, Choice]:
        """What a budget leaves to the layers that share it."""
        options = [self._options(subject) for subject in subjects]
        fixed = budget.total - sum(map(self._before, subjects))
        for subject, (rank, _) in choices.items():
            if rank is not None:
                fixed += self._cost(subject, rank) - self._before(subject)
        self._check_reachable(budget, fixed, options)
        chosen = rank_selection.within_budget(
            [costs for _, costs, _ in options],
            [_losses(errors) for _, _, errors in options],
            budget.allowed - fixed,
        )
        found = {}
        for subject, (ranks, _, _), index in zip(subjects, options, chosen):
            rank = ranks[index]
            why = "" if rank else "the budget leaves it as it is"
            if len(ranks) == 1:
                why = self._no_smaller()
            found[subject] = rank, why
        return found

    def _options(self, subject):
        """Ranks with costs and errors, `None` for the kernel as it is."""
        ranks, costs, errors = self._smaller(subject)
        best = _pareto(costs, errors)
        return (
            [tuple(map(int, rank)) for rank in ranks[best]] + [None],
            np.append(costs[best], self._before(subject)),
            np.append(errors[best], 0.0),
        )

    def _by_energy(self, subject, energy):
        ranks, costs, errors = self._smaller(subject)
        found = rank_selection.cheapest(costs, errors, energy)
        if found is not None:
            return tuple(map(int, ranks[found])), ""
        if not len(ranks):
            return None, self._no_smaller()
        return None, (
            f"no rank that is smaller keeps {energy} of its energy; "
            f"{shown(ranks[np.argmin(errors)])} keeps {1 - errors.min():.4f}"
        )

    def _smaller(self, subject):
        """Candidates that cost less than the kernel, with their errors."""
        decomposition = subject.method.decomposition
        ranks = decomposition.candidates(subject.shape)
        costs = self._cost(subject, ranks.T)
        ranks = ranks[costs < self._before(subject)]
        errors = np.zeros(0)
        if len(ranks):
            errors = decomposition.errors(subject.kernel, ranks, self.seed)
        return ranks, costs[costs < self._before(subject)], errors

    def _cost(self, subject, rank):
        return getattr(subject.after(rank), self.objective)

    def _before(self, subject):
        return getattr(subject.before, self.objective)

    def _check_reachable(self, budget, fixed, options):
        least = fixed + sum(int(costs.min()) for _, costs, _ in options)
        if least > budget.allowed:
            raise ValueError(
                f"A budget of {budget.objective}={budget.fraction} cannot be "
                f"met: of {budget.total:,} {self.noun}, {least:,} "
                f"({least / budget.total:.3f}) are left with the lowest ranks "
                "in all layers that may be factorized. Raise it, let more "
                "layers take part, or take another method."
            )

    def _no_smaller(self):
        return f"no rank takes fewer {self.noun}"

    @property
    def noun(self):
        return "MACs" if self.objective == "macs" else self.objective


def shown(rank: Sequence[int]) -> str:
    """A rank as a user writes it: a number, or a pair."""
    numbers = [str(number) for number in rank]
    return numbers[0] if len(numbers) == 1 else f"({', '.join(numbers)})"


def _is_open(subject):
    return subject.config.rank is None and subject.config.energy is None


def _checked(subject):
    try:
        return subject.method.decomposition.checked(
            subject.shape, subject.config.rank
        )
    except ValueError as error:
        raise _OutOfRange(str(error)) from error


def _losses(errors):
    """Sums of these are least where the product of kept energies is largest.

    Zhang et al., https://arxiv.org/abs/1505.06798, section 3.3.
    """
    return -np.log1p(-np.minimum(errors, 1 - 1e-9))


def _pareto(costs, errors):
    """Indices of options that no cheaper one beats, some if there are many."""
    order = np.lexsort((errors, costs))
    lowest = np.minimum.accumulate(np.append(np.inf, errors[order]))
    better = order[errors[order] < lowest[:-1]]
    if len(better) <= OPTIONS:
        return better
    return better[np.linspace(0, len(better) - 1, OPTIONS).astype(int)]
