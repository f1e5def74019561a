"""A Keras model as nodes and tensors, nested models flattened.

The only file that uses private attributes of Keras. `trace` never changes the
model: it replays the model's graph on symbolic tensors and notes every call.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import tree

from fritz_compress.checks import check_model, described

_HOLDERS = (keras.Layer, list, tuple)  # What may have weights inside.


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """One value of the graph: a model input or the result of one call.

    Attributes:
        shape: Shape with `None` where the size is not known.
        dtype: Name of the type, such as `"float32"`.
    """

    shape: tuple[int | None, ...]
    dtype: str


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One call of one operation. A shared layer has one node per call.

    Attributes:
        operation: The `keras.Operation` called: a layer or a raw operation.
        args, kwargs: What it was called with, a `Tensor` in place of each
            symbolic tensor; everything else (slices, axes) as it was.
        outputs: The tensors that it makes.
    """

    operation: keras.Operation
    args: tuple
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors among the arguments, in their order."""
        flat = tree.flatten((self.args, self.kwargs))
        return tuple(value for value in flat if isinstance(value, Tensor))

    @functools.cached_property
    def arguments(self) -> dict[str, Any]:
        """What the operation was called with, by the names of its `call`."""
        signature = inspect.signature(self.operation.call)
        return signature.bind(*self.args, **self.kwargs).arguments

    @property
    def kind(self) -> str:
        """Class name of the operation, such as `"Conv2D"`."""
        return type(self.operation).__name__


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """The calls of a model in an order in which they can be run.

    Attributes:
        model: The model traced.
        inputs: One tensor per input of the model.
        nodes: The calls, producers before consumers.
        outputs: What the model returns: its structure with tensors inside.
        nested: For every model inside the tensors it is called with, one
            tuple per call, in the order of its inputs.
    """

    model: keras.Model
    inputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    outputs: Any
    nested: Mapping[keras.Model, Sequence[tuple[Tensor, ...]]]

    @property
    def output_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that leave the model, flat."""
        return tuple(tree.flatten(self.outputs))

    def consumers(self) -> dict[Tensor, list[Node]]:
        """Which nodes read each tensor; tensors nobody reads are missing."""
        found: dict[Tensor, list[Node]] = {}
        for node in self.nodes:
            for tensor in dict.fromkeys(node.inputs):
                found.setdefault(tensor, []).append(node)
        return found

    def run(self, inputs: Sequence[Any], call: Callable[..., Any]) -> Any:
        """Evaluates the graph on other values than tensors.

        Args:
            inputs: One value per input of the model.
            call: Called as `call(node, *args, **kwargs)` with the values in
                place of the tensors; returns the node's output values.

        Returns: the values of `outputs`, in the model's own structure.
        """
        values: dict[Tensor, Any] = dict(zip(self.inputs, inputs, strict=True))

        def fill(structure):
            return tree.map_structure(
                lambda v: values[v] if isinstance(v, Tensor) else v, structure
            )

        for node in self.nodes:
            results = call(node, *fill(node.args), **fill(node.kwargs))
            values.update(zip(node.outputs, tree.flatten(results)))
        return fill(self.outputs)


def trace(
    model: keras.Model,
    input_shapes: Sequence[tuple[int | None, ...]] | None = None,
) -> Graph:
    """Lists the calls that a model makes, models inside it flattened.

    Args:
        model: A Functional or a built Sequential model.
        input_shapes: Shapes, batch included, to trace with in place of the
            model's own, one per input.

    Raises:
        TypeError: for what is no Keras model.
        ValueError: for a model without a graph (subclassed with a `call` of
            its own, or a Sequential that is not built), or a wrong number of
            shapes.

    Example:

    >>> [node.kind for node in trace(model).nodes]
    ['Conv2D', 'InstanceNormalization', 'ReLU']
    """
    check_model(model)
    if not is_graph(model):
        raise ValueError(
            "Expected a Functional or a built Sequential model, whose layers "
            "can be traced, without a `call` of its own. Received: "
            f"{described(model)}. Rewrite a subclassed model with "
            "`keras.Model(inputs, outputs)`; call or build a Sequential first."
        )
    shapes = input_shapes or [tensor.shape for tensor in model.inputs]
    if len(shapes) != len(model.inputs):
        raise ValueError(
            f"Model '{model.name}' has {len(model.inputs)} inputs. "
            f"Received: {len(shapes)} input_shapes."
        )
    tracer = _Tracer()
    inputs = tuple(
        Tensor(tuple(shape), keras.backend.standardize_dtype(tensor.dtype))
        for shape, tensor in zip(shapes, model.inputs)
    )
    outputs = tracer.replay(model, inputs, training=None)
    return Graph(model, inputs, tuple(tracer.nodes), outputs, tracer.nested)


def is_graph(operation: Any) -> bool:
    """Whether `trace` can look inside: Functional, or Sequential and built.

    Not if a subclass has its own `call`: it may do more than the graph shows.
    """
    if _has_own_call(operation):
        return False
    if isinstance(operation, keras.Sequential):
        return operation.built and bool(operation.inputs)
    return hasattr(operation, "_run_through_graph")


