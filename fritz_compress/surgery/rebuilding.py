"""A model made anew with fewer channels."""

import itertools
from collections.abc import Mapping, Sequence

import keras

from fritz_compress.graph import flatten_layers, is_graph
from fritz_compress.surgery.cutting import Keep, cutters, scales
from fritz_compress.surgery.flow import Flow
from fritz_compress.surgery.initial_values import (
    InitialValue,
    initialized_weights,
)
from fritz_compress.surgery.nameless import without_a_name

_LOOKUPS = (
    keras.layers.IntegerLookup,
    keras.layers.StringLookup,
    keras.layers.TextVectorization,
)


def rebuild(
    flow: Flow,
    keep: Keep,
    replaced: Mapping[keras.Layer, Sequence[keras.Layer]] | None = None,
) -> keras.Model:
    """A new model of the channels kept, with their weights.

    Models inside it are rebuilt as models, shared layers stay shared. Names,
    trainable flags, dtype policies, initializers, regularizers and
    constraints are those of the original, which is not touched. Compile
    settings are not carried over.

    Args:
        flow: The labelled original.
        keep: From labels to the indices of those that are kept.
        replaced: Layers that others take the place of, one after the other;
            these keep the values that they have. Of none, what the layer was
            called with goes on as it is.
    """
    rebuilding = _Rebuilding(flow, keep, replaced or {})
    model = rebuilding.model(flow.graph.model)
    rebuilding.finish()
    return model


class _Rebuilding:
    def __init__(self, flow, keep, replaced):
        self.flow = flow
        self.keep = keep
        self.replaced = replaced
        self.copies: dict[keras.Operation, keras.Operation] = {}
        self.originals: dict[keras.Operation, keras.Operation] = {}
        self.cut = cutters(flow, keep)
        self.scale = scales(flow, keep)
        self.initial: dict[int, InitialValue] = {}

    def model(self, model):
        if isinstance(model, keras.Sequential):
            copy = keras.Sequential(
                [
                    _input_layer(model, *self.input_shapes(model)),
                    *itertools.chain(*map(self.counterparts, model.layers)),
                ],
                name=model.name,
            )
        else:
            copy = keras.models.clone_model(
                _uncompiled(model),
                input_tensors=_inputs(model, self.input_shapes(model)),
                clone_function=self.operation,
                call_function=self.call,
            )
        self.copies[model] = copy
        return copy

    def input_shapes(self, model):
        """Shapes of a model's inputs; one inside may be fed fewer channels."""
        shapes = [tuple(tensor.shape) for tensor in model.inputs]
        for tensors in self.flow.nested.get(model, [])[:1]:
            for place, tensor in enumerate(tensors):
                shapes[place] = self.shape(shapes[place], tensor)
        return shapes

    def shape(self, shape, tensor):
        """A declared shape, where it is known cut as the tensor that comes."""
        strands = self.flow.values[tensor].strands
        return tuple(
            (
                len(self.keep(strands[axis].labels))
                if axis in strands and size is not None
                else size
            )
            for axis, size in enumerate(shape)
        )

    def operation(self, operation):
        """The counterpart of a layer, a raw operation or a nested model.

        Of several that replace one layer the first; `call` calls the others.
        Where none does the layer itself, which is not called.
        """
        if operation not in self.copies:
            if is_graph(operation):
                self.model(operation)
            elif operation in self.replaced:
                chain = self.replaced[operation] or [operation]
                self.copies[operation] = chain[0]
            else:
                self.copies[operation] = self.resized(operation)
            self.originals[self.copies[operation]] = operation
        return self.copies[operation]

    def counterparts(self, layer):
        """All that takes the place of a layer, one after the other."""
        if layer in self.replaced:
            return self.replaced[layer]
        return [self.operation(layer)]

    def call(self, operation, *args, **kwargs):
        """Calls a counterpart as its original was, with constants cut."""
        original = self.originals.get(operation)
        rewrite = self.flow.rewrites.get(original)
        if rewrite is not None:
            return rewrite(self.keep)(operation, *args, **kwargs)
        chain = self.replaced.get(original, [operation])
        if not chain:
            return [*args, *kwargs.values()][0]
        outputs = operation(*args, **kwargs)
        for further in chain[1:]:
            outputs = further(outputs)
        return outputs

    def resized(self, operation):
        config = _without_shapes(operation.get_config())
        if operation in self.flow.opened:
            config["layer"] = self.operation(operation.layer)
            return type(operation)(**config)
        _check_nothing_is_lost(operation, config, self.flow.names)
        config.update(self.initializers(operation, config))
        for path, setting in self.flow.settings.get(operation, {}).items():
            kept = self.keep(setting.labels)
            if len(kept) < len(setting.labels):
                config = _replaced(config, path, setting.value(kept))
        if isinstance(operation, keras.layers.Lambda):
            # Its code runs in this process already.
            return type(operation).from_config(config, safe_mode=False)
        config.update(without_a_name(operation, config))
        return type(operation).from_config(config)

    def initializers(self, operation, config):
        """Those that give weights their values; random ones would take time."""
        own = _initializers(operation, config)
        if not own:
            return {}
        values = {}
        variables = self.flow.variables(operation)
        for name, source in initialized_weights(
            operation, own, variables
        ).items():
            values[name] = InitialValue(self.value(source))
            self.initial[id(source)] = values[name]
        return dict.fromkeys(own, "zeros") | values

    def value(self, source):
        """What is left of a weight."""
        value = keras.ops.convert_to_numpy(source)
        if id(source) in self.cut:
            value = self.cut[id(source)](value)
        if id(source) in self.scale:
            value = (value * self.scale[id(source)]).astype(value.dtype)
        return value

    def finish(self):
        """Weights, initializers and flags, once every layer is built."""
        models, layers = [], []
        for old, new in self.copies.items():
            if is_graph(old):
                models.append((old, new))
            elif old in self.replaced or old in self.flow.opened:
                continue
            elif isinstance(old, keras.Layer):
                layers.append((old, new))
        # Setting the flag of a model sets it in the layers: outside first.
        for old, new in [*reversed(models), *layers]:
            new.trainable = old.trainable
        for old, others in self.replaced.items():
            for new in others:
                new.trainable = old.trainable
        for old, new in layers:
            initializers = _initializers(old, old.get_config())
            for attribute, initializer in initializers.items():
                setattr(new, attribute, initializer)
            self.assign(old, new)
            for layer in flatten_layers(new):
                if isinstance(layer, keras.layers.Normalization):
                    # It computes with copies of its weights.
                    layer.finalize_state()

    def assign(self, old, new):
        for source, target in zip(old.weights, new.weights, strict=True):
            initial = self.initial.get(id(source))
            if initial is None or not initial.given:
                target.assign(self.value(source))
            target.trainable = source.trainable


