"""Masks of padded sequences, which Keras 3 and tf_keras hand on differently."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras import tree

from fritz_compress.graph import Graph
from fritz_compress.interop.configs import LAYERS, RECURRENT

_ATTENTIONS = ("AdditiveAttention", "Attention", "Softmax")


def without_masks(graph: Graph) -> Graph:
    """The graph without the operations that make masks.

    Keras 3 computes the masks that Embedding and Masking start by operations
    of the graph; tf_keras does it behind the graph, by itself. In a graph
    without such layers all masks are a user's own and stay.
    """
    if not any(_starts_mask(node) for node in graph.nodes):
        return graph
    raw = {
        tensor
        for node in graph.nodes
        if not _is_layer(node)
        for tensor in node.outputs
    }
    needed, nodes = set(graph.output_tensors), []
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.outputs):
            continue
        masks = tree.flatten(node.kwargs.get("mask"))
        if _is_layer(node) and raw.issuperset(m for m in masks if m):
            kwargs = {k: v for k, v in node.kwargs.items() if k != "mask"}
            node = dataclasses.replace(node, kwargs=kwargs)
        needed.update(node.inputs)
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(reversed(nodes)))


def check_masks(graph: Graph, names: Mapping[Any, str]) -> None:
    """Refuses masks where the two sides do not do the same with them.

    Args:
        graph: Of either side.
        names: Of the operations, for errors.

    Raises:
        ValueError: if a mask reaches an operation that is no layer, an
            attention or a softmax, or a recurrent layer with an initial state.
    """
    masked = set()
    for node in graph.nodes:
        if not _starts_mask(node) and masked.isdisjoint(node.inputs):
            continue
        states = node.kind in RECURRENT and len(node.inputs) > 1
        if not _is_layer(node) or node.kind in _ATTENTIONS or states:
            raise ValueError(
                f"'{names[node.operation]}' ({node.kind}) must be called with "
                "tensors without a mask, as Keras 3 and tf_keras treat masks "
                "differently there. Received: one from an Embedding or a "
                "Masking layer. Build the model without `mask_zero`, or with "
                "layers such as Add in place of operators."
            )
        # A mask belongs to time steps: without them there is none.
        masked.update(t for t in node.outputs if len(t.shape) > 2)


def _starts_mask(node):
    return node.kind == "Masking" or getattr(node.operation, "mask_zero", False)


def _is_layer(node):
    """`Add` is the name of a layer and that of a raw operation."""
    package = type(node.operation).__module__.split(".")
    return node.kind in LAYERS and "ops" not in package
