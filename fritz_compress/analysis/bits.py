"""How many bits each layer of a model needs."""

import dataclasses
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fritz_compress.analysis import sweep
from fritz_compress.analysis.bits_search import Option, fewest_bytes
from fritz_compress.analysis.bits_table import (
    BitsRow,
    SuggestedBits,
    UniformBits,
)
from fritz_compress.analysis.bits_trials import Trials
from fritz_compress.analysis.coded_layers import (
    CodedModel,
    checked_nbits,
    coded_model,
    encode_at,
    with_nbits,
)
from fritz_compress.analysis.measuring import measuring
from fritz_compress.analysis.metric_loss import (
    check_max_loss,
    loss_limit,
    metric_loss,
)
from fritz_compress.analysis.probe import Experiment
from fritz_compress.analysis.sensitivity_arguments import (
    better_direction,
    check_evaluation,
    check_jobs,
    checked_metric,
)
from fritz_compress.analysis.settings import settings_of
from fritz_compress.checks import check_count, check_model
from fritz_compress.quantization.config import WeightConfig
from fritz_compress.surgery.config_by_layer import (
    ConfigByLayer,
    config_by_layer,
)
from fritz_compress.surgery.names import every_layer

_NBITS = (2, 3, 4, 6, 8)


def suggest_bits(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    *,
    max_loss: float,
    nbits: int | Sequence[int] = _NBITS,
    config: Any = None,
    importance: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    evaluate: Callable[[keras.Model], Any] | None = None,
    metric: str | None = None,
    mode: str = "auto",
    batch_size: int | None = None,
    n_jobs: int | None = None,
    resume_file: str | os.PathLike | None = None,
    on_point: Callable[[int, int, float], None] | None = None,
) -> SuggestedBits:
    """Finds how few bits each layer needs, for an allowed loss of all.

    Mixed precision: layers that bear it get fewer bits than others. First
    every layer alone is quantized with every number of bits, and the model is
    evaluated; then all layers with the same number. That tells how much the
    noise of each layer's weights costs. A way is made from the fewest bytes to
    the whole model, which gives more bits to the layer that gains most per
    byte, and the first combination on it within the loss is looked for by
    halving. From there, and from the same bits for all layers, bits are taken
    away again, layer by layer, as long as the loss allows. What is suggested
    was measured as a whole, and takes no more bytes than the same bits for all
    layers, if these would do. A layer that bears none of the numbers of bits
    is left as it is.

    With L layers and B numbers of bits that takes `1 + (L + 1) B` evaluations,
    about `log2(L B)` for the way, and one for each lowering that is tried,
    mostly 2 L to 4 L. The model given is not changed: a copy is, compiled
    with the same loss and metrics.

    The bits fit the data given, as a model fits the data it was trained on.
    Judge the result on other data.

    Args:
        model: A Functional or built Sequential model, compiled unless
            `evaluate` is given.
        x, y: What `model.evaluate` takes: arrays, or a data set as `x`.
        max_loss: By how much the metric of the quantized model may be worse,
            in its own unit: 0.01 is one point of an accuracy in `[0, 1]`.
        nbits: Numbers of bits to choose from, 1 to 16.
        config: All else, as `quantize_weights` takes it: mode, granularity,
            what is left as it is. Its `nbits` do not count.
        importance, seed: As in `quantize_weights`; pass the same to it.
        evaluate: Called with the changed copy in place of `model.evaluate`;
            returns a number, or a dictionary of numbers by name.
        metric: Which number to look at. Defaults to the only one there is
            beside the loss, else the loss.
        mode: `"max"` if a larger metric is better, `"min"` if a smaller one
            is, `"auto"` to tell from its name.
        batch_size: Samples per batch, if `x` is an array; default 32.
        n_jobs: Processes for the evaluations of single layers, as in
            `sensitivity`. Combinations are tried one after the other.
        resume_file: A file to which every finished evaluation is written, as
            in `sensitivity`. If it exists, what is in it is not repeated.
        on_point: Called after each evaluation, but that of the model as it
            is, with the number done, the number of all as far as is known,
            and the seconds left.

    Returns: the suggestion. Print it, and pass its `config` to
    `quantize_weights`.

    Raises:
        TypeError, ValueError: as `sensitivity` and `quantize_weights`; also
            for a model of which nothing can be quantized.

    References: Dong et al., "HAWQ: Hessian AWare Quantization of Neural
    Networks with Mixed-Precision", https://arxiv.org/abs/1905.03696, section
    3, for bits by the sensitivity of layers, there guessed from the Hessian;
    Wu et al., "Mixed Precision Quantization of ConvNets via Differentiable
    Neural Architecture Search", https://arxiv.org/abs/1812.00090.

    Example:

    >>> suggestion = suggest_bits(model, x_val, y_val, max_loss=0.005)
    >>> print(suggestion)
    >>> smaller, report = quantize_weights(model, suggestion.config)
    """
    check_model(model)
    check_evaluation(model, x, y, evaluate, mode, caller="suggest_bits")
    check_jobs(n_jobs)
    check_max_loss(max_loss)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    nbits = checked_nbits(nbits)
    configs = config_by_layer(config, WeightConfig)
    coded = coded_model(
        model, encode_at(model, configs, nbits, importance, seed)
    )
    experiment = Experiment.on(
        model, x=x, y=y, batch_size=batch_size, evaluate=evaluate
    )
    settings = settings_of(experiment, config=_texts(configs, importance, seed))
    with (
        sweep.opened(resume_file, settings, "bits", "nbits") as sweeping,
        measuring(experiment, n_jobs, len(nbits)) as measure,
    ):
        trials = Trials(measure, sweeping, coded, on_point)
        (baseline,) = trials.metrics([{}])
        metric = checked_metric(metric, baseline)
        mode = better_direction(mode, metric)
        judge = _Judge(trials, coded, metric, mode, baseline[metric])
        rows, uniform = judge.singles(), judge.uniform(nbits)
        bits = judge.search(rows, uniform, max_loss)
        value = judge.values([bits])[0]
    return SuggestedBits(
        model=model.name,
        metric=metric,
        mode=mode,
        max_loss=float(max_loss),
        baseline=baseline[metric],
        value=value,
        bits=bits,
        config=_config(model, configs, bits),
        bytes_before=coded.all_bytes_before,
        bytes=coded.bytes(bits),
        rows=rows,
        uniform=uniform,
        skipped=coded.skipped,
        evaluations=trials.count,
    )