def model_inside(layer: Any) -> keras.Model | None:
    """The model whose layers a layer runs: itself, or at every time step.

    >>> model_inside(keras.layers.TimeDistributed(encoder)) is encoder
    True
    """
    if type(layer) is keras.layers.TimeDistributed:
        layer = layer.layer
    return layer if is_graph(layer) else None


def weights_by_attribute(layer: keras.Layer) -> Mapping[str, keras.Variable]:
    """The layer's weights by the attribute that holds each.

    Weights of layers inside the layer have a path: `"cell.kernel"`,
    `"blocks.0.kernel"`.

    >>> list(weights_by_attribute(keras.layers.Conv2D(4, 3)))  # built
    ['kernel', 'bias']
    """
    left = {id(weight) for weight in layer.weights}
    return dict(_named_weights(layer, "", left, seen=set()))


def flatten_layers(layer: keras.Layer) -> tuple[keras.Layer, ...]:
    """The layer and all that it holds, such as the one that a wrapper wraps.

    >>> [layer.name for layer in flatten_layers(TimeDistributed(dense))]
    ['time_distributed', 'dense']
    """
    return tuple(layer._flatten_layers())


class _Tracer:
    def __init__(self):
        self.nodes: list[Node] = []
        self.nested: dict[keras.Model, list[tuple[Tensor, ...]]] = {}

    def replay(self, model, inputs, training):
        if isinstance(model, keras.Sequential):
            step = functools.partial(self.call, training=training)
            layers = [
                layer
                for layer in model.layers
                if not isinstance(layer, keras.layers.InputLayer)
            ]
            return functools.reduce(
                lambda value, layer: step(layer)(value),
                layers,
                tree.flatten(inputs)[0],
            )
        outputs = model._run_through_graph(
            _in_order(model, inputs),
            operation_fn=lambda op: self.call(op, training),
        )
        # Keras returns a list of one tensor as that tensor.
        if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
            return outputs[0]
        return outputs

    def call(self, operation, training):
        """What stands in for `operation` while the graph is replayed."""

        def record(*args, **kwargs):
            if is_graph(operation):
                own = kwargs.get("training")
                inner = args[0] if args else kwargs["inputs"]
                self.nested.setdefault(operation, []).append(
                    tuple(tree.flatten(_in_order(operation, inner)))
                )
                return self.replay(
                    operation, inner, training if own is None else own
                )
            if training is not None and _takes_training(operation):
                # `base(x, training=False)` holds for every layer inside.
                kwargs.setdefault("training", training)
            outputs = tree.map_structure(
                lambda spec: Tensor(
                    tuple(spec.shape),
                    keras.backend.standardize_dtype(spec.dtype),
                ),
                _output_spec(operation, args, kwargs),
            )
            flat = tuple(tree.flatten(outputs))
            self.nodes.append(Node(operation, args, kwargs, flat))
            return outputs

        return record


def _named_weights(holder, prefix, left, seen):
    """Weights by path; each once, by the first path that leads to it."""
    seen.add(id(holder))
    for name, value in _attributes(holder) if left else ():
        # Keras keeps some kernels under a private name with a property.
        path = prefix + name.removeprefix("_")
        if id(value) in left:
            left.remove(id(value))
            yield path, value
        elif isinstance(value, _HOLDERS) and id(value) not in seen:
            yield from _named_weights(value, f"{path}.", left, seen)


def _attributes(holder):
    if not isinstance(holder, keras.Layer):
        return [(str(index), value) for index, value in enumerate(holder)]
    # Keras' own bookkeeping lists everything a second time.
    kept = {"_layers", "_trainable_variables", "_non_trainable_variables"}
    return [item for item in vars(holder).items() if item[0] not in kept]


def _has_own_call(operation) -> bool:
    for kind in type(operation).__mro__:
        if "call" in vars(kind):
            return kind.__module__.split(".")[0] != "keras"
    return False


def _in_order(model, inputs):
    """What a model is called with, in the order of its own inputs."""
    if isinstance(inputs, dict) and not isinstance(model.input, dict):
        # Keras finds them by name; flat, they would be sorted by name.
        return [inputs[tensor.name] for tensor in model.inputs]
    return inputs


def _takes_training(operation) -> bool:
    return "training" in inspect.signature(operation.call).parameters


def _output_spec(operation, args, kwargs):
    def symbolic(value):
        if isinstance(value, Tensor):
            return keras.KerasTensor(value.shape, value.dtype)
        return value

    args, kwargs = tree.map_structure(symbolic, (args, kwargs))
    spec = operation.compute_output_spec(*args, **kwargs)
    if isinstance(operation, keras.Layer) and (
        not _is_open((args, kwargs)) and _is_open(spec)
    ):
        # Such as `EinsumDense`, which repeats the shape that it was built for.
        return keras.Operation.compute_output_spec(operation, *args, **kwargs)
    return spec


def _is_open(structure):
    """Whether a size of a symbolic tensor is not known."""
    values = tree.flatten(structure)
    shapes = [x.shape for x in values if isinstance(x, keras.KerasTensor)]
    return any(None in shape for shape in shapes)
