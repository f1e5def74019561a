import os
import pathlib
import warnings
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from fritz_compress.callbacks import snapshot
from fritz_compress.callbacks.channel_selection import (
    network_of,
)
from fritz_compress.callbacks.kernels import find_kernels, measured_sparsity
from fritz_compress.callbacks.masks import Masks
from fritz_compress.checks import check_count, check_fraction, check_names
from fritz_compress.ops.sparsity import lowest_of_all

SCOPES = ("global", "layer")


class LotteryTicketRewinding(keras.callbacks.Callback):
    """Finds a sparse network that trains from early weights: a lottery ticket.

    All in one `fit`, over and over: train for `epochs_per_round` epochs, zero
    `fraction_per_round` of the remaining weights, those of the smallest
    magnitude, and rewind what is left to its values after `rewind_step`
    optimizer steps. What was zeroed stays zero. After `rounds` rewindings
    `(1 - fraction_per_round) ** rounds` of the weights are left; they train
    once more and are not rewound. So `fit` needs
    `(rounds + 1) * epochs_per_round` epochs; any more are training as well.

    Rewound is everything at once: weights, biases, moving statistics, and the
    optimizer with its slots, its learning rate and its count of steps. So a
    learning rate schedule starts over from `rewind_step`, as in Frankle et
    al. (2020), and Adam's corrections of its first steps fit its slots. What
    other callbacks keep (`EarlyStopping`, `ReduceLROnPlateau`) is theirs and
    is not rewound; list a `LearningRateScheduler` after this callback.

    Zeroed are the weights that `MagnitudePruning` would zero: kernels, but
    not depthwise ones, biases or normalizations; the attribute `skipped` lists
    what else is left alone. The model keeps its size; zeros make it smaller
    once it is compressed. In a `keras.distillation.Distiller` the student
    trains by rounds.

    With a `checkpoint_file` a fit that was killed goes on by
    `keras.callbacks.BackupAndRestore`: the early weights are in the file,
    which weights are zeroed is read off the weights, and the round follows
    from the epoch. Without it the early weights are in memory alone, and a
    fit that is resumed and would have to rewind ends with an error.

    Args:
        rounds: How many times to prune and rewind, at least 1.
        epochs_per_round: Epochs from one rewinding to the next.
        fraction_per_round: Fraction of the remaining weights to zero each
            time, in `(0, 1)`. Not a percent. Defaults to 0.2.
        rewind_step: Optimizer steps, those of `optimizer.iterations`, after
            which the early weights are taken; 0 for the initial ones. Deep
            networks need some training first: the paper takes the first
            few percent of all steps. Within the first round.
        scope: `"global"` ranks all weights together, `"layer"` zeroes the
            same fraction of each kernel. At least one weight of each kernel
            stays.
        checkpoint_file: Name of a `.weights.h5` file for the early weights
            and optimizer, or `None`. It stays when training ends; a new
            training replaces it at `rewind_step`.
        ignored_layers: Names of layers, or of models inside the model, whose
            kernels are not pruned. They are rewound all the same.

    Logs: at the end of each epoch `sparsity`, the measured fraction of zeros
        in the kernels, and `round`, the rewindings done.

    Raises:
        TypeError: on construction for a value of the wrong type.
        ValueError: on construction for a value out of range; on train begin
            for an unknown name in `ignored_layers`, a model without kernels,
            or a `rewind_step` beyond the first round; when a fit is resumed
            whose early weights are lost or of another model; when weights are
            ranked, if one is NaN.

    Warns: if `fit` has too few epochs, or ends before the last rewinding.

    References: Frankle and Carbin, "The Lottery Ticket Hypothesis",
    https://arxiv.org/abs/1803.03635, section 1; Frankle et al., "Linear Mode
    Connectivity and the Lottery Ticket Hypothesis",
    https://arxiv.org/abs/1912.05671, section 4.

    Example: 51% of the weights left, in 40 epochs.

    >>> tickets = LotteryTicketRewinding(rounds=3, epochs_per_round=10)
    >>> model.fit(images, labels, epochs=40, callbacks=[tickets])
    """

    def __init__(
        self,
        rounds: int,
        epochs_per_round: int,
        fraction_per_round: float = 0.2,
        rewind_step: int = 0,
        scope: str = "global",
        checkpoint_file: str | os.PathLike | None = None,
        ignored_layers: Sequence[str] = (),
    ):
        super().__init__()
        check_fraction("fraction_per_round", fraction_per_round, "(0, 1)")
        if scope not in SCOPES:
            raise ValueError(
                f"`scope` must be one of {list(SCOPES)}. Received: "
                f"scope={scope!r}."
            )
        self.rounds = check_count("rounds", rounds)
        self.epochs_per_round = check_count(
            "epochs_per_round", epochs_per_round
        )
        self.fraction_per_round = fraction_per_round
        self.rewind_step = check_count("rewind_step", rewind_step, least=0)
        self.scope = scope
        self.checkpoint_file = _check_file(checkpoint_file)
        self.ignored_layers = check_names("ignored_layers", ignored_layers)
        self.skipped: tuple[tuple[str, str], ...] = ()

    def on_train_begin(self, logs=None):
        # Reset here, not in __init__: one instance may serve several fits.
        network = network_of(self.model)
        self._kernels, self.skipped = find_kernels(network, self.ignored_layers)
        self._masks = Masks()
        self._early: snapshot.Snapshot | None = None
        self._round: int | None = None
        self._warn_if_short()

    def on_epoch_begin(self, epoch, logs=None):
        # Not at the end of the epoch before: a BackupAndRestore may come
        # before this callback and would keep what is not pruned yet.
        due = min(epoch // self.epochs_per_round, self.rounds)
        if self._round is None:
            self._begin(epoch, due)
        if due > self._round:
            self._prune(due)

    def on_train_batch_end(self, batch, logs=None):
        network_of(self.model)  # On JAX that syncs the weights.
        if self._early is None and self._round < self.rounds:
            self._take_early()
        self._masks.apply()

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            network_of(self.model)
            logs["sparsity"] = measured_sparsity(self._kernels)
            logs["round"] = self._round

    def on_train_end(self, logs=None):
        network_of(self.model)  # On JAX that syncs the weights.
        # An average of weights may just have taken the place of the weights.
        self._masks.apply()
        self._early = None  # As large as model and optimizer together.
        enough = self._needed_epochs() <= self.params.get("epochs", 0)
        if self._round is not None and self._round < self.rounds and enough:
            warnings.warn(
                f"LotteryTicketRewinding was stopped after {self._round} of "
                f"{self.rounds} rounds. Train longer, or lower `rounds`.",
                stacklevel=2,
            )

    def _begin(self, epoch, due):
        """Finds out whether this fit is a new one or goes on with another."""
        step = int(ops.convert_to_numpy(self.model.optimizer.iterations))
        self._round = max(due - 1, 0)
        if due > 0:
            gone = self._choose(due)
            if not any(
                ops.convert_to_numpy(kernel.weight)[zero].any()
                for kernel, zero in zip(self._kernels, gone)
            ):
                self._round = due
                self._mask(gone)
        if due == 0 and step <= self.rewind_step:
            self._check_rewind_step(step, epoch)
            self._take_early()
        elif self._round < self.rounds:
            self._early = self._load_early(step)

    def _take_early(self):
        model = self.model
        step = int(ops.convert_to_numpy(model.optimizer.iterations))
        if step >= self.rewind_step:
            self._early = snapshot.Snapshot(model)
            if self.checkpoint_file:
                snapshot.save(model, self.checkpoint_file)

    def _load_early(self, step):
        wanted = (
            f"Rewinding needs the weights after {self.rewind_step} optimizer "
            f"steps. Received: a model that has done {step} steps"
        )
        anew = (
            f"To start anew, compile the model again, or pass "
            f"rewind_step={step} to rewind to the weights as they are."
        )
        if self.checkpoint_file is None:
            raise ValueError(
                f"{wanted}, and no `checkpoint_file`. A fit that shall be "
                f"resumed needs one from its start. {anew}"
            )
        if not self.checkpoint_file.is_file():
            raise ValueError(
                f"{wanted}, and checkpoint_file='{self.checkpoint_file}', "
                f"which does not exist. {anew}"
            )
        early = snapshot.Snapshot.of_file(self.checkpoint_file, self.model)
        late = early.step - self.rewind_step
        if not 0 <= late < self.model.steps_per_execution:
            raise ValueError(
                f"{wanted}, and checkpoint_file='{self.checkpoint_file}', "
                f"which holds the weights after {early.step} steps. Pass the "
                "file and the `rewind_step` of the training that is resumed."
            )
        return early

    def _prune(self, due):
        if self._early is None:
            step = int(ops.convert_to_numpy(self.model.optimizer.iterations))
            raise self._beyond_first_round(step)
        gone = self._choose(due)
        self._early.restore(self.model)
        self._mask(gone)
        self._round = due

    def _mask(self, gone):
        self._masks.update(
            (kernel.weight, ~zero) for kernel, zero in zip(self._kernels, gone)
        )
        self._masks.apply()

    def _choose(self, due):
        """Which weights of each kernel are zero after so many rounds."""
        network_of(self.model)  # On JAX that syncs the weights.
        scores = [np.abs(kernel.read()) for kernel in self._kernels]
        sparsity = 1 - (1 - self.fraction_per_round) ** due
        if self.scope == "global":
            return lowest_of_all(scores, sparsity)
        return [lowest_of_all([one], sparsity)[0] for one in scores]

    def _needed_epochs(self):
        return (self.rounds + 1) * self.epochs_per_round

    def _warn_if_short(self):
        epochs = self.params.get("epochs")
        if epochs is not None and epochs < self._needed_epochs():
            warnings.warn(
                f"LotteryTicketRewinding needs epochs={self._needed_epochs()}, "
                f"(rounds + 1) * epochs_per_round, and `fit` has {epochs}: it "
                "ends before the last ticket is trained.",
                stacklevel=2,
            )

    def _check_rewind_step(self, step, epoch):
        steps = self.params.get("steps")
        if steps is not None:
            last = step + steps * (self.epochs_per_round - epoch)
            if self.rewind_step >= last:
                raise self._beyond_first_round(last)

    def _beyond_first_round(self, last):
        return ValueError(
            "`rewind_step` must be a step of the first round, which ends "
            f"after {last} optimizer steps. Received: "
            f"rewind_step={self.rewind_step}. Lower it, or raise "
            "`epochs_per_round`."
        )


def _check_file(path):
    if path is None:
        return None
    path = pathlib.Path(path)
    if not path.name.endswith(".weights.h5"):
        raise ValueError(
            "`checkpoint_file` must end with '.weights.h5'. Received: "
            f"'{path}'."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"The folder of checkpoint_file='{path}' does not exist. Create "
            f"'{path.parent}' first."
        )
    return path
