"""What every criterion offers."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from fritz_compress.surgery.groups import ChannelGroup


class Criterion:
    """Tells how much each channel of a group matters.

    Subclasses implement `group_scores`, or `scores` where they need the model
    or see all groups at once.

    Attributes:
        comparable: Whether scores of different groups are on one scale. If
            not, whoever compares them divides each group's by their mean.

    Example: the largest weight of each filter decides.

    >>> class Largest(Criterion):
    ...     def group_scores(self, group):
    ...         scores = np.zeros(group.channels)
    ...         for share in group.shares:
    ...             weight = keras.ops.convert_to_numpy(share.weight)
    ...             rows = np.moveaxis(abs(weight), share.axis, 0)
    ...             largest = rows.reshape(len(rows), -1).max(axis=1)
    ...             own = share.channels >= 0
    ...             np.maximum.at(scores, share.channels[own], largest[own])
    ...         return scores
    >>> smaller = prune_filters(model, 0.25, criterion=Largest())
    """

    comparable = False

    def scores(
        self, model: keras.Model, groups: Sequence[ChannelGroup]
    ) -> list[np.ndarray]:
        """Scores of the channels of each group; higher means matters more.

        Args:
            model: The model that the groups are of. It is not changed.
            groups: Those among its `channel_groups` that may shrink.

        Returns: one array of shape `(group.channels,)` per group.

        Raises:
            ValueError: if a weight of a group is NaN.
        """
        for group in groups:
            group.check_numbers()
        return [self.group_scores(group) for group in groups]

    def group_scores(self, group: ChannelGroup) -> np.ndarray:
        """Scores of the channels of one group, shape `(group.channels,)`."""
        raise NotImplementedError(
            f"Criterion '{type(self).__name__}' must implement `group_scores` "
            "or `scores`."
        )


def check_none_is_missing(
    model: keras.Model, groups: Sequence[ChannelGroup], needs: str
) -> None:
    """Raises a ValueError for groups that a criterion cannot score.

    Args:
        groups: The groups without what it needs.
        needs: The start of a sentence that goes on "after every layer".
    """
    names = [name for group in groups for name in group.makers]
    if names:
        raise ValueError(
            f"{needs} after every layer that is pruned. Received: model "
            f"'{model.name}', which has none after {names}. Pass these names "
            "in `ignored_layers`, or use another criterion, such as 'l1'."
        )


def name_of(criterion: Any) -> str:
    """What a criterion is called: its name, that of its class or function."""
    if isinstance(criterion, str):
        return criterion
    if isinstance(criterion, FromFunction):
        criterion = criterion.function
    return getattr(criterion, "__name__", type(criterion).__name__)


class FromFunction(Criterion):
    """A function from a group to its scores, as a criterion."""

    def __init__(self, function: Callable[[ChannelGroup], np.ndarray]):
        self.function = function

    def group_scores(self, group: ChannelGroup) -> np.ndarray:
        """What the function returns, shape `(group.channels,)`."""
        return self.function(group)
