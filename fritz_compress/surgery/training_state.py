"""Compile settings and optimizer state, from a model to its smaller copy."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress.surgery.names import name_layers

Cutters = Mapping[int, Callable[[np.ndarray], np.ndarray]]


def check_optimizer(model: keras.Model) -> None:
    """Raises a ValueError if a model has no optimizer state to carry."""
    if not model.compiled or model.optimizer is None:
        problem, remedy = "is not compiled", "Compile and train it"
    elif not model.optimizer.built:
        problem, remedy = "has an optimizer without state", "Train it"
    else:
        return
    raise ValueError(
        "With `optimizer_state=True` the model must have been trained. "
        f"Received: model '{model.name}', which {problem}. {remedy} first, or "
        "pass `optimizer_state=False`."
    )


def compile_like(original: keras.Model, model: keras.Model) -> None:
    """Compiles a model as another one of the same inputs and outputs.

    Loss, loss weights, metrics, weighted metrics, `run_eagerly`,
    `steps_per_execution`, `jit_compile` and loss scaling are carried over,
    and an optimizer of the same class and configuration, its present learning
    rate or schedule included. Optimizer and metrics are new objects, made
    from their configuration: what that does not hold, such as
    `exclude_from_weight_decay`, is not carried over. The loss, which has no
    state, is the same object. Nothing happens if `original` is not compiled.

    Raises:
        ValueError: if the optimizer cannot be made from its configuration.

    Warns: for a metric that cannot, such as a function that is not
        registered; it is left out.
    """
    if not original.compiled:
        return
    optimizer = _same_optimizer(original)
    with warnings.catch_warnings():
        # About a lambda, which is not loaded from a file here.
        warnings.simplefilter("ignore")
        config = original.get_compile_config()
    model.compile(
        optimizer=optimizer,
        loss=original.loss,
        loss_weights=config["loss_weights"],
        metrics=_made_anew(config["metrics"]),
        weighted_metrics=_made_anew(config["weighted_metrics"]),
        run_eagerly=config["run_eagerly"],
        steps_per_execution=config["steps_per_execution"],
        jit_compile=config["jit_compile"],
        # The optimizer of `original` is wrapped already, if it ever was.
        auto_scale_loss=False,
    )


def carry_optimizer_state(
    original: keras.Model, model: keras.Model, cutters: Cutters
) -> None:
    """Gives the smaller model the optimizer state of the original.

    Momentum, moments, averages and accumulated gradients are cut as their
    weights are; counters, the learning rate and the loss scale are copied.

    Args:
        original: A compiled model whose optimizer is built.
        model: The smaller model, compiled by `compile_like`.
        cutters: For the `id` of each weight of `original` that shrinks, how
            an array of its shape is cut.

    Raises:
        ValueError: if the optimizer was built for other weights than those
            that are trainable now, or keeps state of another shape than its
            weights' (Adafactor).
    """
    old_weights = counterparts(model, original)
    old, new = original.optimizer, model.optimizer
    with _noting_references(new) as references:
        new.build(model.trainable_variables)
    if len(old.variables) != len(new.variables):
        raise ValueError(
            f"The optimizer of model '{original.name}' must have been built "
            "for the weights that are trainable now. Received: one with "
            f"{len(old.variables)} variables in place of "
            f"{len(new.variables)}. Compile the model again after setting "
            "`trainable`, or pass `optimizer_state=False`."
        )
    for source, target in zip(old.variables, new.variables):
        value = keras.ops.convert_to_numpy(source)
        reference = references.get(id(target))
        if reference is not None:
            weight = old_weights[id(reference)]
            _check_shape(old, source, tuple(weight.shape))
            value = cutters.get(id(weight), np.asarray)(value)
        else:
            _check_shape(old, source, tuple(target.shape))
        target.assign(value)


def _same_optimizer(model):
    optimizer = model.optimizer
    if optimizer is None:
        return None
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"The optimizer of model '{model.name}' must be one that can be "
            f"made from its configuration. Received: '{optimizer.name}' "
            f"({type(optimizer).__name__}): {error} Give its own classes, "
            "such as a schedule, a `get_config` and register them with "
            "`keras.saving.register_keras_serializable()`."
        ) from error


def _made_anew(config: Any, inside: bool = False) -> Any:
    """Metrics of their serialized form, in the same structure.

    An empty list stands for one that is lost; inside a list it goes.
    """
    if isinstance(config, (list, tuple)):
        made = [_made_anew(entry, inside=True) for entry in config]
        return [entry for entry in made if not inside or entry != []]
    if not isinstance(config, dict):
        return config
    if "class_name" not in config:
        return {key: _made_anew(v, inside=True) for key, v in config.items()}
    try:
        return keras.saving.deserialize_keras_object(config)
    except (NotImplementedError, TypeError, ValueError):
        name = config["config"]
        if not isinstance(name, str):
            name = config["class_name"]
        warnings.warn(
            f"Metric '{name}' is not carried over to the smaller model, since "
            "it cannot be made from its configuration. Register it with "
            "`keras.saving.register_keras_serializable()`, or compile the "
            "smaller model again.",
            stacklevel=2,
        )
        return []


def counterparts(
    model: keras.Model, original: keras.Model
) -> dict[int, keras.Variable]:
    """For the `id` of every weight of a model, the one in the other model."""
    layers = {name: layer for layer, name in name_layers(original).items()}
    return {
        id(weight): counterpart
        for layer, name in name_layers(model).items()
        if isinstance(layer, keras.Layer)
        for weight, counterpart in zip(
            layer.weights, layers[name].weights, strict=True
        )
    }


@contextlib.contextmanager
def _noting_references(
    optimizer: keras.optimizers.Optimizer,
) -> Iterator[dict[int, keras.Variable]]:
    """While it is built: the weight of each variable that belongs to one."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    found: dict[int, keras.Variable] = {}
    add = optimizer.add_variable_from_reference

    def noting(reference_variable, *args, **kwargs):
        variable = add(reference_variable, *args, **kwargs)
        found[id(variable)] = reference_variable
        return variable

    optimizer.add_variable_from_reference = noting
    try:
        yield found
    finally:
        del optimizer.add_variable_from_reference


def _check_shape(optimizer, variable, shape):
    if tuple(variable.shape) != shape:
        raise ValueError(
            f"State of optimizer '{optimizer.name}' "
            f"({type(optimizer).__name__}) must have the shape of its weights "
            f"to be cut with them. Received: '{variable.name}' of shape "
            f"{tuple(variable.shape)} in place of {shape}. Pass "
            "`optimizer_state=False`."
        )