def _replaced(config, path, value):
    """A configuration with another value at the end of a path."""
    key, *rest = path
    copy = list(config) if isinstance(config, (list, tuple)) else dict(config)
    copy[key] = _replaced(copy[key], rest, value) if rest else value
    return tuple(copy) if isinstance(config, tuple) else copy


def _without_shapes(config):
    """A layer inside another one would be built with the shapes of old."""
    if not isinstance(config, dict):
        return config
    return {
        key: _without_shapes(value)
        for key, value in config.items()
        if key != "build_config"
    }


def _check_nothing_is_lost(operation, config, names):
    """Refuses tables that are neither among weights nor in the config."""
    if isinstance(operation, _LOOKUPS) and config["vocabulary"] is None:
        name = names.get(operation, operation.name)
        raise ValueError(
            f"Layer '{name}' ({type(operation).__name__}) must have its "
            "vocabulary as an argument, to be made anew. Received: one that "
            "was adapted to data. Build the model with "
            f"{type(operation).__name__}(vocabulary=layer.get_vocabulary())."
        )


def _initializers(operation, config):
    """The initializers among a layer's arguments, by attribute."""
    return {
        name: value
        for name, value in vars(operation).items()
        if name in config
        and name.endswith("_initializer")
        and isinstance(value, keras.initializers.Initializer)
    }


def _input_layer(model, shape):
    """A copy of a Sequential model's input, its name included."""
    first = model.get_config()["layers"][0]
    if first["class_name"] == "InputLayer":
        return _resized_input(first["config"], shape)
    (tensor,) = model.inputs
    return keras.Input(batch_shape=shape, dtype=tensor.dtype)


def _inputs(model, shapes):
    """Copies of a Functional model's inputs, in their structure."""
    shapes = {id(t): shape for t, shape in zip(model.inputs, shapes)}
    copies = {
        id(layer.output): _resized_input(
            layer.get_config(), shapes[id(layer.output)]
        ).output
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return keras.tree.map_structure(lambda t: copies[id(t)], model.input)


def _resized_input(config, shape):
    return keras.layers.InputLayer.from_config({**config, "batch_shape": shape})


def _uncompiled(model):
    """The same layers without loss and optimizer, which cannot be copied."""
    if not model.compiled:
        return model
    kind = keras.Model if "__init__" in vars(type(model)) else type(model)
    return kind(model.input, model.output, name=model.name)
