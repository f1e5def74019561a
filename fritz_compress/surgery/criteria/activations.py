"""Criteria that look at what the channels of a group hold."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fritz_compress.checks import check_count
from fritz_compress.surgery.criteria.base import (
    Criterion,
    check_none_is_missing,
)
from fritz_compress.surgery.criteria.samples import batches, check_arrays
from fritz_compress.surgery.flow import Flow
from fritz_compress.surgery.groups import ChannelGroup
from fritz_compress.surgery.labelling import label_channels
from fritz_compress.surgery.rules import find_rule

# Functions that are zero for some range of inputs, whatever they are called.
_ZEROING = {
    "hardshrink",
    "hardsigmoid",
    "hardsilu",
    "hardswish",
    "relu",
    "relu6",
    "softshrink",
    "sparseplus",
    "sparsesigmoid",
    "threshold",
}


class AveragePercentageOfZeros(Criterion):
    """How often a channel is not zero after its activation (1 - APoZ).

    The share of numbers that are not zero, over all samples and positions, in
    the output of the activation that follows the layer; where several follow
    the layers of a group, as in a residual trunk, their mean.

    An activation is a layer, an operation, or the `activation` of a layer,
    and one that gives zeros: ReLU and the like. A group without one (GELU, a
    linear bottleneck, a function of a user's own) is an error: put its layers
    into `ignored_layers`, or choose another criterion.

    Args:
        x: Inputs, an array or a structure of arrays as for `model.predict`.
        batch_size: Samples that go through the model at once.

    Raises:
        TypeError: on construction for data or a `batch_size` of the wrong
            type.
        ValueError: on construction if `batch_size` is below 1; when it
            scores, if a group has no such activation, or for NaN in weights,
            inputs or outputs of activations.

    Reference: Hu et al., "Network Trimming: A Data-Driven Neuron Pruning
    Approach towards Efficient Deep Architectures",
    https://arxiv.org/abs/1607.03250, section 3.1, equation 1.

    Example:

    >>> smaller = prune_filters(model, 0.25, AveragePercentageOfZeros(images))
    """

    comparable = True

    def __init__(self, x: Any, *, batch_size: int = 32):
        check_arrays("AveragePercentageOfZeros", x=x)
        self.x = x
        self.batch_size = check_count("batch_size", batch_size)

    def scores(
        self, model: keras.Model, groups: Sequence[ChannelGroup]
    ) -> list[np.ndarray]:
        """Shares that are not zero, in `[0, 1]`; see `Criterion.scores`."""
        for group in groups:
            group.check_numbers()
        flow = label_channels(model, find_rule)
        watched = _activations(flow)
        roots = [flow.labels.roots(labels) for labels in watched.values()]
        counts = np.bincount(
            np.concatenate([r.ravel() for r in roots] or [np.zeros(0, int)]),
            minlength=len(flow.labels),
        )
        check_none_is_missing(
            model,
            [g for g in groups if not counts[g.roots].all()],
            "Criterion 'AveragePercentageOfZeros' needs an activation that "
            "gives zeros, such as ReLU,",
        )
        shares = np.zeros(len(flow.labels))
        for root, used in zip(roots, self._shares(flow, watched)):
            np.add.at(shares, root.ravel(), used)
        return [shares[g.roots] / counts[g.roots] for g in groups]

    def _shares(self, flow, watched):
        """Share of non-zero numbers at every label of each tensor."""
        x = _in_order(flow.graph.model, self.x)
        totals = {key: np.zeros(len(found)) for key, found in watched.items()}

        def call(node, *args, **kwargs):
            results = node.operation(*args, **kwargs)
            for tensor, result in zip(node.outputs, tree.flatten(results)):
                for axis in range(len(tensor.shape)):
                    if (tensor, axis) in totals:
                        _check_numbers(flow, node, result)
                        used = _used(result, axis) * result.shape[0]
                        totals[tensor, axis] += used
            return results

        for part, _ in batches(x, (), self.batch_size):
            flow.graph.run(
                [
                    ops.convert_to_tensor(array, dtype=tensor.dtype)
                    for array, tensor in zip(part, flow.graph.inputs)
                ],
                call,
            )
        return [total / len(x[0]) for total in totals.values()]


def _activations(flow: Flow) -> dict:
    """What activations that give zeros put out: labels by tensor and axis."""
    return {
        (tensor, axis): strand.labels
        for node in flow.graph.nodes
        if _gives_zeros(node.operation)
        for tensor in node.outputs
        for axis, strand in flow.values[tensor].strands.items()
    }


def _gives_zeros(operation):
    function = getattr(operation, "activation", None) or operation
    name = getattr(function, "__name__", type(function).__name__)
    return name.lower().replace("_", "") in _ZEROING


def _check_numbers(flow, node, result):
    if bool(ops.any(ops.isnan(result))):
        raise ValueError(
            "Criterion 'AveragePercentageOfZeros' needs activations that are "
            f"numbers. Received: NaN from {flow.describe(node.operation)}, of "
            "inputs without NaN. Look at the weights before it."
        )


def _used(result, axis):
    """Share of non-zero numbers at every position along an axis."""
    axes = tuple(other for other in range(len(result.shape)) if other != axis)
    used = ops.cast(ops.not_equal(result, 0), "float32")
    return ops.convert_to_numpy(ops.mean(used, axes))


def _in_order(model, x):
    """One array per input of the model."""
    if isinstance(x, dict) and not isinstance(model.input, dict):
        return [x[tensor.name] for tensor in model.inputs]
    return tree.flatten(x)
