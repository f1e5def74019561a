"""Attention: projections, scores, and sums of the values."""

import math

from keras import layers

from fritz_compress.costs.table import Call, Cost, rule


@rule(layers.Attention)
def attention(call: Call) -> Cost:
    """A product of every query with every key, softmax, sums of the values."""
    layer = call.operation
    query, value, key = _query_value_key(call)
    scores = math.prod(query[:-1]) * key[-2]
    cost = _weighed(scores, value[-1])
    if layer.score_mode == "dot":
        return cost + Cost(scores * query[-1], scores * layer.use_scale)
    scaled = scores * query[-1] * layer.use_scale
    return cost + Cost(others=scores + scaled)


@rule(layers.AdditiveAttention)
def additive(call: Call) -> Cost:
    """A tanh for every query, key and channel, weighted by `scale`."""
    query, value, key = _query_value_key(call)
    scores = math.prod(query[:-1]) * key[-2]
    weighted = scores * query[-1] * call.operation.use_scale
    return _weighed(scores, value[-1]) + Cost(weighted)


@rule(layers.MultiHeadAttention)
def multi_head(call: Call) -> Cost:
    """Over the attention axes; all others but the last are like a batch."""
    layer = call.operation
    query, value, key = _named(call)
    heads, width = layer.num_heads, layer.value_dim
    queries = math.prod(query[:-1]) * heads
    scores = queries * math.prod(key[axis] for axis in layer.attention_axes)
    gate = layer.get_config()["use_gate"]
    return (
        _scored(queries, scores, layer.key_dim)
        + _weighed(scores, width)
        + Cost(math.prod(query) * heads * layer.key_dim)
        + Cost(math.prod(key) * heads * layer.key_dim)
        + Cost(math.prod(value) * heads * width)
        + Cost(call.outputs * heads * width)
        + Cost(queries * query[-1] * width, queries * width) * gate
    )


@rule(layers.GroupQueryAttention)
def grouped_query(call: Call) -> Cost:
    """As many scores as with a key for every head, and fewer projections."""
    layer = call.operation
    query, value, key = _named(call)
    heads, width = layer.num_query_heads, layer.head_dim
    queries = math.prod(query[:-1]) * heads
    scores = queries * key[1]
    read = math.prod(key) + math.prod(value)
    return (
        _scored(queries, scores, width)
        + _weighed(scores, width)
        + Cost(math.prod(query) * heads * width)
        + Cost(read * layer.num_key_value_heads * width)
        + Cost(call.outputs * heads * width)
        + Cost(queries * query[-1] * width, queries * width) * layer.use_gate
    )


@rule("DotProductAttention")
def dot_product(call: Call) -> Cost:
    """Of heads that are made already."""
    batch, positions, heads, width = call.argument("query")
    queries = batch * positions * heads
    scores = queries * call.argument("key")[1]
    return _scored(queries, scores, width) + _weighed(scores, width)


def _scored(queries, scores, width):
    """Queries are scaled, and multiplied with the keys."""
    return Cost(scores * width, queries * width)


def _weighed(scores, width):
    """Softmax, and sums of values with the scores as weights."""
    return Cost(scores * width, scores)


def _query_value_key(call):
    shapes = [call.known(x.shape) for x in call.arguments["inputs"]]
    return shapes if len(shapes) == 3 else [*shapes, shapes[1]]


def _named(call):
    query, value = call.argument("query"), call.argument("value")
    return query, value, call.argument("key") or value
