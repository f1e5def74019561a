"""Costs of layers of the user's own."""

from collections.abc import Callable

import keras

from fritz_compress.checks import check_layer_class
from fritz_compress.costs.table import Rule, rule


def register_cost(
    layer_class: type[keras.Layer], how: Rule | None = None
) -> Callable[[Rule], Rule] | None:
    """Tells `profile` what a layer class of your own computes.

    Without a rule a layer counts like the class that it extends; one that
    extends `keras.Layer` alone is not counted, and the profile says so. A
    later registration replaces an earlier one.

    Args:
        layer_class: The class, with its subclasses.
        how: A function from an `analysis.Call` to an `analysis.Cost`. Left
            out, a decorator for such a function.

    Raises:
        TypeError: if it is not a layer class, or `how` is no function.

    Example:

    >>> @register_cost(ChannelScale)
    ... def scale(call):
    ...     return Cost(others=call.outputs)
    """
    check_layer_class(layer_class)
    if how is None:
        return rule(layer_class)
    if not callable(how):
        raise TypeError(
            "`how` must be a function that takes an `analysis.Call`. "
            f"Received: {how!r}."
        )
    rule(layer_class)(how)
    return None
