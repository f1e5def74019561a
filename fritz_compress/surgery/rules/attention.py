"""Attention: heads, their width, and the width of the residual stream."""

import keras
import numpy as np
from keras import layers

from fritz_compress.graph import Tensor
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.values import Strand, Value


@rule(layers.MultiHeadAttention)
def multi_head(call: Call) -> list[Value]:
    """Heads, `key_dim`, `value_dim` and the output shrink on their own.

    On JAX `key_dim` and `value_dim` shrink together.
    """
    layer = call.operation
    if len(call.node.outputs[0].shape) != 3:
        raise Whole("attends over several axes")
    heads = call.produce(layer.num_heads, "heads")
    keys = call.produce(layer.key_dim, "key_dim")
    values = call.produce(layer.value_dim, "value_dim")
    if keras.backend.backend() == "jax" and len(keys) == len(values):
        # There Keras can only compute with values as wide as keys.
        call.tie(keys, values)
    made = call.produce(call.node.outputs[0].shape[-1])
    _project(call, heads, heads, keys, values, made)
    call.configure("num_heads", heads)
    call.configure("key_dim", keys)
    call.configure("value_dim", values)
    _output_width(call, made)
    return _outputs(call, heads, made)


@rule(layers.GroupQueryAttention)
def grouped_query(call: Call) -> list[Value]:
    """A key-value head goes with all the query heads that share it."""
    layer = call.operation
    shared = call.produce(layer.num_key_value_heads, "heads")
    heads = np.repeat(shared, layer.num_repeats)
    width = call.produce(layer.head_dim, "head_dim")
    made = call.produce(call.node.outputs[0].shape[-1])
    # Its output is as wide as the query, without an argument to change that.
    query = call.channels(-1, call.arguments["query"])
    call.tie(made, query)
    # And it wants a value, and so a key, that is as wide.
    for name in ("value", "key"):
        if isinstance(call.arguments.get(name), Tensor):
            call.tie(query, call.channels(-1, call.arguments[name]))
    _project(call, heads, shared, width, width, made)
    call.configure("num_query_heads", heads)
    call.configure("num_key_value_heads", shared)
    call.configure("head_dim", width)
    return _outputs(call, heads, made)


def _output_width(call, made):
    """The output is as wide as the query, unless the width is given."""
    count = len(made)
    query = call.channels(-1, call.arguments["query"])
    call.configure(
        "output_shape",
        np.concatenate([made, query]),
        lambda kept: (int(np.count_nonzero(kept < count)),),
    )


def _project(call, heads, shared, keys, values, made):
    """Weights of the projections to queries, keys, values and back.

    Args:
        heads: Labels of the query heads.
        shared: Labels of the key and value heads.
        keys: Labels of the width in which queries and keys meet.
        values: Labels of the width of the values.
        made: Labels of the output.
    """

    def rescale(keep):
        # The layer divides by the root of the width that is left.
        return np.sqrt(len(keep(keys)) / len(keys))

    query, value = call.arguments["query"], call.arguments["value"]
    key = call.arguments.get("key")
    _head(call, "query", query, heads, keys, rescale)
    _head(call, "key", value if key is None else key, shared, keys)
    _head(call, "value", value, shared, values)
    if hasattr(call.operation, "_gate_dense"):
        _head(call, "gate", query, heads, values)
    call.weight(
        "output_dense.kernel", reads={0: heads, 1: values}, makes={2: made}
    )
    call.weight("output_dense.bias", makes={0: made})
    for labels in dict.fromkeys(map(tuple, (heads, keys, values))):
        call.flow.readers.append((call.operation, np.array(labels)))


def _head(call, name, tensor, heads, width, scale=None):
    if not isinstance(tensor, Tensor):
        raise Whole("attends to a constant")
    call.only(-1, index=tensor)
    read = call.read(-1, tensor)
    makes = {1: heads, 2: width}
    call.weight(f"{name}_dense.kernel", {0: read}, makes, scale=scale)
    call.weight(f"{name}_dense.bias", None, {0: heads, 1: width}, scale=scale)


def _outputs(call, heads, made):
    mask = call.arguments.get("attention_mask")
    if isinstance(mask, Tensor):
        call.only(index=mask)
    if mask is not None and len(mask.shape) == 4 and mask.shape[1] != 1:
        call.freeze(heads, "has a mask of its own for every head")
    outputs = [call.output({-1: Strand(made, np.zeros_like(made))})]
    if len(call.node.outputs) > 1:
        # A head of zeros attends evenly.
        even = np.full_like(heads, call.number)
        outputs.append(call.output({1: Strand(heads, even)}, 1))
    return outputs
