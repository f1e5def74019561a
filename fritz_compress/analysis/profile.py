"""What each layer of a model costs."""

import dataclasses
import math
from collections.abc import Sequence

import keras

from fritz_compress import graph
from fritz_compress.analysis.activation_memory import live_tensors
from fritz_compress.analysis.costs import Cost, cost_of
from fritz_compress.analysis.latency import latency
from fritz_compress.analysis.profile_result import LayerProfile, Profile
from fritz_compress.analysis.receptive_field import receptive_fields
from fritz_compress.checks import is_whole

Size = Sequence[int]


def profile(
    model: keras.Model, input_size: Size | Sequence[Size] | None = None
) -> Profile:
    """Counts parameters, operations, bytes and memory, layer by layer.

    A multiplication is a product or a quotient of two numbers at inference,
    one of which at least depends on the input. What depends on weights alone
    is computed once and does not count; functions (exp, sqrt, tanh) are no
    products. A multiplication whose product is added to others is a
    multiply-accumulate (MAC): those of convolutions, dense and recurrent
    layers, attention, and `keras.ops.matmul` and the like. Beside MACs there
    are:

    - normalization with statistics of training: one per number; with those
      of the input: a square, a product with one over the deviation and one
      with gamma per number, two quotients per mean and variance;
    - products and quotients of tensors, rescaling, LeakyReLU, softmax: one
      per number; activations as their formulas say (silu 1, gelu 3);
    - averages and average pooling: one per number of the result;
    - interpolation: one for each of the (4 or more) numbers read.

    A shared layer counts its multiplications at each call and its parameters
    once. Models inside the model are flattened, and their layers listed. A
    subclass of a layer counts as that layer does. Layers without a rule are
    not counted: the table says which (`Profile.unknown`), and
    `analysis.register_cost` gives them one.

    Args:
        model: A Functional or built Sequential model, nested ones flattened.
        input_size: Spatial size in place of the model's, such as `(height,
            width)`, or its whole input shape without the batch; needed for a
            model that takes any size. For several inputs a list of such.

    Raises:
        ValueError: for a model without a graph, for an `input_size` that does
            not fit, or if counts depend on a size that is not known.

    `profile.latency(path)` measures a converted file.

    Example:

    >>> profile(keras.applications.VGG16(weights=None)).macs
    15470264320
    """
    traced = graph.trace(model, _input_shapes(model, input_size))
    batch = model.inputs[0].shape[0]
    fields = receptive_fields(traced)
    counted: dict[keras.Operation, tuple[graph.Node, Cost]] = {}
    for node in traced.nodes:
        _, before = counted.get(node.operation, (node, Cost()))
        counted[node.operation] = node, before + cost_of(node)
    seen: set[int] = set()
    return Profile(
        model=model.name,
        layers=tuple(
            _row(node, cost, fields[node.outputs[0]], batch, seen)
            for node, cost in counted.values()
        ),
        receptive_field=fields[traced.output_tensors[0]],
        steps=live_tensors(traced),
    )


profile.latency = latency


def macs_of(node: graph.Node) -> int | None:
    """Multiply-accumulates of one call on one sample; `None` if not known.

    Raises:
        ValueError: if a spatial size is not known.
    """

    def of_one(value):
        if not isinstance(value, graph.Tensor):
            return value
        return dataclasses.replace(value, shape=_one(value.shape))

    args, kwargs, outputs = keras.tree.map_structure(
        of_one, (node.args, node.kwargs, node.outputs)
    )
    return cost_of(graph.Node(node.operation, args, kwargs, outputs)).macs


def _row(node, cost, field, batch, seen):
    operation, shape = node.operation, node.outputs[0].shape
    weights = [
        w for w in getattr(operation, "weights", ()) if id(w) not in seen
    ]
    seen.update(map(id, weights))
    trained = set(map(id, getattr(operation, "trainable_weights", ())))
    return LayerProfile(
        name=operation.name,
        kind=node.kind,
        output_shape=(batch, *shape[1:]) if shape else (),
        parameters=sum(map(_numbers, weights)),
        macs=_of_sample(cost.macs, batch),
        bytes=sum(map(_bytes, weights)),
        trainable=sum(_numbers(w) for w in weights if id(w) in trained),
        multiplications=_of_sample(cost.multiplications, batch),
        receptive_field=field,
    )


def _of_sample(count, batch):
    return count if count is None else count // (batch or 1)


def _numbers(weight):
    return math.prod(weight.shape)


def _bytes(weight):
    return keras.ops.convert_to_numpy(weight).nbytes


def _one(shape):
    """The shape of a batch of one, if the batch can have any size."""
    return (1, *shape[1:]) if shape and shape[0] is None else tuple(shape)


def _input_shapes(model, input_size):
    if not graph.is_graph(model):
        return None
    shapes = [tensor.shape for tensor in model.inputs]
    if input_size is None:
        return list(map(_one, shapes))
    sizes = [input_size] if all(map(is_whole, input_size)) else input_size
    if len(sizes) != len(shapes):
        raise ValueError(
            f"`input_size` must be one for each input. Received: {input_size} "
            f"for model '{model.name}' with {len(shapes)}. Pass a list of such."
        )
    return [_one(_sized(model, *pair)) for pair in zip(shapes, sizes)]


def _sized(model, shape, size):
    """The shape of an input with other sides, or all but its batch."""
    batch, *spatial, channels = shape
    if len(size) == len(spatial):
        return batch, *size, channels
    if len(size) == len(spatial) + 1 and channels in (None, size[-1]):
        return batch, *size
    raise ValueError(
        f"`input_size` must have {len(spatial)} numbers for model "
        f"'{model.name}', input shape {shape}. Received: {tuple(size)}."
    )
