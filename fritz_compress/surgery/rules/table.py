"""The table of rules: `@rule(SomeLayer)` enters one."""

from collections.abc import Callable

import keras

from fritz_compress.surgery.call import Call
from fritz_compress.surgery.values import Value

Rule = Callable[[Call], list[Value]]

_RULES: dict[type | str, Rule] = {}


def rule(*kinds: type | str) -> Callable[[Rule], Rule]:
    """Enters the decorated rule in the table.

    Args:
        *kinds: Layer classes, or class names of operations of Keras that have
            no public class, such as `"Add"` for `keras.ops.add`; for layers
            of KerasHub, which need not be installed, such as
            `"keras_hub>ViTEncoder"`. A subclass is not covered by the rule of
            its base class, as it may compute something else.
    """

    def enter(function):
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return enter


def find_rule(operation: keras.Operation) -> Rule | None:
    """The rule of an operation, `None` if there is none."""
    kind = type(operation)
    if kind in _RULES:
        return _RULES[kind]
    package = kind.__module__.split(".")[0]
    if package == "keras":
        return _RULES.get(kind.__name__)
    return _RULES.get(f"{package}>{kind.__name__}")


def channel_axis(layer: keras.Layer) -> int:
    """Axis of the channels, by the layer's `data_format`."""
    if getattr(layer, "data_format", None) == "channels_first":
        return 1
    return -1
