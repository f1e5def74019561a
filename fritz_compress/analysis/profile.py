"""What each layer of a model costs."""

import math
from collections.abc import Sequence

import keras

from fritz_compress import graph
from fritz_compress.analysis.activation_memory import live_tensors
from fritz_compress.analysis.kernel_bits import kernel_bits
from fritz_compress.analysis.latency import latency
from fritz_compress.analysis.profile_result import LayerProfile, Profile
from fritz_compress.analysis.receptive_field import receptive_fields
from fritz_compress.costs import Cost, Size, cost_of, sized_graph


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

    Products of two signs that are summed up are no multiplications: an XNOR
    and a population count make 64 of them at once. They are counted apart, as
    binary MACs, in layers whose kernel and inputs are both signs
    (`layers.BinaryConv2D` and the like); the scale of their sums is a
    multiplication per number, and the input scale of an XNOR layer its mean
    and convolution and another one. With floats or more bits on one side, such
    a layer counts as the float layer would. Kernels of few bits take these
    bits in `LayerProfile.weight_bits`. The table and the rows of `to_csv` say
    all this only where a model has such kernels.

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
    traced = sized_graph(model, input_size)
    batch = model.inputs[0].shape[0]
    fields = receptive_fields(traced)
    bits = kernel_bits(model)
    counted: dict[keras.Operation, tuple[graph.Node, Cost]] = {}
    for node in traced.nodes:
        _, before = counted.get(node.operation, (node, Cost()))
        counted[node.operation] = node, before + cost_of(node)
    seen: set[int] = set()
    return Profile(
        model=model.name,
        layers=tuple(
            _row(node, cost, fields[node.outputs[0]], batch, seen, bits)
            for node, cost in counted.values()
        ),
        receptive_field=fields[traced.output_tensors[0]],
        steps=live_tensors(traced),
    )


profile.latency = latency


def _row(node, cost, field, batch, seen, bits):
    operation, shape = node.operation, node.outputs[0].shape
    weights = [
        w for w in getattr(operation, "weights", ()) if id(w) not in seen
    ]
    seen.update(map(id, weights))
    trained = set(map(id, getattr(operation, "trainable_weights", ())))
    single = [w for w in weights if id(w) in bits and bits[id(w)].each == 1]
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
        binary_macs=_of_sample(cost.binary_macs, batch),
        binary_parameters=sum(map(_numbers, single)),
        weight_bits=sum(_bits(w, bits.get(id(w))) for w in weights),
    )


def _of_sample(count, batch):
    return count if count is None else count // (batch or 1)


def _numbers(weight):
    return math.prod(weight.shape)


def _bits(weight, few):
    if few is None:
        return 8 * _bytes(weight)
    return few.each * _numbers(weight) + few.scales


def _bytes(weight):
    return keras.ops.convert_to_numpy(weight).nbytes
