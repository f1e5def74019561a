"""Arguments, checked: what was expected, what was received, how to fix it."""

import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

_LONGEST = 60  # Letters of a value that a message repeats.


def check_count(name: str, value: Any, least: int = 1) -> int:
    """A whole number, Python's or numpy's, as an int.

    Args:
        name: The argument's name, as the user wrote it.
        value: What the user passed.
        least: The smallest number that is allowed.

    Raises:
        TypeError: for what is no whole number, such as 1.5 or `True`.
        ValueError: if it is below `least`.
    """
    if not is_whole(value):
        raise TypeError(
            f"`{name}` must be a whole number, at least {least}. Received: "
            f"{name}={described(value)}."
        )
    if value < least:
        raise ValueError(
            f"`{name}` must be at least {least}. Received: {name}={value}."
        )
    return int(value)


def check_one_of(name: str, value: Any, known: Sequence) -> None:
    """Whether a value is one of a few.

    Args:
        name: The argument's name, as the user wrote it.
        value: What the user passed.
        known: Those that there are.

    Raises:
        ValueError: for another one.
    """
    if value not in known:
        raise ValueError(
            f"`{name}` must be one of {list(known)}. Received: {value!r}."
        )


def check_fraction(
    name: str, value: Any, bounds: str = "[0, 1)", layer: str = ""
) -> None:
    """Whether a value is a fraction, not a percent.

    Args:
        name: The argument's name, as the user wrote it.
        value: What the user passed.
        bounds: The numbers allowed: from 0 to 1, with these (`[`, `]`) or
            without (`(`, `)`).
        layer: Name of the layer whose fraction this is, if of a layer's.

    Raises:
        TypeError: for what is no number.
        ValueError: for a number that is not between the bounds.
    """
    of = f" of layer '{layer}'" if layer else ""
    expected = f"`{name}`{of} must be a fraction in {bounds}, not a percent"
    if not is_number(value):
        raise TypeError(
            f"{expected}. Received: {described(value)}.{_fraction_hint(value)}"
        )
    above = value > 0 or (value == 0 and bounds.startswith("["))
    below = value < 1 or (value == 1 and bounds.endswith("]"))
    if not (above and below):
        raise ValueError(f"{expected}. Received: {name}={value}.")


def check_positive(name: str, value: Any) -> None:
    """Whether a value is a finite number above 0.

    Args:
        name: The argument's name, as the user wrote it.
        value: What the user passed.

    Raises:
        TypeError: for what is no number.
        ValueError: for a number that is not above 0, or infinite.
    """
    expected = f"`{name}` must be a number above 0"
    if not is_number(value):
        raise TypeError(f"{expected}. Received: {name}={described(value)}.")
    if not 0 < value < float("inf"):
        raise ValueError(f"{expected}. Received: {name}={value}.")


def check_fractions(name: str, fractions: Any) -> float | dict[str, float]:
    """One fraction in `[0, 1)` for all layers, or one for each by name.

    Returns: the fraction, or a copy of the mapping.

    Raises:
        TypeError: for what is no number or mapping of such, and for layers
            that are not given by their names.
        ValueError: for a number out of range, or if all are 0.
    """
    of_layers = isinstance(fractions, Mapping)
    for layer, fraction in fractions.items() if of_layers else ():
        check_fraction(name, fraction, layer=check_name(layer))
    if not of_layers:
        check_fraction(name, fractions)
    if not any(fractions.values() if of_layers else [fractions]):
        received = f"{fractions}"
        if of_layers and len(received) > _LONGEST:
            received = f"0 for each of {len(fractions)} layers"
        raise ValueError(
            f"Nothing to prune: `{name}` must be above 0, for one layer at "
            f"least. Received: {name}={received}. Raise it; the fractions "
            "that `SensitivityTable.suggest` returns rise with `max_loss`."
        )
    return dict(fractions) if of_layers else fractions


def check_model(model: Any, name: str = "model") -> None:
    """Whether a value is a model.

    Args:
        model: What the user passed.
        name: The argument's name, as the user wrote it.

    Raises:
        TypeError: if it is none.
    """
    if isinstance(model, keras.Model):
        return
    hint = ""
    if isinstance(model, (str, os.PathLike)):
        hint = " Load the file first, with `keras.saving.load_model`."
    raise TypeError(
        f"`{name}` must be a Keras model. Received: {described(model)}.{hint}"
    )


