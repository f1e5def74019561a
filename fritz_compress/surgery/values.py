"""What is known about a tensor: labels along its axes."""

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Strand:
    """Labels along one axis of a tensor, one per position.

    Attributes:
        labels: Integers of `surgery.labels.Labels`.
        revived: Zero where a channel whose weights are zeroed still is zero,
            else the number of the operation that makes something else of it.
    """

    labels: np.ndarray
    revived: np.ndarray

    def revived_by(self, number: int) -> "Strand":
        """The same labels, none of which stays zero; 0 changes nothing."""
        if not number:
            return self
        return Strand(self.labels, np.full_like(self.revived, number))

    def repeated(self, times: int) -> "Strand":
        """Every position so many times in a row."""
        return Strand(
            np.repeat(self.labels, times), np.repeat(self.revived, times)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """Labels of a tensor along those of its axes that may shrink.

    Attributes:
        strands: By axis, counted from 0. Axes that are missing stay.
        stays: Why the rest stays, for messages.
    """

    strands: Mapping[int, Strand] = dataclasses.field(default_factory=dict)
    stays: str = "positions that nothing removes"
