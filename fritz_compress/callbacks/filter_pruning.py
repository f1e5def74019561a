from collections.abc import Callable, Sequence

import numpy as np

from fritz_compress.callbacks.channel_selection import (
    masks_of,
    select_groups,
    zeroed_fraction,
)
from fritz_compress.callbacks.scheduled_pruning import (
    ScheduledPruning,
    schedule_from,
)
from fritz_compress.checks import check_count, check_names
from fritz_compress.ops.schedules import Schedule
from fritz_compress.surgery import ChannelGroup, criteria
from fritz_compress.surgery.pruning import checked_scores
from fritz_compress.surgery.rounding import kept_channels


class FilterPruning(ScheduledPruning):
    """Zeroes the filters that matter least, more of them as training goes on.

    Filters of layers that are tied, as by a residual addition, are zeroed
    together: a *channel group*. In every group those go that `criterion`
    scores lowest, the same fraction of each group. By default that is the L1
    norm, summed over the group's layers, each divided by its own mean norm,
    so that a layer of large kernels does not decide alone. The fraction rises
    from 0 to `final_fraction` along the cubic curve of Zhu and Gupta, or
    follows a `schedule`. A zeroed filter has zeros in kernel and bias and in
    scale, offset and mean of the normalization after it; it stays zero
    against the optimizer's momentum.

    The model keeps its size: `surgery.remove_pruned_filters` makes the
    smaller one after training, with the same outputs. In a
    `keras.distillation.Distiller` the student is pruned.

    Groups are left alone, and listed in the attribute `skipped` with the
    reason, where channels must stay (outputs of the model, layers without a
    rule), where a zeroed channel would not be zero at the next layer (after a
    sigmoid), and where a layer, be it a normalization, is not trainable.

    Which filters are zeroed is not stored: it is read off the weights at the
    first batch, so that training goes on after `BackupAndRestore`. List this
    callback before a `BackupAndRestore` that saves between epochs, and after
    an `EarlyStopping` that restores the best weights.

    Args:
        final_fraction: Fraction of each group's filters to zero, in `[0, 1)`.
            Not a percent.
        begin_step: Optimizer steps done when pruning starts. Steps are those
            of `optimizer.iterations`, which go on from one fit to the next.
        end_step: Optimizer steps done when `final_fraction` is reached.
        frequency: Optimizer steps from one pruning to the next.
        round_to: The number of filters *kept* in a group is rounded up to a
            multiple of this, and is never below it: of 9 filters a fraction
            of 0.25 leaves 6.75, in multiples of 4 that is 8. So the fraction
            that is reached may be smaller. Defaults to 4.
        ignored_layers: Names of layers, or of models inside the model, whose
            groups are left alone.
        criterion: What tells how much a filter matters: a name such as
            `"l1"`, `"l2"` or `"fpgm"`, an object of `surgery.criteria`, or a
            function from a channel group to one score per channel.
        schedule: In place of `final_fraction` and its steps: `PolynomialDecay`
            or `ConstantSparsity` of `ops.schedules` or of
            tensorflow-model-optimization, or anything that is called with a
            step and returns whether to prune and the fraction to reach.

    Logs: `pruned_fraction`, the measured fraction of zeroed filters among
        those of the groups that are pruned, at the end of each epoch.

    Raises:
        TypeError: on construction for a value of the wrong type.
        ValueError: on construction for a value out of range; on train begin
            for an unknown name in `ignored_layers`, or if no group can be
            pruned; whenever filters are chosen, if a weight is NaN.

    Warns: at the end of training if `end_step` was not reached, if nothing
        was pruned, or at its start if it begins after `end_step`, so that
        everything is pruned at once.

    References: Li et al., "Pruning Filters for Efficient ConvNets",
    https://arxiv.org/abs/1608.08710; Zhu and Gupta, "To prune, or not to
    prune", https://arxiv.org/abs/1710.01878.

    Example:

    >>> pruning = FilterPruning(0.25, begin_step=100, end_step=900)
    >>> model.fit(images, labels, epochs=10, callbacks=[pruning])
    >>> smaller = surgery.remove_pruned_filters(model)
    """

    _log = "pruned_fraction"
    _goal = "final_fraction"
    _things = "filters"

    def __init__(
        self,
        final_fraction: float | None = None,
        begin_step: int = 0,
        end_step: int = 1000,
        frequency: int = 100,
        round_to: int = 4,
        ignored_layers: Sequence[str] = (),
        criterion: (
            str | criteria.Criterion | Callable[[ChannelGroup], np.ndarray]
        ) = "l1",
        schedule: Schedule | None = None,
    ):
        if (final_fraction is None) == (schedule is None):
            raise ValueError(
                "Expected either `final_fraction` or `schedule`. Received: "
                f"final_fraction={final_fraction}, schedule={schedule}."
            )
        super().__init__(
            schedule_from(
                final_fraction if schedule is None else schedule,
                "final_fraction" if schedule is None else "schedule",
                begin_step=begin_step,
                end_step=end_step,
                frequency=frequency,
            )
        )
        self.round_to = check_count("round_to", round_to)
        self.ignored_layers = check_names("ignored_layers", ignored_layers)
        self.criterion = criteria.get(criterion)

    def _select(self, network):
        self._network = network
        self._groups, self.skipped = select_groups(network, self.ignored_layers)

    def _read(self):
        self._pruned = [group.zeroed for group in self._groups]

    def _prune(self, fraction):
        goals = [self._goal_of(group, fraction) for group in self._groups]
        missing = [
            goal > pruned.sum() for goal, pruned in zip(goals, self._pruned)
        ]
        if not any(missing):
            return False
        # What momentum has revived must not count.
        self._masks.apply()
        scores = checked_scores(self.criterion, self._network, self._groups)
        for index in np.flatnonzero(missing):
            pruned = self._pruned[index]
            ranked = np.where(pruned, -np.inf, scores[index])
            order = np.argsort(ranked, kind="stable")
            pruned[order[: goals[index]]] = True
        return True

    def _pairs(self):
        return masks_of(self._groups, self._pruned)

    def _measure(self):
        return zeroed_fraction(self._groups)

    def _goal_of(self, group, fraction):
        """How many channels of a group to have zeroed at a fraction."""
        wanted = (1 - fraction) * group.channels
        kept = kept_channels(group.channels, wanted, self.round_to)
        return group.channels - kept

    def _problem(self):
        if any(pruned.any() for pruned in self._pruned):
            return None
        return (
            f"pruned nothing: with round_to={self.round_to} a fraction of "
            f"{self._last[1]:.4g} leaves every group whole. Lower `round_to`, "
            "or raise `final_fraction`."
        )
