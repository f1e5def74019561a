"""Which layers of a model bear pruning."""

import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras

from fritz_compress.analysis import sweep
from fritz_compress.analysis.measuring import measuring
from fritz_compress.analysis.probe import Experiment
from fritz_compress.analysis.sensitivity_arguments import (
    better_direction,
    check_evaluation,
    check_jobs,
    checked_fractions,
    checked_metric,
)
from fritz_compress.analysis.sensitivity_table import (
    SensitivityRow,
    SensitivityTable,
)
from fritz_compress.analysis.settings import settings_of
from fritz_compress.analysis.silencing import (
    check_weights,
    find_filters,
    find_kernels,
)
from fritz_compress.checks import check_count, check_model, check_names
from fritz_compress.surgery import criteria
from fritz_compress.surgery.criteria.base import name_of

_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def sensitivity(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    *,
    evaluate: Callable[[keras.Model], Any] | None = None,
    metric: str | None = None,
    mode: str = "auto",
    fractions: float | Sequence[float] = _TENTHS,
    kind: str = "filters",
    criterion: Any = "l1",
    layers: Sequence[str] | None = None,
    ignored_layers: Sequence[str] = (),
    batch_size: int | None = None,
    n_jobs: int | None = None,
    resume_file: str | os.PathLike | None = None,
    on_point: Callable[[int, int, float], None] | None = None,
) -> SensitivityTable:
    """Measures what each layer of a model loses when a part of it is zeroed.

    For each layer and each fraction the least important weights or filters of
    that layer alone are zeroed, and the model is evaluated. The model given
    is not changed: a copy is, which is compiled with the same loss and
    metrics (its optimizer is a plain `SGD`).

    A zeroed filter has zeros in its kernel and bias, in scale, offset and
    mean of the normalization after it, and in all layers that are tied to
    it, so that the value is what the model has once the filter is removed.
    Groups of filters that cannot be removed are skipped, and the table says
    why.

    With `n_jobs`, evaluations run in processes of joblib. On a cluster wrap
    the call in joblib's `parallel_config`, with `backend="dask"` and a
    `dask.distributed.Client`, or with `backend="ray"` and `n_jobs`, the
    number of workers, after `ray.util.joblib.register_ray()` (extras `dask`
    and `ray`). Each worker gets the model and the data once; from Ray once per
    layer, and Ray hands over results layer by layer. Several workers on one
    accelerator compete for its memory.

    Args:
        model: A Functional or built Sequential model, compiled unless
            `evaluate` is given. With `kind="weights"` any built model that
            Keras can serialize.
        x, y: What `model.evaluate` takes: arrays, or a data set as `x`. To
            reach workers it must be picklable, which a `tf.data.Dataset` is
            not; make that inside `evaluate`.
        evaluate: Called with the changed copy in place of `model.evaluate`;
            returns a number, or a dictionary of numbers by name.
        metric: Which number to look at. Defaults to the only one there is
            beside the loss, else the loss.
        mode: `"max"` if a larger metric is better, `"min"` if a smaller one
            is, `"auto"` to tell from its name.
        fractions: Fractions to zero, one or several, in `(0, 1)`. Rounded
            down to whole filters; at least one stays.
        kind: `"filters"` for groups of filters, `"weights"` for the single
            weights of each kernel (all weights with two or more axes that are
            not of a normalization).
        criterion: Ranks filters: a name or object of `surgery.criteria`.
            Weights are ranked by magnitude, `"l1"`.
        layers: Names of the layers, or models inside the model, to look at;
            `None` for all.
        ignored_layers: Names of layers, or models inside, to leave alone.
        batch_size: Samples per batch, if `x` is an array; default 32.
        n_jobs: How many processes, -1 for one per core. `None` is one, or
            what `joblib.parallel_config` says. With one everything runs in
            this process.
        resume_file: A file to which every finished evaluation is written. If
            it exists, the sweep goes on: only what is missing is evaluated.
            It belongs to the same weights, data, criterion and metrics; of
            data sets and of `evaluate` only the type and name are compared.
        on_point: Called after each evaluation with the number done, the
            number of all, and the seconds left.

    Returns: a table with one row per layer and fraction.

    Raises:
        ValueError: for a fraction out of range, an unknown name (with the
            nearest one), weights or inputs that are NaN, targets that are
            missing, a model that is not compiled or has no graph, a metric
            that is not there or is NaN for the model as it is, or a
            `resume_file` of something else.
        TypeError: for an argument of the wrong type, or if `evaluate` returns
            something that is not a number.

    Reference: Li et al., "Pruning Filters for Efficient ConvNets",
    https://arxiv.org/abs/1608.08710, section 3.2 and figure 2; Han et al.,
    "Learning both Weights and Connections for Efficient Neural Networks",
    https://arxiv.org/abs/1506.02626, figure 6, for weights.

    Example:

    >>> table = sensitivity(model, x_val, y_val, n_jobs=4)
    >>> table.suggest(max_loss=0.01)
    {'conv_1': 0.1, 'conv_2': 0.5, 'conv_3': 0.7}
    >>> table.plot().savefig("sensitivity.png")
    """
    check_model(model)
    fractions = checked_fractions(fractions)
    check_evaluation(model, x, y, evaluate, mode)
    check_jobs(n_jobs)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    layers = None if layers is None else check_names("layers", layers)
    ignored_layers = check_names("ignored_layers", ignored_layers)
    targets, skipped = _find(model, kind, criterion, layers, ignored_layers)
    experiment = Experiment.on(
        model, x=x, y=y, batch_size=batch_size, evaluate=evaluate
    )
    rankings = [target.ranking for target in targets]
    settings = settings_of(experiment, criterion=rankings)
    with (
        sweep.opened(resume_file, settings) as sweeping,
        measuring(experiment, n_jobs, len(fractions)) as measure,
    ):
        baseline = _measure_baseline(measure, sweeping)
        metric = checked_metric(metric, baseline)
        mode = better_direction(mode, metric)
        _measure_all(measure, targets, fractions, sweeping, on_point)
    return SensitivityTable(
        model=model.name,
        kind=kind,
        criterion=name_of(criterion),
        metric=metric,
        mode=mode,
        baseline=baseline[metric],
        rows=tuple(_rows(targets, fractions, metric, sweeping.measured)),
        tied={target.name: target.tied for target in targets},
        skipped=skipped,
    )


