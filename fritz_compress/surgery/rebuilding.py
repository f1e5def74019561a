"""A model made anew with fewer channels."""

import types
from collections.abc import Callable

import keras
import numpy as np

from fritz_compress.graph import is_graph, weights_by_attribute
from fritz_compress.surgery.flow import Flow

Keep = Callable[[np.ndarray], np.ndarray]


def rebuild(flow: Flow, keep: Keep) -> keras.Model:
    """A new model of the channels kept, with their weights.

    Models inside it are rebuilt as models, shared layers stay shared. Names,
    trainable flags, dtype policies, initializers, regularizers and
    constraints are those of the original, which is not touched. Compile
    settings are not carried over.

    Args:
        flow: The labelled original.
        keep: From labels to the indices of those that are kept.
    """
    rebuilding = _Rebuilding(flow, keep)
    model = rebuilding.model(flow.graph.model)
    rebuilding.finish()
    return model


class _Rebuilding:
    def __init__(self, flow, keep):
        self.flow = flow
        self.keep = keep
        self.copies: dict[keras.Operation, keras.Operation] = {}

    def model(self, model):
        if isinstance(model, keras.Sequential):
            copy = keras.Sequential(
                [
                    _input_layer(model),
                    *(self.operation(layer) for layer in model.layers),
                ],
                name=model.name,
            )
        else:
            copy = keras.models.clone_model(
                _uncompiled(model),
                input_tensors=_inputs(model),
                clone_function=self.operation,
            )
        self.copies[model] = copy
        return copy

    def operation(self, operation):
        """The counterpart of a layer, a raw operation or a nested model."""
        if operation not in self.copies:
            if is_graph(operation):
                self.model(operation)
            else:
                self.copies[operation] = self.resized(operation)
        return self.copies[operation]

    def resized(self, operation):
        config = operation.get_config()
        for key, setting in self.flow.settings.get(operation, {}).items():
            config[key] = setting.value(len(self.keep(setting.labels)))
        # The values are assigned later: random ones would be wasted time.
        config.update(dict.fromkeys(_initializers(operation), "zeros"))
        if isinstance(operation, keras.layers.Lambda):
            # Its code runs in this process already.
            return type(operation).from_config(config, safe_mode=False)
        config.update(_functions(operation, config))
        return type(operation).from_config(config)

    def finish(self):
        """Weights, initializers and flags, once every layer is built."""
        models, layers = [], []
        for old, new in self.copies.items():
            if is_graph(old):
                models.append((old, new))
            elif isinstance(old, keras.Layer):
                layers.append((old, new))
        # Setting the flag of a model sets it in the layers: outside first.
        for old, new in [*reversed(models), *layers]:
            new.trainable = old.trainable
        for old, new in layers:
            for attribute, initializer in _initializers(old).items():
                setattr(new, attribute, initializer)
            self.assign(old, new)

    def assign(self, old, new):
        values = {id(w): keras.ops.convert_to_numpy(w) for w in old.weights}
        weights = weights_by_attribute(old)
        for attribute, slot in self.flow.slots.get(old, {}).items():
            value = values[id(weights[attribute])]
            for axis, labels in (*slot.reads.items(), *slot.makes.items()):
                value = np.take(value, self.keep(labels), axis)
            values[id(weights[attribute])] = value
        for source, target in zip(old.weights, new.weights, strict=True):
            target.assign(values[id(source)])
            target.trainable = source.trainable


def _functions(operation, config):
    """Functions among a layer's arguments, themselves: no name finds them."""
    values = {name: getattr(operation, name, None) for name in config}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, types.FunctionType)
    }


def _initializers(operation):
    """The initializers among a layer's arguments, by attribute."""
    return {
        name: value
        for name, value in vars(operation).items()
        if name.endswith("_initializer")
        and not name.startswith("_")
        and isinstance(value, keras.initializers.Initializer)
    }


def _input_layer(model):
    """A copy of a Sequential model's input, its name included."""
    first = model.get_config()["layers"][0]
    if first["class_name"] == "InputLayer":
        return keras.layers.InputLayer.from_config(first["config"])
    (tensor,) = model.inputs
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype)


def _inputs(model):
    """Copies of a Functional model's inputs, in their structure."""
    copies = {
        id(layer.output): keras.layers.InputLayer.from_config(
            layer.get_config()
        ).output
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return keras.tree.map_structure(lambda t: copies[id(t)], model.input)


def _uncompiled(model):
    """The same layers without loss and optimizer, which cannot be copied."""
    if not model.compiled:
        return model
    kind = keras.Model if "__init__" in vars(type(model)) else type(model)
    return kind(model.input, model.output, name=model.name)
