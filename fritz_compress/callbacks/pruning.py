import warnings
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from fritz_compress.ops.schedules import fraction_at
from fritz_compress.surgery import ChannelGroup, channel_groups, criteria
from fritz_compress.surgery.names import (
    find_layer,
    layers_inside,
    name_layers,
)
from fritz_compress.surgery.rounding import kept_channels


class FilterPruning(keras.callbacks.Callback):
    """Zeroes the filters that matter least, more of them as training goes on.

    Filters of layers that are tied, as by a residual addition, are zeroed
    together: a *channel group*. In every group those with the lowest L1 norm
    go (the sum over the group's layers, each divided by its own mean norm, so
    that a layer of large kernels does not decide alone), the same fraction of
    each group. The fraction rises from 0 to `final_fraction` along the cubic
    curve of Zhu and Gupta. A zeroed filter has zeros in kernel and bias and
    in scale, offset and mean of the normalization after it; it stays zero
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

    Logs: `pruned_fraction`, the measured fraction of zeroed filters among
        those of the groups that are pruned, at the end of each epoch.

    Raises:
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

    def __init__(
        self,
        final_fraction: float,
        begin_step: int = 0,
        end_step: int = 1000,
        frequency: int = 100,
        round_to: int = 4,
        ignored_layers: Sequence[str] = (),
    ):
        super().__init__()
        if not 0 <= final_fraction < 1:
            raise ValueError(
                "`final_fraction` must be a fraction in [0, 1), not a percent. "
                f"Received: final_fraction={final_fraction}."
            )
        if not 0 <= begin_step < end_step:
            raise ValueError(
                "Steps must satisfy 0 <= begin_step < end_step. Received: "
                f"begin_step={begin_step}, end_step={end_step}."
            )
        if frequency < 1 or round_to < 1:
            raise ValueError(
                "`frequency` and `round_to` must be at least 1. Received: "
                f"frequency={frequency}, round_to={round_to}."
            )
        if isinstance(ignored_layers, str):
            raise ValueError(
                "`ignored_layers` must be a list of layer names. Received: "
                f"the string '{ignored_layers}'. Pass ['{ignored_layers}']."
            )
        self.final_fraction = final_fraction
        self.begin_step = begin_step
        self.end_step = end_step
        self.frequency = frequency
        self.round_to = round_to
        self.ignored_layers = tuple(ignored_layers)
        self.skipped: tuple[tuple[str, str], ...] = ()

    def on_train_begin(self, logs=None):
        # Reset here, not in __init__: one instance may serve several fits.
        self._groups = self._find_groups()
        self._pruned: list[np.ndarray] | None = None
        self._masks: list[tuple[keras.Variable, object, object]] = []
        self._last_update: int | None = None

    def on_train_batch_begin(self, batch, logs=None):
        if self._pruned is None:
            # Not on train begin: BackupAndRestore may come after this one.
            step = self._step()
            self._pruned = [group.zeroed for group in self._groups]
            self._make_masks()
            self._warn_if_late(step)

    def on_train_batch_end(self, batch, logs=None):
        update = self._update_before(self._step())
        if update != self._last_update:
            self._last_update = update
            self._prune(update)
        self._silence()

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["pruned_fraction"] = self._measure()

    def on_train_end(self, logs=None):
        step = self._step()
        # An average of weights may just have taken the place of the weights.
        self._silence()
        self._warn_if_incomplete(step)

    def _target(self):
        # Through `self.model` every time: on JAX that syncs the weights.
        model = self.model
        if isinstance(model, keras.distillation.Distiller):
            return model.student
        return model

    def _step(self):
        return int(ops.convert_to_numpy(self.model.optimizer.iterations))

    def _find_groups(self):
        model = self._target()
        names = name_layers(model)
        ignored = {
            names[layer]
            for layer in layers_inside(
                find_layer(model, name) for name in self.ignored_layers
            )
        }
        frozen = {name for layer, name in names.items() if not layer.trainable}
        groups, skipped = [], []
        for group in channel_groups(model):
            reason = _reason_to_skip(group, ignored, frozen)
            if reason is None:
                groups.append(group)
            else:
                skipped.append((", ".join(group.producers), reason))
        self.skipped = tuple(skipped)
        if not groups:
            raise ValueError(
                f"Model '{model.name}' has no filters that can be pruned. "
                + "; ".join(f"{name}: {why}" for name, why in skipped)
            )
        return groups

    def _update_before(self, step):
        """The last step, up to `step`, at which filters are chosen."""
        if step >= self.end_step:
            return self.end_step
        updates = (step - self.begin_step) // self.frequency
        return (
            self.begin_step + updates * self.frequency if updates > 0 else None
        )

    def _goal(self, group, step):
        """How many channels of a group to have zeroed after a step."""
        fraction = fraction_at(
            step, self.final_fraction, self.begin_step, self.end_step
        )
        wanted = (1 - fraction) * group.channels
        kept = kept_channels(group.channels, wanted, self.round_to)
        return group.channels - kept

    def _prune(self, step):
        for group, pruned in zip(self._groups, self._pruned):
            goal = self._goal(group, step)
            if goal > pruned.sum():
                scores = np.where(pruned, -1.0, criteria.l1(group))
                pruned[np.argsort(scores, kind="stable")[:goal]] = True
        self._make_masks()

    def _make_masks(self):
        """For each weight with a zeroed filter, where it may be non-zero."""
        masks: dict[int, tuple[keras.Variable, np.ndarray]] = {}
        for group, pruned in zip(self._groups, self._pruned):
            for share in group.shares:
                gone = (share.channels >= 0) & pruned[share.channels]
                if gone.any():
                    shape = [1] * len(share.weight.shape)
                    shape[share.axis] = -1
                    weight, mask = masks.get(
                        id(share.weight), (share.weight, True)
                    )
                    mask = np.logical_and(mask, ~gone.reshape(shape))
                    masks[id(weight)] = (weight, mask)
        self._masks = [
            (weight, ops.convert_to_tensor(mask), ops.zeros((), weight.dtype))
            for weight, mask in masks.values()
        ]

    def _silence(self):
        for weight, mask, zero in self._masks:
            # Not a product: that would leave what is not finite. Every step
            # does this, so all it needs is a tensor already.
            weight.assign(ops.where(mask, weight.value, zero))

    def _measure(self):
        self._target()
        zeroed = total = 0
        for group in self._groups:
            gone = group.zeroed
            for channels in group.producers.values():
                own = channels[channels >= 0]
                zeroed += int(gone[own].sum())
                total += len(own)
        return zeroed / total

    def _warn_if_late(self, step):
        missing = any(
            self._goal(group, self.end_step) > pruned.sum()
            for group, pruned in zip(self._groups, self._pruned)
        )
        if step >= self.end_step and missing:
            warnings.warn(
                f"FilterPruning has end_step={self.end_step}, but the "
                f"optimizer has done {step} steps already: all filters are "
                "pruned at once. Count `begin_step` and `end_step` from "
                "`optimizer.iterations`, or compile the model again.",
                stacklevel=2,
            )

    def _warn_if_incomplete(self, step):
        if self.final_fraction == 0 or self._pruned is None:
            return
        if self._last_update is None:
            first = min(self.begin_step + self.frequency, self.end_step)
            problem = (
                f"pruned nothing: training ended after {step} optimizer steps "
                f"and the first filters go after {first}. Train longer, or "
                "lower `begin_step` and `frequency`."
            )
        elif step < self.end_step:
            problem = (
                f"did not reach final_fraction={self.final_fraction}: training "
                f"ended after {step} optimizer steps and end_step is "
                f"{self.end_step}. Train longer, or lower `end_step`."
            )
        elif not any(pruned.any() for pruned in self._pruned):
            problem = (
                f"pruned nothing: with round_to={self.round_to} a fraction of "
                f"{self.final_fraction} leaves every group whole. Lower "
                "`round_to`, or raise `final_fraction`."
            )
        else:
            return
        warnings.warn(f"FilterPruning {problem}", stacklevel=2)


def _reason_to_skip(
    group: ChannelGroup, ignored: set[str], frozen: set[str]
) -> str | None:
    if not group.keeps_zero:
        return group.note
    named = ignored.intersection((*group.producers, *group.followers))
    if named:
        return f"'{min(named)}' is in ignored_layers"
    for share in group.shares:
        fixed = share.is_kernel and not share.weight.trainable
        if fixed or share.layer in frozen:
            return f"'{share.layer}' is not trainable"
    return None
