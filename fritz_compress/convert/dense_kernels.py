"""Dense layers in place of those that multiply by Fourier transforms.

TFLite has the transform of real numbers, but neither complex numbers nor the
inverse; Core ML has neither. A product of circulants could be written as
convolutions with kernels as long as the input, which are few numbers, but take
as many steps as several dense layers. So files hold the dense kernel.
"""

import dataclasses

import keras

from fritz_compress import graph
from fritz_compress.layers import ToeplitzLikeDense


def traced_for_files(
    model: keras.Model,
    input_shapes: list[tuple[int | None, ...]] | None = None,
) -> graph.Graph:
    """The calls of a model, of layers that a file can hold.

    Args:
        model: A Functional or built Sequential model.
        input_shapes: As of `graph.trace`.
    """
    traced = graph.trace(model, input_shapes)
    dense = {
        node.operation: node.operation.to_dense()
        for node in traced.nodes
        if isinstance(node.operation, ToeplitzLikeDense)
    }
    if not dense:
        return traced
    nodes = [
        graph.Node(
            dense.get(node.operation, node.operation),
            node.args,
            node.kwargs,
            node.outputs,
        )
        for node in traced.nodes
    ]
    return dataclasses.replace(traced, nodes=tuple(nodes))
