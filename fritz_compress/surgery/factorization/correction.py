"""Factors that keep what layers put out, layer after layer."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from fritz_compress.graph import Graph, Node
from fritz_compress.ops.reduced_rank import Responses
from fritz_compress.surgery.factorization import chains
from fritz_compress.surgery.factorization.subjects import Subject
from fritz_compress.surgery.patches import sample_patches


def correct(
    graph: Graph,
    factorized: Mapping[Subject, Sequence[keras.Layer]],
    factors: dict[Subject, list[np.ndarray]],
    samples: Iterable[list[np.ndarray]],
    positions: int,
    seed: int,
) -> dict[Subject, float]:
    """Fits factors and biases to what the layers put out on samples.

    In the order of the model, each layer is to give, for inputs as they come
    out of the factorized layers before it, what the original one gives for
    the original inputs. For each, the samples run through the model up to it
    once more, so that memory does not grow with them.

    Args:
        graph: The calls of the original model.
        factorized: Layers, built, with the factors as they are, in place of
            each original. They are given the new ones.
        factors: Of each layer; replaced by the new ones.
        samples: Batches, one array per input.
        positions: Of a convolution's output, how many are drawn per sample.
        seed: Seed of the draw.

    Returns: the relative error of each layer's output on the samples.
    """
    replaced = {subject.layer: chain for subject, chain in factorized.items()}
    by_layer = {subject.layer: subject for subject in factorized}
    errors = {}
    for layer in dict.fromkeys(node.operation for node in graph.nodes):
        if layer not in by_layer:
            continue
        subject = by_layer[layer]
        kernel = subject.kernel.reshape(-1, subject.shape[-1])
        responses = Responses(*kernel.shape)
        pairs = _pairs(graph, layer, replaced, samples, positions, seed)
        for wanted, given in pairs:
            responses.add(given, wanted @ kernel)
        regression = responses.regression(kernel)
        decomposition = subject.method.decomposition
        factors[subject] = decomposition.corrected(
            regression, factors[subject], subject.shape
        )
        found = decomposition.reconstruct(factors[subject], subject.shape)
        found = found.reshape(kernel.shape)
        bias = subject.bias + regression.bias(found)
        chains.assign(replaced[layer], factors[subject], bias)
        errors[subject] = float(np.sqrt(regression.error(found)))
    return errors


def _pairs(graph, layer, replaced, samples, positions, seed):
    """What a layer's kernel meets, in the original and after factorization."""
    part = _up_to_inputs(graph, layer)

    def call(node, *args, **kwargs):
        if "training" in kwargs:
            kwargs["training"] = False
        if node.operation not in replaced:
            return node.operation(*args, **kwargs)
        both = args[0] if args else kwargs["inputs"]
        half = len(both) // 2
        outputs = both[half:]
        for further in replaced[node.operation]:
            outputs = further(outputs)
        return ops.concatenate([node.operation(both[:half]), outputs])

    for number, batch in enumerate(samples):
        doubled = [
            ops.convert_to_tensor(np.concatenate([array, array]), tensor.dtype)
            for array, tensor in zip(batch, graph.inputs)
        ]
        for place, both in enumerate(part.run(doubled, call)):
            for_all = np.split(ops.convert_to_numpy(both), 2)
            yield tuple(
                _rows(layer, half, positions, [seed, number, place])
                for half in for_all
            )


def _rows(layer, inputs, positions, seed):
    count = positions * len(inputs)
    patches = sample_patches(layer, inputs, count, seed)
    return patches.reshape(len(patches), -1).astype("float32")


def _up_to_inputs(graph: Graph, layer: keras.Layer) -> Graph:
    """The calls that the inputs of a layer depend on; these are its outputs."""
    calls = [node for node in graph.nodes if node.operation is layer]
    wanted = [node.inputs[0] for node in calls]
    needed = set(wanted)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            nodes.append(node)
            needed.update(node.inputs)
    return dataclasses.replace(
        graph, nodes=tuple(reversed(nodes)), outputs=wanted
    )
