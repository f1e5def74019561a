import warnings
from collections.abc import Sequence

import keras
from keras import ops

from fritz_compress.callbacks.channel_selection import (
    network_of,
    select_groups,
    zeroed_fraction,
)
from fritz_compress.callbacks.filter_penalty import FilterPenalty
from fritz_compress.checks import check_count, check_names, is_number

KINDS = ("group_lasso", "normalization_scale")
# Keras calls the scale of a normalization by one of these.
SCALE_NAMES = ("gamma", "scale")


class FilterRegularization(keras.callbacks.Callback):
    """Shrinks filters during fit until those of little use are exactly zero.

    The penalty is `strength * sum(sqrt(size) * norm)` over the channels of
    all channel groups (layers that are tied, as by a residual addition, have
    their channels in common). `norm` is the L2 norm of all that is penalized
    in a channel, `size` how many numbers that are:

    - `"group_lasso"`: its kernels, biases, scales and offsets, in all layers
      of the group. Kernels alone would not do: a normalization undoes what
      shrinks them, so that they wither without consequence.
    - `"normalization_scale"`: the scales (`gamma`) of its normalizations.
      With one normalization that is the L1 norm of Network Slimming; scales
      of tied channels vanish together. A channel dies with its scales, and
      what its offset added goes with it, which training has to make up for.

    The penalty is not part of the loss. After each optimizer step comes its
    proximal step, which in contrast to a gradient ends in exact zeros: every
    channel is multiplied by
    `max(0, 1 - learning_rate * strength * sqrt(size) / norm)`, with the
    learning rate of that optimizer step. So it works with any optimizer, as
    decoupled weight decay does, and nothing of it is left in the model.

    A channel that has reached zero stays zero, in all its weights: scale,
    offset and mean of normalizations as well. `surgery.remove_pruned_filters`
    then makes the smaller model, with the same outputs. Which ones are zero
    is read off the weights at the first batch, so that training goes on after
    `BackupAndRestore`. In a `keras.distillation.Distiller` the student is
    regularized. Groups that are left alone are listed in the attribute
    `skipped`, with the reason, as in `FilterPruning`.

    It does not tell how many filters will go: raise `strength` until the
    fraction is what you need, or finish with `FilterPruning`.

    Args:
        strength: Weight of the penalty against the loss, not negative; 0
            does nothing. For `"group_lasso"` start from 1e-4, for
            `"normalization_scale"` from 1e-3.
        kind: `"group_lasso"` or `"normalization_scale"`.
        ignored_layers: Names of layers, or of models inside the model, whose
            groups are left alone.
        begin_step: Optimizer steps (`optimizer.iterations`) that are done
            before it starts.

    Logs: at the end of each epoch `zeroed_fraction`, the measured fraction of
        zero filters among those of the groups, and `filter_penalty`, the
        penalty as defined above.

    Raises:
        TypeError: on construction for a value of the wrong type.
        ValueError: on construction for a value out of range; on train begin
            for an unknown name in `ignored_layers`, or if no group can be
            regularized; at the first batch if a weight is NaN.

    References: Wen et al., "Learning Structured Sparsity in Deep Neural
    Networks", https://arxiv.org/abs/1608.03665, section 3; Liu et al.,
    "Learning Efficient Convolutional Networks through Network Slimming",
    https://arxiv.org/abs/1708.06519, section 3; the factor `sqrt(size)` and
    the proximal step: Yuan and Lin, "Model selection and estimation in
    regression with grouped variables", 2006, section 2.

    Example:

    >>> regularization = FilterRegularization(1e-4)
    >>> model.fit(images, labels, epochs=30, callbacks=[regularization])
    >>> smaller = surgery.remove_pruned_filters(model)
    """

    def __init__(
        self,
        strength: float,
        kind: str = "group_lasso",
        ignored_layers: Sequence[str] = (),
        begin_step: int = 0,
    ):
        super().__init__()
        if not is_number(strength) or not 0 <= strength < float("inf"):
            raise ValueError(
                "`strength` must be a number that is not negative. Received: "
                f"strength={strength!r}."
            )
        if kind not in KINDS:
            raise ValueError(
                f"`kind` must be one of {list(KINDS)}. Received: kind={kind!r}."
            )
        self.strength = strength
        self.kind = kind
        self.ignored_layers = check_names("ignored_layers", ignored_layers)
        self.begin_step = check_count("begin_step", begin_step, least=0)
        self.skipped: tuple[tuple[str, str], ...] = ()

    def on_train_begin(self, logs=None):
        # Reset here, not in __init__: one instance may serve several fits.
        model = network_of(self.model)
        groups, skipped = select_groups(model, self.ignored_layers)
        penalized = [(group, _penalized(group, self.kind)) for group in groups]
        self.skipped = skipped + tuple(
            (", ".join(group.producers), "no trainable normalization scale")
            for group, shares in penalized
            if not shares
        )
        self._groups = [group for group, shares in penalized if shares]
        if not self._groups:
            raise ValueError(
                f"Model '{model.name}' has no normalization scale that "
                f"kind='{self.kind}' can shrink. Use kind='group_lasso'. "
                + "; ".join(f"{name}: {why}" for name, why in self.skipped)
            )
        self._penalty = FilterPenalty([pair for pair in penalized if pair[1]])
        self._alive_known = False

    def on_train_batch_begin(self, batch, logs=None):
        # Before the step, with which a schedule goes on.
        optimizer = self.model.optimizer
        self._rate = float(ops.convert_to_numpy(optimizer.learning_rate))
        self._step = self._steps_done()
        if not self._alive_known:
            # Not on train begin: BackupAndRestore may come after this one.
            for group in self._groups:
                group.check_numbers()
            self._penalty.read_alive()
            self._alive_known = True

    def on_train_batch_end(self, batch, logs=None):
        # Several where `steps_per_execution` says so, none where gradients
        # are accumulated.
        steps = self._steps_done() - max(self._step, self.begin_step)
        self._shrink(max(steps, 0) * self._rate)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            network_of(self.model)  # On JAX that syncs the weights.
            logs["zeroed_fraction"] = zeroed_fraction(self._groups)
            logs["filter_penalty"] = self.strength * self._penalty.value()

    def on_train_end(self, logs=None):
        step = self._steps_done()
        if self._alive_known:
            # An average of weights may just have taken the weights' place.
            self._shrink(0.0)
        if self.strength > 0 and step <= self.begin_step:
            warnings.warn(
                "FilterRegularization did nothing: training ended after "
                f"{step} optimizer steps and begin_step is {self.begin_step}. "
                "Train longer, or lower `begin_step`.",
                stacklevel=2,
            )

    def _steps_done(self):
        return int(ops.convert_to_numpy(self.model.optimizer.iterations))

    def _shrink(self, rate):
        if self.strength > 0:
            self._penalty.shrink(rate * self.strength)


def _penalized(group, kind):
    return [
        share
        for share in group.shares
        if share.weight.trainable
        and (kind == "group_lasso" or share.weight.name in SCALE_NAMES)
    ]
