"""What is remembered of the numbers that pass a place of a network."""

import numpy as np

BINS = 2048
SHARES = np.linspace(0.05, 1, 96)  # Of the full range, that are tried.
LEVELS = 255
# How often a method must see the data.
METHODS = {"minmax": 1, "average": 1, "percentile": 2, "least_squares": 2}


class Histogram:
    """Ends of the numbers of each sample; on a second pass, counts between.

    Zero belongs to every range.
    """

    def __init__(self):
        self._lows: list[np.ndarray] = []
        self._highs: list[np.ndarray] = []
        self._counts: np.ndarray | None = None

    def start_counting(self) -> None:
        """From here on the same numbers come again, to be counted."""
        self._counts = np.zeros(BINS, "int64")
        self._edges = np.linspace(*self._extremes(), BINS + 1)

    def add(self, values: np.ndarray) -> None:
        """Takes numbers in.

        Args:
            values: A batch of samples.
        """
        if self._counts is None:
            rows = values.reshape(len(values), -1)
            self._lows.append(np.minimum(rows.min(axis=1), 0))
            self._highs.append(np.maximum(rows.max(axis=1), 0))
        else:
            self._counts += np.histogram(values, self._edges)[0]

    def ends(self, method: str, percentile: float) -> tuple[float, float]:
        """The range that a method makes of what was seen.

        Args:
            method: A key of `METHODS`.
            percentile: Percent of the numbers inside, for `"percentile"`.
        """
        if method == "average":
            low = np.mean(np.concatenate(self._lows), dtype="float64")
            high = np.mean(np.concatenate(self._highs), dtype="float64")
            return float(low), float(high)
        if method == "percentile":
            return self._percentile(percentile)
        if method == "least_squares":
            return self._least_squares()
        return self._extremes()

    def _extremes(self):
        low = min(float(rows.min()) for rows in self._lows)
        high = max(float(rows.max()) for rows in self._highs)
        return low, high if high > low else low + 1.0

    def _percentile(self, percentile):
        """Leaves out half of the rest at each end that is not zero."""
        low, high = self._extremes()
        total = np.cumsum(self._counts) / self._counts.sum()
        outside = (1 - percentile / 100) / (1 + (low < 0 < high))
        first = int(np.searchsorted(total, outside, "right")) if low < 0 else 0
        last = BINS
        if high > 0:
            last = int(np.searchsorted(total, 1 - outside)) + 1
        edges = self._edges
        return min(float(edges[first]), 0.0), max(float(edges[last]), 0.0)

    def _least_squares(self):
        """Shrinks both ends alike, as far as the error falls."""
        low, high = self._extremes()
        centers = (self._edges[1:] + self._edges[:-1]) / 2

        def error(share):
            step = share * (high - low) / LEVELS
            rounded = np.clip(
                np.rint(centers / step),
                np.rint(share * low / step),
                np.rint(share * high / step),
            )
            return np.sum(self._counts * (centers - rounded * step) ** 2)

        best = min(SHARES, key=error)
        return float(best * low), float(best * high)
