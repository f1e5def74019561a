"""The report of a factorization, put together."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress.costs import macs_of
from fritz_compress.graph import Graph
from fritz_compress.surgery.factorization.choosing import Choice
from fritz_compress.surgery.factorization.report import (
    FactorizationReport,
    FactorizedLayer,
)
from fritz_compress.surgery.factorization.subjects import Subject
from fritz_compress.surgery.names import every_layer


def macs_by_operation(graph: Graph) -> dict[keras.Operation, int]:
    """Multiply-accumulates of one sample, over all calls.

    Those of operations that nobody knows are not counted.

    Raises:
        ValueError: if they depend on a size that is not known.
    """
    batch = graph.model.inputs[0].shape[0] or 1
    counts: dict[keras.Operation, int] = {}
    for node in graph.nodes:
        known = counts.get(node.operation, 0)
        counts[node.operation] = known + (macs_of(node) or 0) // batch
    return counts


def report(
    graph: Graph,
    smaller: keras.Model,
    choices: Mapping[Subject, Choice],
    left: Mapping[str, tuple[keras.Layer, str]],
    factors: Mapping[Subject, list[np.ndarray]],
    errors: Mapping[Subject, float],
) -> FactorizationReport:
    """What was done to each layer with a kernel, in the order of the model.

    Args:
        graph: The calls of the original.
        smaller: The new model.
        choices: Ranks and reasons.
        left: Layers that no rank was looked for, and why.
        factors: Those of the layers that were factorized.
        errors: Relative errors of outputs, if there were samples.
    """
    try:
        macs: Mapping[Any, int | None] = macs_by_operation(graph)
    except ValueError:  # A model of any size.
        macs = {}
    rows = {
        name: _left(name, layer, macs.get(layer), reason)
        for name, (layer, reason) in left.items()
    }
    for subject, (rank, reason) in choices.items():
        count = macs.get(subject.layer)
        rows[subject.name] = (
            _left(subject.name, subject.layer, count, reason)
            if rank is None
            else _factorized(
                subject, rank, count, factors[subject], errors.get(subject)
            )
        )
    before = sum(macs.values()) if macs else None
    saved = (
        [r.macs_before - r.macs_after for r in rows.values() if r.method]
        if macs
        else []
    )
    return FactorizationReport(
        layers=tuple(
            rows[name]
            for _, name, _ in every_layer(graph.model)
            if name in rows
        ),
        parameters_before=graph.model.count_params(),
        parameters_after=smaller.count_params(),
        macs_before=before,
        macs_after=None if before is None else before - sum(saved),
    )


def _left(name, layer, macs, reason):
    parameters = layer.count_params()
    return FactorizedLayer(
        name=name,
        kind=type(layer).__name__,
        method="",
        rank=(),
        parameters_before=parameters,
        parameters_after=parameters,
        macs_before=macs,
        macs_after=macs,
        kernel_error=None,
        output_error=None,
        note=reason,
    )


def _factorized(subject, rank, macs, factors, error):
    found = subject.method.decomposition.reconstruct(factors, subject.shape)
    size = np.linalg.norm(subject.kernel) or 1.0
    after, notes = subject.after(rank), []
    if subject.layer.kernel_constraint is not None:
        notes.append("its kernel_constraint is left behind")
    return FactorizedLayer(
        name=subject.name,
        kind=type(subject.layer).__name__,
        method=subject.method_name,
        rank=rank,
        parameters_before=subject.layer.count_params(),
        parameters_after=int(after.parameters),
        macs_before=macs,
        macs_after=None if macs is None else int(after.macs),
        kernel_error=float(np.linalg.norm(found - subject.kernel) / size),
        output_error=error,
        note="; ".join(notes),
    )
