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


def divisible(filters: int, alpha: float, layer: str, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `alpha * filters`.

    Halfway it is the larger one, and so it is where the nearest would be less
    than 90% of what was asked for. That is the rule of MobileNetV2.

    Args:
        filters: Channels at `alpha` 1.0.
        alpha: Width multiplier, positive.
        layer: Name used in the error.
        divisor: What the width must be a multiple of.

    Raises:
        ValueError: if `alpha` is not a positive number, or leaves the layer
            less than one filter before it is rounded.

    Example:

    >>> [divisible(32, alpha, "stem") for alpha in (0.35, 0.5, 1.3)]
    [16, 16, 40]
    """
    scaled(filters, alpha, layer)
    wanted = alpha * filters
    nearest = int(wanted + divisor / 2) // divisor * divisor
    width = max(divisor, nearest)
    return width + divisor if width < 0.9 * wanted else width
