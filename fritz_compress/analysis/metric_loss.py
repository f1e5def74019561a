"""By how much a metric became worse, and by how much it may."""

import math
from typing import Any

from fritz_compress.checks import described, is_number


def metric_loss(value: float, baseline: float, mode: str) -> float:
    """By how much a metric is worse than a baseline, in its unit.

    Negative where it is better; infinite where it is not a number.

    Args:
        value: The metric.
        baseline: What it is compared with.
        mode: `"max"` if a larger metric is better, else `"min"`.
    """
    loss = baseline - value if mode == "max" else value - baseline
    return math.inf if math.isnan(loss) else loss


def check_max_loss(max_loss: Any) -> None:
    """Whether a value is a loss that can be allowed.

    Raises:
        TypeError: for what is no number.
        ValueError: if it is negative or NaN.
    """
    expected = "`max_loss` must be 0 or more, in the unit of the metric"
    if not is_number(max_loss):
        raise TypeError(f"{expected}. Received: {described(max_loss)}.")
    if not max_loss >= 0:
        raise ValueError(f"{expected}. Received: max_loss={max_loss}.")


def loss_limit(max_loss: float, baseline: float) -> float:
    """What a `metric_loss` is compared with: `max_loss`, and rounding."""
    # A metric is a float32 mean: equal ones differ in the last digits.
    return max_loss + 1e-6 * max(1.0, abs(baseline))
