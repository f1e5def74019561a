"""The only place that rounds a number of channels."""

import math


def kept_channels(channels: int, wanted: float, round_to: int) -> int:
    """Channels to keep: `wanted`, rounded up to a multiple of `round_to`.

    Never fewer than `round_to`, and never more than there are.

    Args:
        channels: How many there are.
        wanted: How many to keep at least, in `[0, channels]`.
        round_to: Multiples that run fast on the target, 4 for most phones.

    Example: a quarter less of 9, in multiples of 4.

    >>> kept_channels(9, 6.75, round_to=4)
    8
    >>> kept_channels(9, 8.5, round_to=4)  # 12 is more than there are.
    9
    """
    # The small number absorbs the error of products such as 0.9 * 10.
    multiples = max(1, -int(-(wanted - 1e-9) // round_to))
    return min(channels, multiples * round_to)


def whole_channels(channels: int, fraction: float) -> int:
    """Channels that are left without a fraction: `channels * (1 - fraction)`.

    Rounded down, so that at least the fraction goes.

    Reference: this rule gives the parameter counts of Li et al., "Pruning
    Filters for Efficient ConvNets", https://arxiv.org/abs/1608.08710, table 1.

    Example: `16 * 0.9` is 14.4.

    >>> whole_channels(16, 0.1)
    14
    """
    # The small number absorbs the error of products such as 0.7 * 10.
    return math.floor(channels * (1 - fraction) + 1e-9)
