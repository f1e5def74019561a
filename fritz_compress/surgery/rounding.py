"""The only place that rounds a number of channels."""


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
