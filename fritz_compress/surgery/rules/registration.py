"""Rules for layers of the user's own."""

from collections.abc import Callable

import keras

from fritz_compress.checks import check_layer_class
from fritz_compress.surgery.rules.elementwise import user_pointwise
from fritz_compress.surgery.rules.table import Rule, rule


def register_rule(
    layer_class: type[keras.Layer], how: Rule | str | None = None
) -> Callable | None:
    """Teaches the channel labels a layer class of your own.

    Without a rule a layer keeps all channels that it reads and makes, and
    `channel_groups` says so. A later registration replaces an earlier one,
    rules of Keras' own layers included.

    Args:
        layer_class: The class; its subclasses need rules of their own.
        how: `"elementwise"` for a layer without weights that works on each
            number alone; or a function from a `surgery.Call` to a list with
            one `surgery.Value` per output. Left out, a decorator for such a
            function.

    Raises:
        TypeError: if it is not a layer class, or `how` is something else.

    Example:

    >>> register_rule(Gate, "elementwise")
    >>> @register_rule(ChannelScale)
    ... def scale(call):
    ...     call.weight("scale", makes={0: call.channels()})
    ...     return [call.input()]
    """
    check_layer_class(layer_class)
    if how is None:
        return rule(layer_class)
    if how == "elementwise":
        how = user_pointwise
    if not callable(how):
        raise TypeError(
            "`how` must be 'elementwise' or a function that takes a "
            f"`surgery.Call`. Received: {how!r}."
        )
    rule(layer_class)(how)
    return None
