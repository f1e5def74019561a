"""Which layer gets how many bits: a search that measures what it returns."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

# How loss grows with noise. The second order of a Taylor series says 1; the
# loss of an accuracy is steeper: little noise changes no decision.
POWER = 1.5
# Bits by the name of the layer; `None` leaves it as it is.
Bits = dict[str, int | None]


@dataclasses.dataclass(frozen=True)
class Option:
    """One layer with a number of bits.

    Attributes:
        nbits: Bits of a code; `None` for the layer as it is.
        bytes: What its weights take.
        loss: By how much the metric is worse if this layer alone is so.
        noise: Squared error of its weights over their squares.
    """

    nbits: int | None
    bytes: int
    loss: float
    noise: float


def fewest_bytes(
    options: Mapping[str, Sequence[Option]],
    starts: Sequence[Bits],
    limit: float,
    loss_of: Callable[[Bits], float],
) -> Bits:
    """Bits for every layer that together lose no more than a limit.

    What a combination loses is guessed to be the sum of what its layers lose
    alone, and that to grow with a power of the noise of their weights: one
    factor for each layer is fitted to all its losses. A single small loss is
    mostly chance, a sample more or less. Between layers that lose nothing
    noise decides: what is as strong as the weights counts as the limit.

    Args:
        options: Of each layer, one of them the layer as it is, which loses
            nothing. Options whose own loss is above the limit are left out.
        starts: Combinations to begin from as well, so that the result takes
            no more bytes than the best of them.
        limit: The largest loss that is allowed.
        loss_of: Measures the loss of a combination; nothing if all layers
            are as they are.

    Returns: a combination whose measured loss is not above the limit, and of
    which no layer can take the next fewer bits, by measurement.
    """
    search = _Search(options, limit, loss_of)
    within = [bits for bits in starts if search.is_within(bits)]
    begins = [search.first_within()]
    if within:
        begins.append(min(within, key=search.bytes_of))
    # The one that takes fewer bytes now need not be the one that does later.
    return min(map(search.lowered, begins), key=search.bytes_of)


class _Search:
    def __init__(self, options, limit, loss_of):
        self._limit = limit
        self._loss_of = loss_of
        self._factors = {
            name: max(_factor(of_layer), 0.0)
            for name, of_layer in options.items()
        }
        self._options = {
            name: {option.nbits: option for option in of_layer}
            for name, of_layer in options.items()
        }
        self._allowed = {
            name: self._by_bytes(of_layer) for name, of_layer in options.items()
        }

    def is_within(self, bits):
        return self._loss_of(bits) <= self._limit

    def bytes_of(self, bits):
        return sum(
            self._options[name][nbits].bytes for name, nbits in bits.items()
        )

    def first_within(self):
        """The fewest bits within the limit on the way from few to all.

        The way leads to the layer that gains most per byte with more bits,
        again and again: all combinations on it are the best for their bytes,
        if losses add up. It is halved until its first good one is found.
        """
        bits = {name: way[0].nbits for name, way in self._allowed.items()}
        steps = sorted(
            (step for name in bits for step in self._steps(name)),
            key=lambda step: -step[0],
        )
        ways = [bits]
        for _, name, option in steps:
            ways.append(ways[-1] | {name: option.nbits})
        above, within = -1, len(ways) - 1
        tried = 0  # The cheapest of all first.
        while within - above > 1:
            if self.is_within(ways[tried]):
                within = tried
            else:
                above = tried
            tried = (above + within) // 2
        return ways[within]

    def lowered(self, bits):
        """Fewer bits, layer by layer, as long as that is within the limit."""
        final: set[str] = set()
        while True:
            moves = [
                (self._price(name, lower, bits), name, lower.nbits)
                for name, lower in self._next_lower(bits)
                if name not in final
            ]
            if not moves:
                return bits
            _, name, nbits = min(moves, key=lambda move: move[0])
            fewer = bits | {name: nbits}
            if self.is_within(fewer):
                bits = fewer
            else:
                final.add(name)

    def _by_bytes(self, options):
        """Those that may be taken, bytes rising; of equal ones the best."""
        best = {}
        for option in options:
            kept = best.get(option.bytes, option)
            if option.loss <= self._limit:
                best[option.bytes] = min(
                    kept, option, key=lambda option: option.noise
                )
        return [best[size] for size in sorted(best)]

    def _steps(self, name):
        """From the fewest bytes to all: gain per byte, the name, an option.

        Gains fall from step to step, as what gains more comes first.
        """
        here, *more = self._allowed[name]
        while more:
            gains = [self._price(name, here, {name: o.nbits}) for o in more]
            best = max(range(len(more)), key=gains.__getitem__)
            yield gains[best], name, more[best]
            here, *more = more[best:]

    def _price(self, name, lower, bits):
        """What is lost per byte that a lower option saves, guessed."""
        here = self._options[name][bits[name]]
        loss = self._guess(name, lower) - self._guess(name, here)
        return loss / (here.bytes - lower.bytes)

    def _guess(self, name, option):
        """What is lost with an option."""
        loss = self._factors[name] * option.noise**POWER
        return loss + self._limit * option.noise

    def _next_lower(self, bits):
        for name, allowed in self._allowed.items():
            here = self._options[name][bits[name]].bytes
            lower = [option for option in allowed if option.bytes < here]
            if lower:
                yield name, lower[-1]


def _factor(options):
    """Between loss and the power of noise: least squares."""
    pairs = [(o.loss, o.noise**POWER) for o in options if o.loss < math.inf]
    squares = sum(noise * noise for _, noise in pairs)
    products = sum(loss * noise for loss, noise in pairs)
    return products / squares if squares else 0.0