@dataclasses.dataclass(frozen=True)
class _Judge:
    """What combinations of bits are worth."""

    trials: Trials
    coded: CodedModel
    metric: str
    mode: str
    baseline: float

    def values(self, combinations):
        measured = self.trials.metrics(combinations)
        return [metrics[self.metric] for metrics in measured]

    def loss(self, value):
        return metric_loss(value, self.baseline, self.mode)

    def singles(self):
        """A row for each layer alone with each number of bits."""
        points = [
            (name, nbits, layer)
            for name, of_layer in self.coded.layers.items()
            for nbits, layer in of_layer.items()
        ]
        values = self.values([{name: nbits} for name, nbits, _ in points])
        sizes = self.coded.bytes_before
        return tuple(
            BitsRow(name, nbits, value, layer.sqnr, sizes[name], layer.bytes)
            for (name, nbits, layer), value in zip(points, values)
        )

    def uniform(self, nbits):
        """A row for all layers with each number of bits."""
        alike = [_alike(self.coded, number) for number in nbits]
        return tuple(
            UniformBits(number, value, self.coded.bytes(bits))
            for number, bits, value in zip(nbits, alike, self.values(alike))
        )

    def search(self, rows, uniform, max_loss):
        """The bits to suggest."""
        return fewest_bytes(
            {
                name: _options(name, size, self.loss, rows)
                for name, size in self.coded.bytes_before.items()
            },
            [_alike(self.coded, row.nbits) for row in uniform],
            loss_limit(max_loss, self.baseline),
            lambda bits: self.loss(self.values([bits])[0]),
        )


def _alike(coded, nbits):
    """The same bits for all layers, `None` where a layer has not these."""
    return {
        name: nbits if nbits in of_layer else None
        for name, of_layer in coded.layers.items()
    }


def _options(layer, bytes_before, loss, rows):
    options = [
        Option(row.nbits, row.bytes, loss(row.value), 10 ** (-row.sqnr / 10))
        for row in rows
        if row.layer == layer
    ]
    return [*options, Option(None, bytes_before, 0.0, 0.0)]


def _config(model, configs, bits):
    """The bits as `quantize_weights` takes them."""
    layers = {name: layer for _, name, layer in every_layer(model)}
    return ConfigByLayer(
        layer_name_configs={
            # A name, not a pattern.
            glob.escape(name): nbits
            and dataclasses.replace(configs.of(name, layers[name]), nbits=nbits)
            for name, nbits in bits.items()
        }
    )


def _texts(configs, importance, seed):
    """What the codes depend on beside the weights and the bits."""
    texts = [repr(with_nbits(configs, 1)), repr(seed)]
    for name, values in sorted((importance or {}).items()):
        texts += [name, np.asarray(values)]
    return texts
