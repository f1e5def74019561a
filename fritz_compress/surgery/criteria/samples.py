"""Batches of the data that some criteria look at."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras import tree

from fritz_compress.checks import check_no_nan, described


def check_arrays(criterion: str, **data: Any) -> None:
    """Whether all data are arrays, or structures of arrays.

    Args:
        criterion: Name of the criterion, for the message.
        **data: What the user passed, by the names of the arguments.

    Raises:
        TypeError: for anything else.
    """
    for name, value in data.items():
        wrong = [leaf for leaf in tree.flatten(value) if not _is_array(leaf)]
        if wrong:
            raise TypeError(
                f"`{name}` of criterion '{criterion}' must be an array, or a "
                "structure of arrays, with one entry per sample. Received: "
                f"{described(wrong[0])}."
            )


def check_has_targets(criterion: str, x: Any) -> None:
    """Whether data without `y` are batches `(x, y)`.

    Raises:
        TypeError: for what cannot be iterated over.
        ValueError: for arrays, which are inputs alone.
    """
    members = x if isinstance(x, (list, tuple)) else [x]
    if isinstance(x, Mapping) or (members and all(map(_is_array, members))):
        raise ValueError(
            f"Criterion '{criterion}' needs targets, to take the loss. "
            f"Received: inputs alone. Pass `{criterion}(x, y)`, or an iterable "
            "of batches (x, y)."
        )
    if not isinstance(x, Iterable) and not hasattr(x, "__getitem__"):
        raise TypeError(
            f"`x` of criterion '{criterion}' must be arrays, with targets `y`, "
            f"or an iterable of batches (x, y). Received: {described(x)}."
        )


def batches(x: Any, y: Any, batch_size: int) -> Iterator[tuple]:
    """Cuts data into batches.

    Args:
        x: An array or a structure of arrays; or, if `y` is `None`, an
            iterable of batches, which are returned as they are.
        y: Like `x`, of as many samples; an empty structure for none.
        batch_size: Samples per batch; the last one may have fewer.

    Raises:
        TypeError: for a batch that is not `(x, y)`, or with sample weights.
        ValueError: if there are no samples, not as many in every array, or
            NaN among the inputs.
    """
    if y is None:
        for number, batch in enumerate(x):
            _check_batch(number, batch)
            yield batch
        return
    sizes = {len(array) for array in tree.flatten((x, y))}
    if len(sizes) != 1 or not max(sizes):
        raise ValueError(
            "All arrays must have the same number of samples, at least one. "
            f"Received: arrays of {sorted(sizes)} samples."
        )
    check_no_nan("`x`", x)
    for first in range(0, *sizes, batch_size):
        yield tree.map_structure(
            lambda array: array[first : first + batch_size], (x, y)
        )


def _check_batch(number, batch):
    if not isinstance(batch, (list, tuple)) or len(batch) not in (2, 3):
        raise TypeError(
            "Each batch must be (x, y), or (x, y, sample_weight). Received: "
            f"{described(batch)}."
        )
    check_no_nan(f"The inputs of batch {number}", batch[0])


def _is_array(value):
    return len(getattr(value, "shape", ())) > 0
