"""The standardizing layer of a network stays in floats in an integer file.

The mean and the deviation of a photo are few numbers, but every pixel depends
on them: rounded to 8 bits they cost a style network five decibels. So the
file takes them from the photo as it comes, in floats, and integers begin with
the standardized photo.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from fritz_compress import graph
from fritz_compress.convert import export
from fritz_compress.layers import StandardizeImage


def split(traced: graph.Graph) -> tuple[graph.Graph | None, graph.Graph]:
    """Cuts a graph behind a `StandardizeImage` that alone reads the input.

    Returns: the graph of that layer and the graph of all others, which takes
        its output; `None` and the whole graph if there is no such layer.
    """
    first, *others = traced.nodes
    readers = traced.consumers().get(traced.inputs[0], [])
    if (
        type(first.operation) is not StandardizeImage
        or readers != [first]
        or not others
    ):
        return None, traced
    (standardized,) = first.outputs
    head = dataclasses.replace(
        traced, nodes=(first,), outputs=standardized, nested={}
    )
    body = dataclasses.replace(
        traced, inputs=(standardized,), nodes=tuple(others)
    )
    return head, body


def standardized(head: graph.Graph, samples: np.ndarray) -> np.ndarray:
    """What the rest of the network gets to see of each sample."""
    return np.concatenate(
        [
            head.run([tf.constant(sample[np.newaxis])], export.call_layer)
            for sample in samples
        ]
    )
