"""Batches of the data that some criteria look at."""

from collections.abc import Iterator
from typing import Any

from keras import tree


def batches(x: Any, y: Any, batch_size: int) -> Iterator[tuple]:
    """Cuts data into batches.

    Args:
        x: An array or a structure of arrays; or, if `y` is `None`, an
            iterable of batches, which are returned as they are.
        y: Like `x`, of as many samples; an empty structure for none.
        batch_size: Samples per batch; the last one may have fewer.

    Raises:
        ValueError: if there are no samples, or not as many in every array.
    """
    if y is None:
        yield from x
        return
    sizes = {len(array) for array in tree.flatten((x, y))}
    if len(sizes) != 1 or not max(sizes):
        raise ValueError(
            "All arrays must have the same number of samples, at least one. "
            f"Received: arrays of {sorted(sizes)} samples."
        )
    for first in range(0, *sizes, batch_size):
        yield tree.map_structure(
            lambda array: array[first : first + batch_size], (x, y)
        )
