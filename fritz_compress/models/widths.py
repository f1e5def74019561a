"""The only place that turns a width multiplier into a channel count."""

import math
import numbers


def scaled(filters: int, alpha: float, layer: str) -> int:
    """`int(alpha * filters)`, the width of a layer at a width multiplier.

    Args:
        filters: Channels at `alpha` 1.0.
        alpha: Width multiplier, positive.
        layer: Name used in the error.

    Raises:
        ValueError: if `alpha` is not a positive number, or leaves the layer
            without filters.
    """
    if not isinstance(alpha, numbers.Real) or not 0 < alpha < math.inf:
        raise ValueError(
            "`alpha` is a width multiplier and must be positive. "
            f"Received: alpha={alpha!r}."
        )
    width = int(alpha * filters)
    if width < 1:
        raise ValueError(
            f"`alpha` must leave every layer at least one filter. Received: "
            f"alpha={alpha}, which leaves layer '{layer}' "
            f"int({alpha} * {filters}) = 0. Use at least alpha=1/{filters}."
        )
    return width
