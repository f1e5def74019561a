"""A metric that has to be good enough."""

from collections.abc import Mapping

import numpy as np

from fritz_compress.checks import described, is_number

# Parts of the names of metrics, for `mode="auto"`; first those of which 1 is
# the best there is.
_UP_TO_ONE = ("acc", "auc", "precision", "recall", "iou", "f1")
_LARGER_IS_BETTER = (*_UP_TO_ONE, "psnr")
_SMALLER_IS_BETTER = ("loss", "error", "mae", "mse", "entropy")
_MODES = ("auto", "max", "min")


class MetricFloor:
    """Tells whether a metric in the logs of an epoch has reached a value.

    Args:
        monitor: Name of the metric.
        floor: The value: the least one if more is better, else the largest.
        mode: `"max"` if more is better, `"min"` if less is, `"auto"` to tell
            by the name.

    Attributes:
        best: The best value that was read, `None` before the first.

    Raises:
        ValueError: for an unknown mode, a floor that is no number or that the
            metric cannot reach, or a name that does not tell.
    """

    def __init__(self, monitor: str, floor: float, mode: str = "auto"):
        if mode not in _MODES:
            raise ValueError(
                f"`mode` must be one of {list(_MODES)}. Received: "
                f"mode={mode!r}."
            )
        if not is_number(floor) or np.isnan(floor):
            raise ValueError(
                f"`floor` must be a value of '{monitor}', a number. "
                f"Received: floor={described(floor)}."
            )
        self.monitor = monitor
        self.floor = floor
        self.larger_is_better = _larger_is_better(monitor, mode)
        if self.larger_is_better:
            _check_no_percent(monitor, floor)
        self.best: float | None = None

    def read(self, logs: Mapping[str, float]) -> float:
        """The metric in the logs.

        Raises:
            ValueError: if it is not there, with the names that are.
        """
        if self.monitor not in logs:
            raise ValueError(
                f"The logs of an epoch must hold monitor='{self.monitor}'. "
                f"Received: {sorted(logs)}. Monitor one of these, add the "
                "metric to `compile`, or pass `validation_data` to `fit`, with "
                "`epochs_per_step` a multiple of `validation_freq`."
            )
        metric = float(logs[self.monitor])
        if self.best is None or self._is_better(metric, self.best):
            self.best = metric
        return metric

    def is_reached(self, metric: float) -> bool:
        """Whether a value is the floor or better; never for NaN."""
        return metric == self.floor or self._is_better(metric, self.floor)

    def _is_better(self, metric, other):
        return metric > other if self.larger_is_better else metric < other


def _check_no_percent(monitor, floor):
    name = monitor.lower()
    own_unit = "percent" in name or "pct" in name
    if floor > 1 and not own_unit and any(p in name for p in _UP_TO_ONE):
        hint = f", such as {floor / 100:g}" if floor <= 100 else ""
        raise ValueError(
            f"`floor` must be a value that '{monitor}' can reach, 1 at most. "
            f"Received: floor={floor}. Pass a fraction, not a percent{hint}."
        )


def _larger_is_better(monitor, mode):
    if mode != "auto":
        return mode == "max"
    name = monitor.lower()
    if any(part in name for part in _LARGER_IS_BETTER):
        return True
    if any(part in name for part in _SMALLER_IS_BETTER):
        return False
    raise ValueError(
        "The name of the metric must tell whether more of it is better. "
        f"Received: monitor='{monitor}'. Pass mode='max' or mode='min'."
    )
