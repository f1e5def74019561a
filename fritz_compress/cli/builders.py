"""Every network of `models`, built by its name."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

import keras

from fritz_compress import models

# What `build` is called in Python is not always its name as an option.
OPTIONS = {
    "checkpoint_file": "--weights",
    "classifier_activation": "--logits",
    "include_top": "--top",
}
BUILDERS = {
    name: getattr(models, name)
    for name in models.__all__
    if hasattr(getattr(models, name), "build")
    and name not in ("ImageClassifier", "VGG16Features")
}


def build_by_name(name: str, arguments: Mapping[str, Any]) -> keras.Model:
    """Any network of `models`, by the name of its class in any case.

    Args:
        name: Such as "MobileNetV2".
        arguments: Of its `build`.

    Raises:
        ValueError: for another name, for an argument that the network does
            not have, and as its `build`.
    """
    known = {builder.lower(): builder for builder in BUILDERS}
    if name.lower() not in known:
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f" Did you mean {known[close[0]]}?" if close else ""
        raise ValueError(
            f"A network is one of {', '.join(BUILDERS)}. Received: '{name}'."
            f"{hint}"
        )
    builder = BUILDERS[known[name.lower()]]
    allowed = _arguments(builder)
    for argument in arguments:
        if argument not in allowed:
            raise ValueError(
                f"{builder.__name__} has no {_option(argument)}. It takes "
                f"{', '.join(map(_option, allowed))}."
            )
    defaults = {} if allowed["image_size"] else {"image_size": None}
    try:
        return builder.build(**(defaults | dict(arguments)))
    except ImportError as error:  # Weights that come with an extra.
        raise ValueError(str(error)) from error


def _arguments(builder: type) -> dict[str, bool]:
    """Arguments of `build`, and whether they have a default.

    Those of base classes that it hands on as keywords are among them.
    """
    found: dict[str, bool] = {}
    for base in builder.__mro__:
        if "build" in vars(base):
            parameters = inspect.signature(base.build).parameters.values()
            for parameter in parameters:
                if parameter.kind is not parameter.VAR_KEYWORD:
                    has_default = parameter.default is not parameter.empty
                    found.setdefault(parameter.name, has_default)
    del found["input_tensor"]
    return found


def _option(argument: str) -> str:
    return OPTIONS.get(argument, f"--{argument.replace('_', '-')}")