def check_built(model: keras.Model) -> None:
    """Whether all layers of a model have their weights.

    Raises:
        ValueError: if one has not, with its name.
    """
    missing = [x.name for x in (*model.layers, model) if not x.built]
    if missing:
        raise ValueError(
            f"Model '{model.name}' must be built, so that it has weights. "
            f"Received: a model whose '{missing[0]}' is not built. Call it on "
            "a batch, `model(x)`, or `model.build(input_shape)`, first."
        )


def check_layer_class(layer_class: Any) -> None:
    """Whether a value is a class of layers.

    Raises:
        TypeError: if it is none, but a layer for example.
    """
    if isinstance(layer_class, type) and issubclass(layer_class, keras.Layer):
        return
    raise TypeError(
        "`layer_class` must be a subclass of keras.Layer. Received: "
        f"{layer_class!r}. Pass the class, not a layer."
    )


def check_name(name: Any) -> str:
    """The name of a layer, if it is one.

    Raises:
        TypeError: for a layer in its place, or anything else.
    """
    if not isinstance(name, str):
        raise TypeError(
            "Layers must be given by their name. Received: "
            f"{described(name)}. Pass the string, such as `layer.name`."
        )
    return name


def check_names(name: str, layers: Any) -> tuple[str, ...]:
    """Names of layers as a tuple.

    Args:
        name: The argument's name, as the user wrote it.
        layers: What the user passed.

    Raises:
        TypeError: for layers in place of names, or what is no list.
        ValueError: for a string, which is a sequence of letters.
    """
    expected = f"`{name}` must be a list of layer names"
    if isinstance(layers, str):
        raise ValueError(
            f"{expected}. Received: the string '{layers}'. Pass ['{layers}']."
        )
    if not isinstance(layers, Iterable):
        raise TypeError(f"{expected}. Received: {described(layers)}.")
    layers = tuple(layers)
    for layer in layers:
        if not isinstance(layer, str):
            raise TypeError(
                f"{expected}. Received: {described(layer)} among them. Pass "
                "the string, such as `layer.name`."
            )
    return layers


def check_numbers(name: str, values: Any, expected: str) -> list:
    """One number or several, as a list.

    Args:
        name: The argument's name, as the user wrote it.
        values: What the user passed.
        expected: What it should be, for the message: "fractions in (0, 1)".

    Raises:
        TypeError: for what is neither a number nor a list.
        ValueError: for an empty list.
    """
    if is_number(values):
        return [values]
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(
            f"`{name}` must be a list of {expected}. Received: "
            f"{described(values)}."
        )
    values = list(values)
    if not values:
        raise ValueError(
            f"`{name}` must be at least one. Received: an empty list."
        )
    return values


def is_whole(value: Any) -> bool:
    """Whether a value is an integer; booleans are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a real number; booleans are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_no_nan(name: str, data: Any) -> None:
    """Whether arrays of floats hold numbers alone.

    Args:
        name: What to call them, at the start of a sentence.
        data: Arrays in any structure; what is no array of floats passes.

    Raises:
        ValueError: for NaN, with the first sample that holds it.
    """
    for array in keras.tree.flatten(data):
        if "float" not in str(getattr(array, "dtype", "")):
            continue
        array = keras.ops.convert_to_numpy(array)
        # The minimum is NaN if one is, and needs no memory of the array's size.
        if array.size and np.isnan(array.min()):
            sample = np.argwhere(np.isnan(array))[0]
            raise ValueError(
                f"{name} must hold numbers. Received: NaN in sample "
                f"{sample[0] if sample.size else 0}, the first of those that "
                "have it. Leave such samples out, or fill them in."
            )


def described(value: Any) -> str:
    """A value in a message: itself if it is short, else its class."""
    name = getattr(value, "name", None)
    if isinstance(name, str):
        return f"{type(value).__name__} '{name}'"
    if hasattr(value, "suggest"):  # A SensitivityTable is a long text.
        return f"a {type(value).__name__}"
    text = repr(value)
    if len(text) > _LONGEST or "\n" in text or text.startswith("<"):
        return f"a value of type {type(value).__name__}"
    return text


def _fraction_hint(value):
    if hasattr(value, "suggest"):
        return (
            " Pass the fractions it suggests: `table.suggest(max_loss=0.01)`."
        )
    if isinstance(value, str):
        return " Pass the number, without quotes."
    return ""
