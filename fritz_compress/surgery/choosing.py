"""Which channels go, so that something is left of every tensor."""

from collections.abc import Iterator, Sequence

import numpy as np

from fritz_compress.surgery.cutting import Keep
from fritz_compress.surgery.flow import Flow
from fritz_compress.surgery.groups import ChannelGroup


def lowest(
    flow: Flow,
    groups: Sequence[ChannelGroup],
    scores: Sequence[np.ndarray],
    counts: Sequence[int],
) -> list[np.ndarray]:
    """Classes of the channels of least score, some of each group.

    Where all channels of a tensor would go, such as one half of a split, the
    best of them stays, and the next one of its group goes in its place.

    Args:
        flow: The labels.
        groups: Groups of channels that may go.
        scores: For each group the scores of its channels. Among equal ones
            the first goes; one of infinity never does.
        counts: How many of each group are to go.

    Returns: for each group the classes to remove; fewer than asked for if
        the others must stay.
    """
    ranked = [
        group.roots[np.argsort(found, kind="stable")]
        for group, found in zip(groups, scores, strict=True)
    ]
    rank = np.zeros(len(flow.labels))
    spared = np.zeros(len(flow.labels), bool)
    for group, found, roots in zip(groups, scores, ranked):
        rank[roots] = np.linspace(0, 1, len(roots))
        spared[group.roots] = np.isposinf(found)
    while True:
        gone = [
            roots[~spared[roots]][:count]
            for roots, count in zip(ranked, counts, strict=True)
        ]
        empty = [labels for _, labels in emptied(flow, keeping(flow, gone))]
        if not empty:
            return gone
        for labels in empty:
            roots = flow.labels.roots(labels)
            spared[roots[np.argmax(rank[roots])]] = True


def keeping(flow: Flow, gone: Sequence[np.ndarray]) -> Keep:
    """From labels to the indices of those that stay.

    Args:
        flow: The labels.
        gone: Arrays of the classes that do not.
    """
    removed = np.zeros(len(flow.labels), bool)
    for roots in gone:
        removed[roots] = True
    return lambda labels: np.flatnonzero(~removed[flow.labels.roots(labels)])


def emptied(flow: Flow, keep: Keep) -> Iterator[tuple[str, np.ndarray]]:
    """Layers and tensors that nothing would be left of, with their labels."""
    for producer, labels in flow.produced.items():
        if not len(keep(labels)):
            name = flow.name(producer.operation, producer.part)
            kind = type(producer.operation).__name__
            yield f"Layer '{name}' ({kind})", labels
    for node in flow.nodes:
        for tensor in node.outputs:
            for strand in flow.values[tensor].strands.values():
                if not len(keep(strand.labels)):
                    made = f"The output of {flow.describe(node.operation)}"
                    yield made, strand.labels
