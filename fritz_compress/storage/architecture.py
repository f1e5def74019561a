"""A model's configuration as text, and a model from text one does not trust."""

import importlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from fritz_compress.graph import flatten_layers

DEEPEST = 128  # Objects inside each other.
MOST_OBJECTS = 2**17
LONGEST_REASON = 200  # Letters of what Keras says.
# Of our own package, what registers objects that belong into models.
OWN_PARTS = ("layers", "losses", "quantization", "quantizers")
VALUES = ("__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__")
VALUES += ("__slice__", "__tensor__")
CODE = ("Lambda", "__lambda__")
# What these take from elsewhere, or as large as an argument says.
FORBIDDEN = {
    **dict.fromkeys(
        ("TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"),
        "runs code that is not Keras'",
    ),
    **dict.fromkeys(
        ("IndexLookup", "IntegerLookup", "StringLookup", "TextVectorization"),
        "has a vocabulary, which is not stored",
    ),
    **dict.fromkeys(
        ("FeatureSpace", "MelSpectrogram", "STFTSpectrogram"),
        "builds tables that are not weights",
    ),
}
Objects = Mapping[str, Any] | None


def to_text(model: keras.Model) -> str:
    """The configuration of a model as compact JSON, without the compilation.

    Raises:
        ValueError: for a model that keeps more than weights, or has no
            configuration.
    """
    for layer in flatten_layers(model):
        _check_state(layer)
    try:
        config = json.loads(model.to_json())
    except Exception as error:
        raise ValueError(
            f"Model '{model.name}' has no configuration that can be stored: "
            f"{error} Give its own layers a `get_config`."
        ) from error
    for part in _parts(config):
        if isinstance(part, dict):
            part.pop("compile_config", None)
    return json.dumps(config, separators=(",", ":"))


def checked(
    text: str, custom_objects: Objects = None, safe_mode: bool = True
) -> dict:
    """The configuration in a text, if it names only what may be built.

    Raises:
        ValueError: for what is no configuration, or one with code, files or
            unknown classes.
    """
    if text.count("{") + text.count("[") > MOST_OBJECTS:
        raise ValueError(
            f"its architecture has more than {MOST_OBJECTS} objects and lists"
        )
    try:
        config = json.loads(text)
        parts = list(_parts(config))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its architecture is no JSON: {error}") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError("its architecture is not that of a model")
    for part in parts:
        if isinstance(part, dict) and "class_name" in part:
            _check_object(part, custom_objects or {}, safe_mode)
    return config


def weight_shapes(
    text: str, custom_objects: Objects = None, safe_mode: bool = True
) -> list[tuple[tuple[int, ...], str]]:
    """Shape and dtype of each weight that a model would have.

    No weight is made: that of a hostile file may exceed the memory.

    Args:
        text: The configuration, `checked` before.

    Raises:
        ValueError: if no model can be built.
    """
    found = []

    def build():
        try:
            with _NoWeights(initialize_variables=False):
                model = _deserialized(text, custom_objects, safe_mode)
            found.append([(tuple(w.shape), _dtype(w)) for w in model.weights])
        except Exception as error:
            found.append(error)

    # Keras lists such variables per thread, to make them later.
    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise _unbuildable(found[0]) from found[0]
    return found[0]


def build(
    text: str, custom_objects: Objects = None, safe_mode: bool = True
) -> keras.Model:
    """The model of a text whose `weight_shapes` are known to be right.

    Raises:
        ValueError: if it can not be built.
    """
    try:
        return _deserialized(text, custom_objects, safe_mode)
    except Exception as error:
        raise _unbuildable(error) from error


def set_weights(model: keras.Model, arrays: Sequence[Any]) -> None:
    """Gives a model its weights, and layers what they derive from them."""
    for weight, array in zip(model.weights, arrays, strict=True):
        weight.assign(array)
    for layer in flatten_layers(model):
        # Normalization and Discretization keep what `adapt` found twice.
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


class _NoWeights(keras.StatelessScope):
    """Variables are made without values, and must not be read."""

    def get_current_value(self, variable):
        value = super().get_current_value(variable)
        if value is None and variable.shape and max(variable.shape) > 2**16:
            raise ValueError(
                f"{variable.path} of shape {tuple(variable.shape)} is read "
                "while the model is built"
            )
        return value


def _deserialized(text, custom_objects, safe_mode):
    model = keras.saving.deserialize_keras_object(
        json.loads(text),
        custom_objects=dict(custom_objects or {}),
        safe_mode=safe_mode,
    )
    if not isinstance(model, keras.Model):
        raise ValueError(f"a {type(model).__name__} is no model")
    return model


def _dtype(weight):
    return keras.backend.standardize_dtype(weight.dtype)


def _unbuildable(error):
    # Keras repeats the whole configuration around what first went wrong.
    while error.__context__ is not None:
        error = error.__context__
    reason = " ".join(str(error).split())
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]}..."
    return ValueError(f"its architecture can not be built: {reason}")


def _parts(config):
    """All dicts and lists in a configuration.

    Raises:
        ValueError: if they are nested too deeply.
    """
    level = [config]
    for _ in range(DEEPEST):
        yield from level
        inside = []
        for part in level:
            values = part.values() if isinstance(part, dict) else part
            inside += [v for v in values if isinstance(v, (dict, list))]
        level = inside
    if level:
        raise ValueError(f"objects nested deeper than {DEEPEST}")


def _check_object(part, custom_objects, safe_mode):
    name, module = part["class_name"], part.get("module")
    registered = part.get("registered_name")
    if not all(isinstance(n, str | None) for n in (name, module, registered)):
        raise ValueError("its architecture has a class without a name")
    if name in VALUES or name in custom_objects or registered in custom_objects:
        return
    if name in CODE:
        if safe_mode:
            raise ValueError(
                f"its architecture has Python code in it ({name}), which "
                "runs when it is loaded. If you trust who wrote the file, "
                "pass `safe_mode=False`"
            )
        return
    if name in FORBIDDEN:
        raise ValueError(f"a {name} can not be stored: it {FORBIDDEN[name]}")
    package = (module or "").split(".")[0]
    own = (registered or "").startswith("fritz_compress>")
    if own and package == "fritz_compress":
        _import_own(module)
    elif package not in ("keras", "builtins"):
        raise ValueError(
            f"its architecture needs the class {registered or name!r} of "
            f"module {module!r}. Pass `custom_objects={{{name!r}: {name}}}`"
        )


def _import_own(module):
    part = module.split(".")[1:2]
    if part and part[0] in OWN_PARTS:
        try:
            importlib.import_module(f"fritz_compress.{part[0]}")
        except ModuleNotFoundError as error:
            raise ValueError(f"this release has no {module}") from error


def _check_state(layer):
    name = type(layer).__name__
    reason = FORBIDDEN.get(name)
    for method in ("save_own_variables", "save_assets"):
        function = getattr(type(layer), method, None)
        if function and function.__module__.split(".")[0] != "keras":
            reason = f"stores more than weights, in its `{method}`"
    if reason:
        raise ValueError(
            f"Layer '{layer.name}' can not be stored: a {name} {reason}. Use "
            "`model.save`, or take the layer out of the model."
        )
