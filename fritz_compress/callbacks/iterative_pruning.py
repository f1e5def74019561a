import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from fritz_compress.callbacks.channel_selection import (
    masks_of,
    network_of,
    select_groups,
    zeroed_fraction,
)
from fritz_compress.callbacks.masks import Masks
from fritz_compress.callbacks.metric_floor import MetricFloor
from fritz_compress.callbacks.pruning_targets import (
    Target,
    targets_of,
)
from fritz_compress.checks import check_count, check_fractions, check_names
from fritz_compress.ops.sparsity import lowest
from fritz_compress.surgery import ChannelGroup, criteria
from fritz_compress.surgery.pruning import checked_scores

_ORDERS = ("forward", "backward", "given")


@dataclasses.dataclass(frozen=True)
class PruningStep:
    """One time that `IterativePruning` zeroed filters.

    Attributes:
        epoch: At the end of which epoch, counted from 0 as Keras does.
        layer: Names of the layers, several where they are tied.
        kept: Filters that the layer has left.
        metric: The monitored metric, before these filters were zeroed.
    """

    epoch: int
    layer: str
    kept: int
    metric: float


class IterativePruning(keras.callbacks.Callback):
    """Zeroes a few filters, trains until the metric is back, and goes on.

    At the end of an epoch, if the monitored metric has reached the floor,
    `round_to` more filters of one layer are zeroed, those that matter least.
    While it is below the floor, training goes on and nothing is zeroed. Once
    a layer has reached its fraction, the next one follows. Layers that are
    tied, as by a residual addition, count as one: a *channel group*.

    The model keeps its size: `surgery.remove_pruned_filters` makes the
    smaller one after training, with the same outputs. Train that one on for
    the last points of accuracy. In a `keras.distillation.Distiller` the
    student is pruned. Groups that are left alone are listed in the attribute
    `skipped`, with the reason, as in `FilterPruning`.

    Nothing is stored: which filters are zeroed is read off the weights, so
    that training goes on after `BackupAndRestore`. List this callback before
    a `BackupAndRestore`, which else keeps the weights without the filters of
    its epoch zeroed, and after an `EarlyStopping` that restores weights.

    Args:
        fractions: Fraction of the filters to zero in the end, in `[0, 1)`,
            not a percent: one for all groups, or a mapping from layer names
            to the fraction of the layer's groups, as `suggest` of
            `analysis.sensitivity` returns it. Other layers stay whole, as
            those of fraction 0 do.
        floor: Value of the metric that has to be reached: of an accuracy a
            fraction, such as 0.9, not a percent.
        monitor: Name of the metric in the logs. Defaults to the accuracy on
            `validation_data`.
        mode: `"max"` if the metric shall be at least `floor`, `"min"` if at
            most, `"auto"` to tell by its name.
        round_to: How many filters to zero at a time; what a group keeps is a
            multiple of this, rounded up, or all. Defaults to 4.
        epochs_per_step: Epochs from one look at the metric to the next.
        criterion: What tells which filters matter least: a name or object of
            `surgery.criteria`, or a function.
        order: `"forward"` starts with the first layers of the model,
            `"backward"` with the last ones, `"given"` takes the order of the
            mapping `fractions`.
        ignored_layers: Names of layers, or of models inside the model, whose
            groups are left alone.
        stop_when_finished: Whether training ends once all fractions are
            reached and the metric is back.

    Attributes:
        history: A `PruningStep` for each time filters were zeroed in this
            fit; a resumed fit starts with none.
        finished: Whether all fractions are reached.

    Logs: `pruned_fraction`, the measured fraction of zeroed filters among
        those of the groups that are pruned, at the end of each epoch.

    Raises:
        TypeError: on construction for a value of the wrong type.
        ValueError: on construction for a value out of range, or if all
            fractions are 0; on train begin for unknown names, for layers in
            `fractions` that cannot be pruned or are tied and have different
            fractions; at the end of an epoch if the metric is not in the
            logs; whenever filters are chosen, if a weight is NaN.

    Warns: at the end of training if fractions are not reached.

    Example: stay above 90% of accuracy.

    >>> fractions = analysis.sensitivity(model, x, y).suggest(max_loss=0.02)
    >>> pruning = IterativePruning(fractions, floor=0.9)
    >>> model.fit(images, labels, validation_data=(x, y), epochs=100,
    ...           callbacks=[pruning])
    >>> smaller = surgery.remove_pruned_filters(model)
    """

    def __init__(
        self,
        fractions: float | Mapping[str, float],
        floor: float,
        monitor: str = "val_accuracy",
        mode: str = "auto",
        round_to: int = 4,
        epochs_per_step: int = 1,
        criterion: (
            str | criteria.Criterion | Callable[[ChannelGroup], np.ndarray]
        ) = "l1",
        order: str = "forward",
        ignored_layers: Sequence[str] = (),
        stop_when_finished: bool = False,
    ):
        super().__init__()
        if order not in _ORDERS:
            raise ValueError(
                f"`order` must be one of {list(_ORDERS)}. Received: "
                f"order={order!r}."
            )
        self.fractions = check_fractions("fractions", fractions)
        self._floor = MetricFloor(monitor, floor, mode)
        self.round_to = check_count("round_to", round_to)
        self.epochs_per_step = check_count("epochs_per_step", epochs_per_step)
        self.criterion = criteria.get(criterion)
        self.order = order
        self.ignored_layers = check_names("ignored_layers", ignored_layers)
        self.stop_when_finished = stop_when_finished
        self.skipped: tuple[tuple[str, str], ...] = ()
        self.history: list[PruningStep] = []
        self._targets: list[Target] = []

    @property
    def finished(self) -> bool:
        """Whether all fractions are reached; not before `fit`."""
        reached = [target.reached for target in self._targets]
        return bool(reached) and all(reached)

    def on_train_begin(self, logs=None):
        # Reset here, not in __init__: one instance may serve several fits.
        network = network_of(self.model)
        groups, self.skipped = select_groups(network, self.ignored_layers)
        self._targets = targets_of(
            network, groups, self.fractions, self.round_to, dict(self.skipped)
        )
        if self.order != "given":
            self._targets.sort(
                key=lambda target: groups.index(target.group),
                reverse=self.order == "backward",
            )
        self.history = []
        self._floor.best = None
        self._masks: Masks | None = None

    def on_epoch_begin(self, epoch, logs=None):
        if self._masks is None:
            # Not on train begin: BackupAndRestore may come after this one.
            network_of(self.model)  # On JAX that syncs the weights.
            for target in self._targets:
                target.read()
            self._masks = Masks(self._pairs())

    def on_train_batch_end(self, batch, logs=None):
        network_of(self.model)
        self._masks.apply()

    def on_epoch_end(self, epoch, logs=None):
        network = network_of(self.model)
        if (epoch + 1) % self.epochs_per_step == 0:
            metric = self._floor.read(logs or {})
            if self._floor.is_reached(metric):
                self._go_on(network, epoch, metric)
        if logs is not None:
            groups = [target.group for target in self._targets]
            logs["pruned_fraction"] = zeroed_fraction(groups)

    def on_train_end(self, logs=None):
        network_of(self.model)
        if self._masks is not None:
            # An average of weights may just have taken the weights' place.
            self._masks.apply()
            self._warn_if_incomplete()

    def _pairs(self):
        return masks_of(
            [target.group for target in self._targets],
            [target.zeroed for target in self._targets],
        )

    def _go_on(self, network, epoch, metric):
        if self.finished:
            if self.stop_when_finished:
                self.model.stop_training = True
            return
        target = next(target for target in self._targets if not target.reached)
        self._zero(network, target)
        self.history.append(
            PruningStep(epoch, target.name, target.kept, metric)
        )

    def _zero(self, network: keras.Model, target: Target) -> None:
        (scores,) = checked_scores(self.criterion, network, [target.group])
        ranked = np.where(target.zeroed, -np.inf, scores)
        target.zeroed = lowest(ranked, len(ranked) - target.next_kept)
        self._masks.update(self._pairs())
        self._masks.apply()

    def _warn_if_incomplete(self):
        missing = [
            f"'{target.name}' has {target.kept} of {target.final}"
            for target in self._targets
            if not target.reached
        ]
        if missing:
            problem = (
                f"did not reach its fractions: filters left: "
                f"{', '.join(missing)}. {self._remedy()}"
            )
        elif not any(target.zeroed.any() for target in self._targets):
            problem = (
                f"pruned nothing: with round_to={self.round_to} all groups "
                "stay whole. Lower `round_to`, or raise `fractions`."
            )
        else:
            return
        warnings.warn(f"IterativePruning {problem}", stacklevel=2)

    def _remedy(self):
        best = self._floor.best
        if best is None:
            return (
                "Training ended before the metric was looked at. Train for "
                f"more epochs than epochs_per_step={self.epochs_per_step}."
            )
        if not self._floor.is_reached(best):
            return (
                f"The best {self._floor.monitor} was {best:.4g}, short of "
                f"floor={self._floor.floor}. Train before you prune, or choose "
                "another floor."
            )
        return "Train for more epochs, or choose a floor that is easier."
