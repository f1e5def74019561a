"""Arguments of layers that a configuration cannot hold."""

import types
from collections.abc import Mapping
from typing import Any

import keras

_PENALTIES = (keras.constraints.Constraint, keras.regularizers.Regularizer)


def without_a_name(
    operation: keras.Operation, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Functions and objects among a layer's arguments, themselves.

    No name in the configuration finds them again.
    """
    values = {name: getattr(operation, name, None) for name in config}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, types.FunctionType)
        or isinstance(value, _PENALTIES)
        and not _is_registered(type(value))
    }


def _is_registered(kind):
    name = keras.saving.get_registered_name(kind)
    return (
        kind.__module__.split(".")[0] == "keras"
        or keras.saving.get_registered_object(name) is kind
    )
