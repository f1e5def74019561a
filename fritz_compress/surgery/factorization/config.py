"""How the kernel of a layer is factorized."""

import dataclasses
from collections.abc import Sequence

from fritz_compress.checks import check_count, check_fraction, check_one_of
from fritz_compress.surgery.factorization.methods import METHODS

BAYESIAN = "vbmf"


@dataclasses.dataclass(frozen=True)
class FactorizationConfig:
    """How the kernel of a layer is factorized.

    | method        | of        | becomes                                     |
    |---------------|-----------|---------------------------------------------|
    | `"svd"`       | `Dense`   | two `Dense`                                 |
    | `"toeplitz"`  | `Dense`   | `layers.ToeplitzLikeDense`                  |
    | `"channel"`   | `Conv`    | the kernel of fewer filters, 1x1            |
    | `"spatial"`   | `Conv2D`  | a column, a row                             |
    | `"tucker"`    | `Conv`    | 1x1, the kernel of fewer channels, 1x1      |
    | `"cp"`        | `Conv2D`  | 1x1, a depthwise column and row, 1x1        |
    | `"separable"` | `Conv1D`, | depthwise, 1x1                              |
    |               | `Conv2D`  |                                             |

    The rank is a number of filters in between; of a pair for `"tucker"` the
    inputs and outputs of the small kernel, for `"separable"` the depth
    multiplier, for `"toeplitz"` the displacement rank. It is one of

    - `rank`, if it is given;
    - the smallest that keeps a share `energy` of the squared kernel;
    - what a budget for the whole model leaves to the layer;
    - what variational Bayes takes for more than noise, the default.

    Attributes:
        method: A row of the table. By default "svd" and "channel".
        rank: A number, a pair for "tucker" (of which one number stands for
            two of its size), or "vbmf" for variational Bayes, which a budget
            does not overrule then.
        energy: A fraction in `(0, 1]`.

    Raises:
        TypeError, ValueError: for a value that is not as described, or both
            a rank and an energy.

    Example:

    >>> FactorizationConfig("spatial", energy=0.9)
    """

    method: str | None = None
    rank: int | tuple[int, int] | str | None = None
    energy: float | None = None

    def __post_init__(self):
        check_one_of("method", self.method, (None, *METHODS))
        if isinstance(self.rank, str):
            check_one_of("rank", self.rank, (BAYESIAN,))
        elif isinstance(self.rank, Sequence):
            for number in self.rank:
                check_count("rank", number)
            object.__setattr__(self, "rank", tuple(map(int, self.rank)))
        elif self.rank is not None:
            object.__setattr__(self, "rank", check_count("rank", self.rank))
        if self.energy is not None:
            check_fraction("energy", self.energy, "(0, 1]")
        if self.rank is not None and self.energy is not None:
            raise ValueError(
                "The rank is given, or chosen by energy. Received: "
                f"rank={self.rank!r} and energy={self.energy}. Leave one out."
            )
