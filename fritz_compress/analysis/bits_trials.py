"""Evaluations of a model with numbers of bits for its layers."""

import functools
import math
import time
from collections.abc import Callable, Sequence

from fritz_compress.analysis.bits_search import Bits
from fritz_compress.analysis.coded_layers import CodedModel
from fritz_compress.analysis.measuring import Measure
from fritz_compress.analysis.sweep import BASELINE, Key, Metrics, Sweep


class Trials:
    """Measures combinations of bits, each once.

    Args:
        measure: What `measuring` yields.
        sweep: What is measured already, and keeps what is.
        coded: The codes of the model.
        on_point: Called after each evaluation, but that of the model as it
            is, with the number done, the number of all as far as is known,
            and the seconds left.
    """

    def __init__(
        self,
        measure: Measure,
        sweep: Sweep,
        coded: CodedModel,
        on_point: Callable[[int, int, float], None] | None,
    ):
        self._measure = measure
        self._sweep = sweep
        self._coded = coded
        self._expected = _expected(coded)
        self._on_point = on_point
        self._asked: set[Key] = set()
        self._evaluated = 0
        self._seconds = 0.0

    @property
    def count(self) -> int:
        """How many combinations were asked for so far."""
        return len(self._asked)

    def metrics(self, combinations: Sequence[Bits]) -> list[Metrics]:
        """The metrics of each combination; what is known is not repeated."""
        points = {
            _key(bits): functools.partial(self._coded.changes, bits)
            for bits in combinations
        }
        measured = self._sweep.measured
        self._asked |= points.keys() & measured.keys()
        missing = {k: v for k, v in points.items() if k not in measured}
        started = time.monotonic()
        for key, metrics in self._measure(missing):
            self._sweep.add(key, metrics)
            self._asked.add(key)
            self._evaluated += 1
            self._seconds += time.monotonic() - started
            started = time.monotonic()
            if key != BASELINE:
                self._report()
        return [measured[key] for key in map(_key, combinations)]

    def _report(self):
        if self._on_point is not None:
            left = max(self._expected - self.count, 0)
            pace = self._seconds / self._evaluated
            self._on_point(self.count, self.count + left, pace * left)


def _expected(coded):
    """How many evaluations there will be, about."""
    choices = sum(map(len, coded.layers.values()))
    numbers = {n for at in coded.layers.values() for n in at}
    halvings = math.ceil(math.log2(choices + 1))
    return 1 + choices + len(numbers) + halvings + 2 * len(coded.layers)


def _key(bits: Bits) -> Key:
    """What a combination is called on disk."""
    coded = {name: n for name, n in bits.items() if n is not None}
    if not coded:
        return BASELINE
    if len(coded) == 1:
        ((name, nbits),) = coded.items()
        return name, float(nbits)
    return " ".join(f"{name}={n}" for name, n in coded.items()), 0.0