def _find(model, kind, criterion, layers, ignored_layers):
    """The targets, and the layers without one."""
    if kind not in ("filters", "weights"):
        raise ValueError(
            f"`kind` must be 'filters' or 'weights'. Received: kind={kind!r}."
        )
    if kind == "filters":
        ranking = criteria.get(criterion)
        check_weights(model)
        return find_filters(model, ranking, layers, ignored_layers)
    if criterion != "l1":
        raise ValueError(
            "Weights are ranked by their magnitude, `criterion='l1'`. "
            f"Received: criterion={criterion!r}. Other criteria rank filters: "
            "pass `kind='filters'`."
        )
    check_weights(model)
    return find_kernels(model, layers, ignored_layers)


def _measure_baseline(measure, sweeping):
    if sweep.BASELINE not in sweeping.measured:
        for key, metrics in measure({sweep.BASELINE: list}):
            sweeping.add(key, metrics)
    return sweeping.measured[sweep.BASELINE]


def _measure_all(measure, targets, fractions, sweeping, on_point):
    points = {
        (target.name, fraction): functools.partial(target.zeros, fraction)
        for target in targets
        for fraction in fractions
    }
    missing = {k: v for k, v in points.items() if k not in sweeping.measured}
    started = time.monotonic()
    for done, (key, metrics) in enumerate(measure(missing), 1):
        sweeping.add(key, metrics)
        if on_point is not None:
            left = len(missing) - done
            pace = (time.monotonic() - started) / done
            on_point(len(points) - left, len(points), pace * left)


def _rows(targets, fractions, metric, measured):
    for target in targets:
        for fraction in fractions:
            yield SensitivityRow(
                layer=target.name,
                fraction=fraction,
                reached=target.count(fraction) / target.size,
                value=measured[target.name, fraction][metric],
            )
