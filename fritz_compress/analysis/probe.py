"""A copy of a model in which weights are changed for one evaluation."""

import dataclasses
import json
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import joblib
import keras
import numpy as np

# Where a weight is zeroed: its position in `model.weights`, and a mask that
# broadcasts to it, as packed bits with a shape. Plain arrays: unpickling them
# in a worker imports nothing.
Zeros = tuple[int, np.ndarray, tuple[int, ...]]
# Or a position, and the values that take the place of the weight's.
Change = Zeros | tuple[int, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A model and how it is evaluated, as data that can be sent away.

    Attributes:
        config: The model as Keras serializes it, compile state included.
        weights: Values of `model.weights`, in their order.
        objects: Custom classes and functions of the model, by registered name.
        x, y, batch_size: Arguments of `model.evaluate`.
        evaluate: What evaluates the model in place of `model.evaluate`.
    """

    config: dict[str, Any]
    weights: list[np.ndarray]
    objects: dict[str, Any]
    x: Any = None
    y: Any = None
    batch_size: int | None = None
    evaluate: Callable[[keras.Model], Any] | None = None

    @classmethod
    def on(cls, model: keras.Model, **how: Any) -> "Experiment":
        """The experiment on a model; `how` are the last four attributes."""
        config = keras.saving.serialize_keras_object(model)
        if config.get("compile_config"):
            # The copy is never trained: no slots for every weight.
            config["compile_config"]["optimizer"] = "sgd"
        text = json.dumps(config)
        registered = keras.saving.get_custom_objects()
        objects = {
            name: value
            for name, value in registered.items()
            if json.dumps(name) in text
        }
        return cls(config, model.get_weights(), objects, **how)

    def pickled(self) -> np.ndarray:
        """This as bytes, in an array because joblib shares large arrays."""
        # With cloudpickle: `evaluate` may be a lambda or live in a script.
        portable = joblib.wrap_non_picklable_objects(self, keep_wrapper=False)
        return np.frombuffer(pickle.dumps(portable), "uint8")


class Probe:
    """Evaluates a copy of a model with some of its weights changed.

    Raises:
        ValueError: if Keras cannot make the copy.
    """

    def __init__(self, experiment: Experiment):
        self._experiment = experiment
        self.model = _copy(experiment)

    def measure(self, changes: Sequence[Change] = ()) -> dict[str, float]:
        """The metrics with these weights changed; the copy is restored."""
        originals = self._experiment.weights
        weights = self.model.weights
        values = {position: originals[position] for position, *_ in changes}
        try:
            for position, *change in changes:
                values[position] = _changed(values[position], *change)
            for position, value in values.items():
                weights[position].assign(value)
            return self._evaluate()
        finally:
            for position in values:
                weights[position].assign(originals[position])

    def _evaluate(self):
        how = self._experiment
        if how.evaluate is None:
            return self.model.evaluate(
                how.x,
                how.y,
                batch_size=how.batch_size,
                verbose=0,
                return_dict=True,
            )
        return _as_metrics(how.evaluate(self.model), how.evaluate)


def pack(position: int, mask: np.ndarray) -> Zeros:
    """Where the weight at a position in `model.weights` is zeroed."""
    return position, np.packbits(mask), mask.shape


def unpack(bits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mask that was packed, boolean."""
    flat = np.unpackbits(bits, count=math.prod(shape))
    return flat.astype(bool).reshape(shape)


def _changed(values, new, zeroed_shape=None):
    if zeroed_shape is None:
        return new
    return np.where(unpack(new, zeroed_shape), values.dtype.type(0), values)


def _copy(experiment):
    try:
        with keras.saving.custom_object_scope(experiment.objects):
            # Code that the caller has run already: nothing to be safe from.
            model = keras.saving.deserialize_keras_object(
                experiment.config, safe_mode=False
            )
        model.set_weights(experiment.weights)
    except Exception as error:
        raise ValueError(
            f"Model '{experiment.config['config'].get('name')}' cannot be "
            f"copied: {error} Register custom layers, losses and metrics with "
            "`keras.saving.register_keras_serializable`. Or pass a model that "
            "is not compiled, and `evaluate`."
        ) from error
    return model


def _as_metrics(result, evaluate):
    name = getattr(evaluate, "__name__", "metric")
    if not isinstance(result, Mapping):
        result = {"metric" if name == "<lambda>" else name: result}
    try:
        return {str(key): float(value) for key, value in result.items()}
    except (TypeError, ValueError):
        raise TypeError(
            "`evaluate` must return a number, or a dictionary of numbers. "
            f"Received: {result}."
        ) from None
