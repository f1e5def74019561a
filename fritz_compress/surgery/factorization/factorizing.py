"""A new model whose kernels are products of smaller ones."""

from collections.abc import Sequence
from typing import Any

import keras

from fritz_compress.checks import (
    check_built,
    check_count,
    check_fraction,
    check_model,
)
from fritz_compress.costs import Size, sized_graph
from fritz_compress.surgery.config_by_layer import config_by_layer
from fritz_compress.surgery.factorization import chains
from fritz_compress.surgery.factorization.choosing import Budget, choose
from fritz_compress.surgery.factorization.config import FactorizationConfig
from fritz_compress.surgery.factorization.correction import correct
from fritz_compress.surgery.factorization.report import FactorizationReport
from fritz_compress.surgery.factorization.rows import (
    macs_by_operation,
    report,
)
from fritz_compress.surgery.factorization.samples import Samples
from fritz_compress.surgery.factorization.subjects import find_subjects
from fritz_compress.surgery.names import UniqueNames, name_layers
from fritz_compress.surgery.removal import copied
from fritz_compress.surgery.training_state import compile_like

BATCH = 32
POSITIONS = 32


def factorize(
    model: keras.Model,
    config: Any = None,
    *,
    parameters: float | None = None,
    macs: float | None = None,
    samples: Any = None,
    positions: int = POSITIONS,
    batch_size: int = BATCH,
    input_size: Size | Sequence[Size] | None = None,
    seed: int = 0,
) -> tuple[keras.Model, FactorizationReport]:
    """A new model whose kernels are products of smaller ones.

    Each dense layer and convolution becomes two to four plain layers of low
    rank (`FactorizationConfig` lists the ways), of which the last has the
    layer's own name; only where that is smaller. The report has a row for
    every layer with a kernel, and says why one was left.

    By its kernels alone, a network loses much of its accuracy when its rank
    is halved. `samples` win back a good part of that without labels and
    without training: in the order of the model, the factors of each layer are
    the best for what it is to put out, given what the factorized layers
    before it make of the samples. Some hundred are enough. Training on then
    does the rest, with a low learning rate.

    Args:
        model: A Functional or built Sequential model, models inside it and
            shared layers included. It is not changed.
        config: A `FactorizationConfig` or a dictionary of its arguments; a
            `ConfigByLayer`, or a dictionary of its, for configurations by
            layer name and type. `None` for a layer leaves it as it is.
        parameters: Fraction of the model's parameters to keep at most, for
            which ranks are chosen of all layers whose configuration says
            nothing of them: those with the largest product of the shares of
            the squared kernels that are kept.
        macs: Likewise, of its multiply-accumulates (see `analysis.profile`).
            Then layers are factorized where that saves MACs, else where it
            saves parameters.
        samples: Inputs as the model takes them, an array or one per input, or
            a list or dataset of batches, to correct the factors on. Layers
            without a bias are given one.
        positions: How many outputs of a convolution are looked at for each
            sample, drawn at random. Samples times positions should be well
            above the numbers in a filter.
        batch_size: Samples that run through the model at once.
        input_size: Spatial size in place of the model's, such as `(height,
            width)`, to count MACs for a model that takes any size.
        seed: For positions, and decompositions with a random start.

    Returns: the model, compiled as `model` is, and the report.

    Raises:
        TypeError: for what is no model, no configuration or no samples.
        ValueError: for a model without a graph, a configuration for layers
            that the model does not have or that none of them can follow, two
            budgets, one that cannot be met, or samples that do not fit.

    References: Zhang et al., "Accelerating very deep convolutional networks
    for classification and detection", https://arxiv.org/abs/1505.06798,
    sections 3.1 to 3.3, for corrections and ranks; those of the methods are
    listed in `ops.kernel_factors` and `ops.tensor_factors`.

    Example: half the MACs, and the first layer as it is.

    >>> smaller, report = factorize(
    ...     model,
    ...     {
    ...         "global_config": {"method": "spatial"},
    ...         "layer_name_configs": {"conv_1": None},
    ...     },
    ...     macs=0.5,
    ...     samples=images,
    ... )
    >>> print(report)
    """
    check_model(model)
    check_built(model)
    check_count("positions", positions)
    check_count("batch_size", batch_size)
    configs = config_by_layer(config, FactorizationConfig)
    graph = sized_graph(model, input_size)
    budget = _budget(graph, parameters, macs)
    if samples is not None:
        samples = Samples(model, samples, batch_size)
    subjects, left = find_subjects(graph, configs, samples is not None)
    objective = "parameters" if macs is None else "macs"
    choices = choose(subjects, objective, budget, seed)
    factors = {
        subject: subject.method.decomposition.factors(
            subject.kernel, rank, seed
        )
        for subject, (rank, _) in choices.items()
        if rank is not None
    }
    factorized = _layers(model, choices, factors)
    errors = {}
    if samples is not None:
        errors = correct(graph, factorized, factors, samples, positions, seed)
    replaced = {subject.layer: chain for subject, chain in factorized.items()}
    smaller = copied(model, replaced)
    compile_like(model, smaller)
    return smaller, report(graph, smaller, choices, left, factors, errors)


def _budget(graph, parameters, macs):
    """What the model may cost, if the user says so."""
    if parameters is not None and macs is not None:
        raise ValueError(
            "One budget is for the whole model. Received: "
            f"parameters={parameters} and macs={macs}. Leave one out."
        )
    if parameters is not None:
        check_fraction("parameters", parameters, "(0, 1)")
        total = graph.model.count_params()
        return Budget("parameters", parameters, total)
    if macs is not None:
        check_fraction("macs", macs, "(0, 1)")
        return Budget("macs", macs, sum(macs_by_operation(graph).values()))
    return None


def _layers(model, choices, factors):
    """Built layers with the factors of each, and its bias."""
    name = UniqueNames()
    for taken in {operation.name for operation in name_layers(model)}:
        name(taken)
    found = {}
    for subject, own in factors.items():
        rank, _ = choices[subject]
        chain = subject.chain(rank, name)
        shape = subject.shapes[0]
        for layer in chain:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        chains.assign(chain, own, subject.bias)
        found[subject] = chain
    return found
