"""Channels found by the name of the layer that has them."""

import numpy as np

from fritz_compress.surgery.flow import Flow
from fritz_compress.surgery.names import find_layer


def output_labels(flow: Flow, name: str) -> np.ndarray:
    """Labels along the channels of a layer's output.

    Args:
        flow: The labelled model.
        name: A layer, or a producer with the part after a colon, such as
            `"attention:heads"`.

    Raises:
        TypeError: if it is not a string.
        ValueError: if there is none of this name, or it has no channels.
    """
    parts = {p.part: p.operation for p in flow.produced if p.part}
    known = {flow.name(p.operation, p.part): p for p in flow.produced}
    if name in known:
        return flow.produced[known[name]]
    if isinstance(name, str) and name.partition(":")[2] in parts:
        _refuse_part(flow, name, known)
    return _vector(flow, find_layer(flow.graph.model, name), name)


def _refuse_part(flow, name, known):
    layer = name.partition(":")[0]
    find_layer(flow.graph.model, layer)
    own = [other for other in known if other.partition(":")[0] == layer]
    raise ValueError(
        f"Layer '{layer}' has no such part. Received: '{name}'. "
        f"It makes channels as {own or 'nothing that may go'}."
    )


def _vector(flow, layer, name):
    """Labels of a layer that follows channels made elsewhere."""
    outputs = [
        tensor
        for node in flow.nodes
        if node.operation is layer
        for tensor in node.outputs
    ]
    vectors = {
        tuple(flow.labels.roots(strand.labels).tolist())
        for tensor in outputs
        for strand in flow.values[tensor].strands.values()
    }
    if not vectors and len(outputs) == 1 and outputs[0].shape[-1]:
        stays = flow.staying(flow.values[outputs[0]].stays)
        return np.full(outputs[0].shape[-1], stays)
    if len(vectors) != 1:
        raise ValueError(
            f"Layer '{name}' ({type(layer).__name__}) has "
            f"{len(vectors) or 'no'} outputs with channels. Name the layer "
            "that makes the channels, such as a convolution."
        )
    return np.array(*vectors)
