"""Filters removed layer by layer, as far as the network recovers."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from fritz_compress.analysis.silencing import check_weights
from fritz_compress.checks import check_model
from fritz_compress.surgery import criteria, remove_filters
from fritz_compress.surgery.criteria.base import name_of
from fritz_compress.surgery.groups import groups_of
from fritz_compress.surgery.labelling import label_channels
from fritz_compress.surgery.pruning import checked_scores
from fritz_compress.surgery.removal import remove_channels
from fritz_compress.surgery.rules import find_rule
from fritz_compress.training.pruning_journal import (
    Journal,
    PruningAttempt,
    PruningReport,
    Retraining,
    last_metric,
)
from fritz_compress.training.pruning_plan import group_of, plan_ladders
from fritz_compress.training.retraining import Retrainer, RetrainingSettings


def prune_layer_by_layer(
    model: keras.Model,
    data: tuple,
    validation_data: tuple,
    floor: float,
    fractions: float | Mapping[str, float] = 0.5,
    monitor: str = "accuracy",
    mode: str = "max",
    criterion: str | criteria.Criterion = "l1",
    step_fraction: float = 0.125,
    round_to: int = 4,
    recovery_epochs: int = 10,
    sample_fraction: float = 0.1,
    epochs_per_sample: int = 10,
    final_epochs: int = 10,
    batch_size: int = 32,
    ignored_layers: Sequence[str] = (),
    seed: int = 0,
    backup_dir: str | os.PathLike | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_step: Callable[[PruningAttempt, int], None] | None = None,
) -> tuple[keras.Model, PruningReport]:
    """Removes filters, and retrains, as long as a metric recovers to a floor.

    Channel group by channel group (`surgery.channel_groups`), in the order of
    the model or of `fractions`: the least important filters of the group are
    removed for real, and what is left is trained on a random sample of the
    data, an epoch at least, until the validation metric has reached `floor`
    again. Then more filters of the same group go. If the floor is not reached
    within `recovery_epochs`, the step is undone, and the next group's turn
    comes. At the end the network is trained on all data.

    A run with one seed gives one result, also if it was interrupted (Ctrl-C,
    a kill) and called again with the same arguments and `backup_dir`: it goes
    on after the last step, or the last epoch of the training at the end.
    Learning rate schedules start anew with every retraining, and so does the
    optimizer.

    Args:
        model: A Functional or built Sequential model, compiled; retraining
            uses its loss, metrics and optimizer settings. It is not changed.
        data: Arrays to train on, `(inputs, targets)` or with sample weights.
        validation_data: Arrays to evaluate on, likewise.
        floor: What the metric must reach: at least, or at most with
            `mode="min"`.
        fractions: Fraction of each group's filters to remove at most, in
            `[0, 1)`; or such fractions by the name of a layer, the only ones
            that are tried then, in this order.
        monitor: Name of the metric, as `model.evaluate` reports it.
        mode: `"max"` if higher is better, `"min"` for a loss.
        criterion: Tells which filters matter least, see `surgery.criteria`.
        step_fraction: Fraction of a group's original filters that one step
            removes, in `(0, 1]`.
        round_to: The number of filters kept is a multiple of this, never
            below it; one step removes as many at least.
        recovery_epochs: Epochs, on the sample, within which the metric must
            recover.
        sample_fraction: Size of the sample as a fraction of `data`.
        epochs_per_sample: Epochs after which another sample is drawn.
        final_epochs: Epochs on all data at the end; 0 leaves it out.
        batch_size: Samples per optimizer step; an incomplete batch is left
            out of its epoch.
        ignored_layers: Names of layers whose groups are left alone.
        seed: Seed of samples, their order, and the noise of dropouts.
        backup_dir: Folder in which steps and the last good model are kept, or
            `None`. It stays when all is done.
        callbacks: More callbacks for each `fit`.
        on_step: Called after every step with it and with the number of steps
            that are left if all of them are accepted.

    Returns: the pruned model, compiled, and the report, which prints as a
        table. If the training at the end falls below the floor, its result is
        not taken.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a number out of range, fractions that are all 0, a
            model that is not compiled, holds NaN or is below the floor
            already, an unknown metric or layer, a layer whose filters must
            stay, no filters that can go, or a `backup_dir` of other
            arguments.

    Reference: Li et al., "Pruning Filters for Efficient ConvNets",
    https://arxiv.org/abs/1608.08710, section 3.4, "prune and retrain
    iteratively".

    Example:

    >>> smaller, report = prune_layer_by_layer(
    ...     model, (images, labels), (more_images, more_labels), floor=0.9)
    >>> print(report)
    """
    check_model(model)
    settings = RetrainingSettings(
        floor=floor,
        monitor=monitor,
        mode=mode,
        recovery_epochs=recovery_epochs,
        sample_fraction=sample_fraction,
        epochs_per_sample=epochs_per_sample,
        final_epochs=final_epochs,
        batch_size=batch_size,
        seed=seed,
    )
    check_weights(model)
    pruning = _Pruning(
        model,
        Retrainer(model, data, validation_data, settings, callbacks),
        plan_ladders(model, fractions, step_fraction, round_to, ignored_layers),
        criterion,
        backup_dir,
    )
    pruning.remove(on_step or (lambda step, left: None))
    pruning.retrain()
    return pruning.model, pruning.report()


class _Pruning:
    """The last good model, and the steps that led there."""

    def __init__(self, model, trainer, plan, criterion, backup_dir):
        self.trainer = trainer
        self.ladders, self.skipped = plan
        self.criterion = criteria.get(criterion)
        self.backup_dir = backup_dir
        self.parameters = model.count_params()
        self.first_metric = self._measure(model)
        self.journal = Journal(backup_dir, self._arguments(model, criterion))
        self.steps, self.retraining, found = self.journal.read()
        copy = remove_filters(model, {}) if found is None else found
        self.model = trainer.compile(copy)

    def remove(self, on_step):
        """Every group in its turn; steps that the journal knows are done."""
        known = iter(tuple(self.steps))
        left = sum(len(ladder.rungs) for ladder in self.ladders)
        for ladder in self.ladders:
            left -= len(ladder.rungs)
            for number, kept in enumerate(ladder.rungs, start=1):
                step = next(known, None)
                if step is None:
                    step = self._try(ladder.producers, kept)
                    rest = len(ladder.rungs) - number if step.accepted else 0
                    on_step(step, left + rest)
                if not step.accepted:
                    break

    def retrain(self):
        """Trains on all data; falls back if that ends below the floor."""
        if self.retraining is not None or not self._settings.final_epochs:
            return
        before = last_metric(self.first_metric, self.steps)
        backup = None
        if self.backup_dir is not None:
            backup = pathlib.Path(self.backup_dir) / "retraining"
        copy = self.trainer.compile(remove_filters(self.model, {}))
        after = self.trainer.train(copy, backup)
        accepted = self.trainer.reaches_floor(after)
        self.retraining = Retraining(
            before, after, self._settings.final_epochs, accepted
        )
        if accepted:
            self.model = copy
        self.journal.write(
            self.steps, self.retraining, copy if accepted else None
        )

    def report(self):
        return PruningReport(
            monitor=self._settings.monitor,
            floor=self._settings.floor,
            metric_before=self.first_metric,
            steps=tuple(self.steps),
            retraining=self.retraining,
            skipped=self.skipped,
            parameters_before=self.parameters,
            parameters_after=self.model.count_params(),
        )

    @property
    def _settings(self):
        return self.trainer.settings

    def _measure(self, model):
        metric = self.trainer.measure(model)
        if not self.trainer.reaches_floor(metric):
            raise ValueError(
                f"Model '{model.name}' must reach the floor before anything is "
                f"removed. Received: {self._settings.monitor}={metric:.4f} "
                f"with floor={self._settings.floor:g}. Train it longer, or "
                "choose another floor."
            )
        return metric

    def _try(self, producers, kept):
        """One step: the model is replaced if it recovers."""
        channels, smaller = self._without_least(producers, kept)
        before = self.trainer.measure(smaller)
        done = sum(step.epochs for step in self.steps)
        after, epochs = self.trainer.recover(smaller, done)
        accepted = self.trainer.reaches_floor(after)
        step = PruningAttempt(
            layer=", ".join(producers),
            channels_before=channels,
            channels_after=kept,
            metric_before=before,
            metric_after=after,
            epochs=epochs,
            accepted=accepted,
        )
        self.steps.append(step)
        if accepted:
            self.model = smaller
        self.journal.write(self.steps, model=self.model if accepted else None)
        return step

    def _without_least(self, producers, kept):
        """How many channels a group has, and the model with fewer of them."""
        flow = label_channels(self.model, find_rule)
        group = group_of(groups_of(flow), producers)
        (scores,) = checked_scores(self.criterion, self.model, [group])
        least = np.argsort(scores, kind="stable")[: group.channels - kept]
        smaller = remove_channels(
            flow, [group.roots[least]], optimizer_state=False
        )
        return group.channels, self.trainer.compile(smaller)

    def _arguments(self, model, criterion):
        """What the steps depend on, for the journal."""
        return {
            "model": _digest(model),
            "samples": self.trainer.size,
            "plan": [dataclasses.asdict(ladder) for ladder in self.ladders],
            "criterion": name_of(criterion),
            **dataclasses.asdict(self._settings),
        }


def _digest(model):
    """Few letters that differ if any weight differs."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(str(tuple(weight.shape)).encode())
        digest.update(keras.ops.convert_to_numpy(weight).tobytes())
    return digest.hexdigest()[:16]
