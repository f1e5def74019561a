"""Which positions of the input each position along an axis depends on."""

import dataclasses
import math
from collections.abc import Callable, Iterable


@dataclasses.dataclass(frozen=True)
class Strip:
    """An axis without ends: for every position the input it depends on.

    What position `i` depends on begins at `first[i % period]` and ends at
    `last[i % period]`, `shift` further for every whole period in `i`. So the
    phases of transposed convolutions and of upsampling are kept apart.

    Attributes:
        first, last: Positions of the input, for one period.
        shift: By how much these move from one period to the next.
    """

    first: tuple[int, ...]
    last: tuple[int, ...]
    shift: int

    @property
    def period(self) -> int:
        """Positions after which all is the same again, `shift` further."""
        return len(self.first)

    @property
    def size(self) -> int:
        """Positions that the best informed position depends on."""
        spans = zip(self.first, self.last)
        return max(last - first + 1 for first, last in spans)

    def at(self, position: int) -> tuple[int, int]:
        """What a position depends on, from and to."""
        periods, phase = divmod(position, self.period)
        moved = periods * self.shift
        return self.first[phase] + moved, self.last[phase] + moved


INPUT = Strip((0,), (0,), 1)


def window(
    strip: Strip, size: int, stride: int = 1, dilation: int = 1, before: int = 0
) -> Strip:
    """After a convolution or pooling: position `i` reads a window.

    Args:
        strip: The axis before.
        size: Positions in the window.
        stride: From one window to the next.
        dilation: From one position of a window to the next.
        before: Where the window of position 0 begins, to the left of 0.
    """
    period = strip.period // math.gcd(strip.period, stride)

    def reads(position):
        begin = position * stride - before
        return range(begin, begin + size * dilation, dilation)

    return _gathered(
        strip, period, strip.shift * period * stride // strip.period, reads
    )


def spread(
    strip: Strip, size: int, stride: int, dilation: int = 1, before: int = 0
) -> Strip:
    """After a transposed convolution: each position writes to a window.

    Args:
        strip: The axis before.
        size: Positions that one position writes to.
        stride: From the window of one position to that of the next.
        dilation: From one position of a window to the next.
        before: Where the window of position 0 begins, to the left of 0.
    """

    def reads(position):
        taps = (position + before - tap * dilation for tap in range(size))
        found = [tap // stride for tap in taps if tap % stride == 0]
        # Between windows that do not touch there is the bias alone.
        return found or [(position + before) // stride]

    return _gathered(strip, strip.period * stride, strip.shift, reads)


def resampled(strip: Strip, made: int, of: int, reach: int) -> Strip:
    """After interpolation: `made` positions in place of each `of`.

    Args:
        strip: The axis before.
        made, of: The factor, as a fraction.
        reach: Positions read on each side: 1 for linear, 2 for cubic; 0 for
            the nearest alone.
    """
    common = math.gcd(made, of)
    made, of = made // common, of // common
    periods = strip.period // math.gcd(strip.period, of)

    def reads(position):
        # The middle of the position, in the middle of which one?
        numerator, denominator = (2 * position + 1) * of, 2 * made
        if not reach:
            return [numerator // denominator]
        left, rest = divmod(2 * numerator - denominator, 2 * denominator)
        if not rest:
            return [left]
        return range(left - reach + 1, left + reach + 1)

    return _gathered(
        strip,
        made * periods,
        strip.shift * of * periods // strip.period,
        reads,
    )


def merged(strips: Iterable[Strip]) -> Strip | None:
    """Where tensors meet: all that any of them depends on.

    Returns: `None` if they do not move along the input alike.
    """
    strips = list(strips)
    period = math.lcm(*(strip.period for strip in strips))
    shifts = {strip.shift * period // strip.period for strip in strips}
    if len(shifts) > 1:
        return None
    ends = [[strip.at(i) for strip in strips] for i in range(period)]
    return Strip(
        tuple(min(first for first, _ in each) for each in ends),
        tuple(max(last for _, last in each) for each in ends),
        shifts.pop(),
    )


def _gathered(
    strip: Strip,
    period: int,
    shift: int,
    reads: Callable[[int], Iterable[int]],
) -> Strip:
    """Every position with all that the positions it reads depend on."""
    ends = [[strip.at(j) for j in reads(i)] for i in range(period)]
    return Strip(
        tuple(min(first for first, _ in each) for each in ends),
        tuple(max(last for _, last in each) for each in ends),
        shift,
    )
