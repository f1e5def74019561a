"""Channels in groups of equal size, which must stay equal."""

import functools
import math

import numpy as np

from fritz_compress.surgery.labels import Labels


def balance(
    store: Labels, labels: np.ndarray, groups: int, reason: str
) -> None:
    """Ties channels so that all groups lose equally many, whichever go.

    Which channel of one group goes with which of another is free to choose,
    as long as every class of labels has equally many members in each group.
    The n-th of one group goes with the n-th of each other one, among labels
    that occur in one group only and equally often. (Tying equal places
    instead would, after a channel shuffle, chain all channels into one
    class.) Labels that are spread unevenly make up classes together.

    Args:
        store: The classes of labels.
        labels: One per channel, the groups one after another.
        groups: How many there are.
        reason: Why labels stay that cannot be balanced.
    """
    members, counts = _members(store, labels, groups)
    uneven = np.any(counts != counts[:, :1], axis=1)
    alone = np.count_nonzero(counts, axis=1) == 1
    rest = dict.fromkeys(np.flatnonzero(uneven).tolist())
    for count in np.unique(counts[uneven]):
        columns = [
            [i for i in rest if count and alone[i] and counts[i, g] == count]
            for g in range(groups)
        ]
        for alike in zip(*columns):
            store.unite(members[alike[0]], members[list(alike)])
            for index in alike:
                del rest[index]
    if rest:
        _balance_kinds(store, members[list(rest)], counts[list(rest)], reason)


def _members(store, labels, groups):
    """Labels that may go, in order, and how often each is in each group."""
    roots = store.roots(labels).reshape(groups, -1)
    found, first = np.unique(roots, return_index=True)
    free = [r for r in found[np.argsort(first)] if store.reason(r) is None]
    counts = [(roots == root).sum(axis=1) for root in free]
    return np.array(free, int), np.array(counts, int).reshape(-1, groups)


def _balance_kinds(store, members, counts, reason):
    """Makes classes of a share of the labels of every kind of spread."""
    total = counts.sum(axis=0)
    if (total != total[0]).any():
        store.freeze(members, reason)
        return
    kinds = [
        members[(counts == kind).all(axis=1)]
        for kind in np.unique(counts, axis=0)
    ]
    classes = functools.reduce(math.gcd, map(len, kinds))
    for shares in zip(*(np.split(kind, classes) for kind in kinds)):
        together = np.concatenate(shares)
        store.unite(together[:1], together)
