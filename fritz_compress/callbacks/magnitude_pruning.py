from collections.abc import Sequence

import numpy as np
from keras import ops

from fritz_compress.callbacks.kernels import find_kernels, measured_sparsity
from fritz_compress.callbacks.scheduled_pruning import (
    ScheduledPruning,
    schedule_from,
)
from fritz_compress.checks import check_names, is_whole
from fritz_compress.ops.schedules import ConstantSparsity, Schedule
from fritz_compress.ops.sparsity import (
    expand_blocks,
    lowest_m_of_n,
    lowest_of_all,
    pool_blocks,
)


class MagnitudePruning(ScheduledPruning):
    """Zeroes the weights of least magnitude, more of them as training goes on.

    Takes the arguments of `prune_low_magnitude` of
    tensorflow-model-optimization, as a callback: the model is not wrapped, and
    after fit it is the same plain Keras model with zeros in its kernels. It
    keeps its size and speed: zeros pay off once the file is compressed or run
    by kernels for sparse matrices. To remove filters use `FilterPruning`.

    Pruned are the trainable kernels of dense and convolutional layers,
    transposed and grouped ones too, of `EinsumDense`, attention and recurrent
    layers, the pointwise kernels of separable convolutions, and embeddings.
    Never biases, normalizations and depthwise kernels. Whatever else has two
    or more axes is listed in the attribute `skipped` with the reason. Layers
    inside models and wrappers count as the model's own; in a
    `keras.distillation.Distiller` the student is pruned.

    The number of zeros is exact: of `size` weights `round(size * (1 -
    sparsity))` stay, one at least; of equal magnitudes the first go. Once
    pruned, a weight stays zero, also against momentum.

    Which weights are pruned is not stored: it is read off the exact zeros at
    the first batch, so that training goes on after `BackupAndRestore`, and a
    pruned model can be trained further. Only a kernel of nothing but zeros
    counts as not yet trained. List this callback before a `BackupAndRestore`
    that saves between epochs, and after an `EarlyStopping` that restores the
    best weights.

    Args:
        pruning_schedule: `PolynomialDecay` or `ConstantSparsity`, of
            `ops.schedules` or of tensorflow-model-optimization, or anything
            that is called with a step and returns whether to prune and the
            sparsity. Or a number in `[0, 1)`: the sparsity to reach, from 0,
            along the cubic curve of Zhu and Gupta. Steps are those of
            `optimizer.iterations`, which go on from one fit to the next.
        begin_step, end_step, frequency: For a number only: optimizer steps
            done when pruning starts, when the sparsity is reached, and from
            one pruning to the next.
        scope: `"layer"` for the same sparsity in every kernel, `"global"` for
            one ranking of all kernels together, which prunes large layers
            more; the largest weight of each stays.
        sparsity_m_by_n: `(m, n)`: zero `m` of every `n` consecutive weights
            along the axis that the layer sums over, such as `(2, 4)`. The
            last group of an axis that `n` does not divide keeps at most
            `n - m`. The schedule then tells when, not how much. Embeddings
            are skipped: they are looked up, not summed.
        block_size: `(rows, columns)` that are pruned together: blocks of the
            last two axes, which are inputs and outputs of a dense layer or of
            one position of a convolution. Sparsity then counts blocks.
        block_pooling_type: `"AVG"` or `"MAX"`: what of a block's magnitudes
            is compared.
        ignored_layers: Names of layers, or of models inside the model, that
            are left alone.

    Logs: `sparsity`, the measured fraction of zeros in the pruned kernels, at
        the end of each epoch.

    Raises:
        TypeError: on construction for what is no schedule, or a value of the
            wrong type.
        ValueError: on construction for a value out of range; on train begin
            for an unknown name in `ignored_layers`, or if nothing can be
            pruned; whenever weights are chosen, if one is NaN.

    Warns: at the end of training if the schedule's last sparsity was not
        reached, and at its start if that begins after the schedule's end.

    References: Zhu and Gupta, "To prune, or not to prune",
    https://arxiv.org/abs/1710.01878; for 2 of 4: Mishra et al., "Accelerating
    Sparse Deep Neural Networks", https://arxiv.org/abs/2104.08378.

    Example:

    >>> pruning = MagnitudePruning(0.9, begin_step=100, end_step=900)
    >>> model.fit(images, labels, epochs=10, callbacks=[pruning])
    """

    def __init__(
        self,
        pruning_schedule: float | Schedule = ConstantSparsity(0.5, 0),
        begin_step: int = 0,
        end_step: int = 1000,
        frequency: int = 100,
        scope: str = "layer",
        sparsity_m_by_n: tuple[int, int] | None = None,
        block_size: tuple[int, int] = (1, 1),
        block_pooling_type: str = "AVG",
        ignored_layers: Sequence[str] = (),
    ):
        super().__init__(
            schedule_from(
                pruning_schedule,
                "pruning_schedule",
                begin_step=begin_step,
                end_step=end_step,
                frequency=frequency,
            )
        )
        _check_one_of("scope", scope, ("layer", "global"))
        _check_one_of("block_pooling_type", block_pooling_type, ("AVG", "MAX"))
        self.scope = scope
        self.block_size = _checked_pair("block_size", block_size)
        self.block_pooling_type = block_pooling_type
        self.sparsity_m_by_n = None
        if sparsity_m_by_n is not None:
            self.sparsity_m_by_n = _checked_pattern(
                sparsity_m_by_n, self.block_size, scope
            )
        self.ignored_layers = check_names("ignored_layers", ignored_layers)

    def _select(self, network):
        self._kernels, self.skipped = find_kernels(
            network,
            self.ignored_layers,
            summed_only=self.sparsity_m_by_n is not None,
        )

    def _read(self):
        self._kept = []
        for kernel in self._kernels:
            kept = ops.convert_to_numpy(kernel.weight) != 0
            # Pruning leaves something: all zeros are an initial value.
            self._kept.append(kept if kept.any() else np.ones_like(kept))

    def _prune(self, fraction):
        chosen = self._choose(
            # What momentum has revived must not count.
            [
                np.where(kept, np.abs(kernel.read()), 0)
                for kernel, kept in zip(self._kernels, self._kept)
            ],
            fraction,
        )
        more = False
        for kept, gone in zip(self._kept, chosen):
            more = more or bool((kept & gone).any())
            kept &= ~gone
        return more

    def _choose(self, magnitudes, sparsity):
        """Where each kernel is to be zero, as booleans."""
        if self.sparsity_m_by_n is not None:
            zeros, size = self.sparsity_m_by_n
            return [
                lowest_m_of_n(values, zeros, size, kernel.summed)
                for kernel, values in zip(self._kernels, magnitudes)
            ]
        blocks = self.block_size
        if blocks == (1, 1):
            # Below a weight that is zero by chance.
            scores = [
                np.where(kept, values, -1)
                for kept, values in zip(self._kept, magnitudes)
            ]
            return self._lowest(scores, sparsity)
        scores = [
            pool_blocks(values, blocks, self.block_pooling_type)
            for values in magnitudes
        ]
        return [
            expand_blocks(gone, blocks, values.shape)
            for gone, values in zip(self._lowest(scores, sparsity), magnitudes)
        ]

    def _lowest(self, scores, sparsity):
        if self.scope == "global":
            return lowest_of_all(scores, sparsity)
        return [lowest_of_all([array], sparsity)[0] for array in scores]

    def _pairs(self):
        if all(kept.all() for kept in self._kept):
            return []
        # All kernels, even whole ones: the same call serves to the end.
        weights = [kernel.weight for kernel in self._kernels]
        return zip(weights, self._kept)

    def _measure(self):
        return measured_sparsity(self._kernels)

    def _is_reached(self, fraction):
        return self.sparsity_m_by_n is not None or super()._is_reached(fraction)


def _check_one_of(name, value, allowed):
    if value not in allowed:
        raise ValueError(
            f"`{name}` must be '{allowed[0]}' or '{allowed[1]}'. Received: "
            f"{name}={value!r}."
        )


def _checked_pair(name, pair):
    whole = isinstance(pair, (tuple, list)) and len(pair) == 2
    if not whole or not all(is_whole(n) and n >= 1 for n in pair):
        raise ValueError(
            f"`{name}` must be two whole numbers, at least 1. Received: "
            f"{name}={pair!r}."
        )
    return tuple(map(int, pair))


def _checked_pattern(pattern, block_size, scope):
    zeros, size = _checked_pair("sparsity_m_by_n", pattern)
    if zeros >= size:
        raise ValueError(
            "`sparsity_m_by_n` must be (m, n) with m < n: m zeros of every n "
            f"weights. Received: sparsity_m_by_n=({zeros}, {size})."
        )
    if block_size != (1, 1) or scope != "layer":
        raise ValueError(
            "`sparsity_m_by_n` sets the pattern alone. Received: "
            f"block_size={block_size}, scope='{scope}' beside it. Leave them "
            "at their defaults (1, 1) and 'layer'."
        )
    return zeros, size
