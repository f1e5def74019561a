"""Attention: heads, widths, the residual stream, the hidden width."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from removal_oracle import assert_exact, difference, predict, samples

from fritz_compress import surgery

# Places among the weights of an attention layer with biases.
QUERY, OUTPUT = 0, 6


own_widths = pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="on JAX Keras needs values as wide as keys",
)


def transformer(attention, **call):
    inputs = keras.Input((5, 6))
    x = layers.Dense(8, name="embed")(inputs)
    x = layers.Add(name="added")([x, attention(x, x, **call)])
    hidden = layers.Dense(12, activation="gelu", name="hidden")(x)
    x = layers.Add()([x, layers.Dense(8, name="back")(hidden)])
    return distinct_weights(
        keras.Model(inputs, layers.Dense(3, name="head")(x))
    )


def multi_head(**arguments):
    return layers.MultiHeadAttention(4, 6, name="attention", **arguments)


def grouped(**arguments):
    return layers.GroupQueryAttention(6, 4, 2, name="attention", **arguments)


def test_groups_of_a_transformer():
    groups = surgery.channel_groups(transformer(multi_head(value_dim=5)))
    assert str(groups).splitlines()[1:] == [
        "channels  layers",
        "       8  embed, attention, back",
        "       4  attention:heads",
        "       6  attention:key_dim",
        "       5  attention:value_dim",
        "      12  hidden",
        "       3  head  [frozen: an output of the model]",
    ]


@pytest.mark.parametrize("gate", [False, True])
def test_whole_heads(gate):
    model = transformer(multi_head(use_gate=gate))
    output = f"attention#{OUTPUT + 2 * gate}"
    smaller = assert_exact(
        model, {"attention:heads": [0, 2]}, {output: (0, [0, 2])}
    )
    assert smaller.get_layer("attention").num_heads == 2


@own_widths
def test_width_of_values():
    model = transformer(multi_head(value_dim=5, use_bias=False))
    smaller = assert_exact(
        model, {"attention:value_dim": [1, 4]}, {"attention#3": (1, [1, 4])}
    )
    assert smaller.get_layer("attention").value_dim == 3


@own_widths
@pytest.mark.parametrize("make", [multi_head, grouped])
def test_width_in_which_queries_and_keys_meet(make):
    """The scores divide by the root of the width: weights make up for it."""
    model = transformer(make())
    part = "key_dim" if make is multi_head else "head_dim"
    deaf = {f"attention#{QUERY}": (2, [0, 3]), "attention#1": (1, [0, 3])}
    if make is grouped:  # Values are as wide.
        deaf[f"attention#{OUTPUT}"] = (1, [0, 3])
    removed = {f"attention:{part}": [0, 3]}
    smaller = assert_exact(model, removed, deaf, effect=0.01)
    assert smaller.get_layer("attention").get_config()[part] == 4


def test_a_shared_head_goes_with_its_queries():
    model = transformer(grouped())
    smaller = assert_exact(
        model, {"attention:heads": [1]}, {f"attention#{OUTPUT}": (0, [2, 3])}
    )
    attention = smaller.get_layer("attention")
    assert attention.num_query_heads == 2
    assert attention.num_key_value_heads == 1


@pytest.mark.parametrize("make", [multi_head, grouped])
def test_residual_width(make):
    model = transformer(make())
    readers = {f"attention#{n}": (0, [1, 5]) for n in (0, 2, 4)}
    readers |= {name: (0, [1, 5]) for name in ("hidden", "head")}
    smaller = assert_exact(model, {"embed": [1, 5]}, readers)
    assert smaller.get_layer("added").output.shape[-1] == 6


def test_hidden_width():
    model = transformer(multi_head())
    assert_exact(model, {"hidden": [2, 11]}, {"back": (0, [2, 11])})


def test_queries_keys_and_values_from_three_places():
    inputs = [keras.Input((5, 6)), keras.Input((4, 7)), keras.Input((4, 7))]
    query, key, value = (
        layers.Dense(8, name=name)(x)
        for name, x in zip(("query", "key", "value"), inputs)
    )
    x = layers.MultiHeadAttention(2, 3, output_shape=5, name="attention")(
        query, value, key
    )
    model = distinct_weights(keras.Model(inputs, layers.Dense(2)(x)))
    names = {g.makers: g.channels for g in surgery.channel_groups(model)}
    assert names[("query",)] == names[("key",)] == names[("value",)] == 8
    assert_exact(
        model,
        {"query": [1], "key": [2], "value": [3]},
        {
            "attention#0": (0, [1]),
            "attention#2": (0, [2]),
            "attention#4": (0, [3]),
        },
    )


def test_output_width_without_a_residual():
    inputs = keras.Input((5, 6))
    x = layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs)
    model = distinct_weights(
        keras.Model(inputs, layers.Dense(2, name="head")(x))
    )
    smaller = assert_exact(model, {"attention": [0, 4]}, {"head": (0, [0, 4])})
    assert smaller.get_layer("attention").output.shape[-1] == 4


def test_scores_that_somebody_reads():
    inputs = keras.Input((5, 6))
    x, scores = multi_head()(inputs, inputs, return_attention_scores=True)
    scores = layers.Permute((2, 3, 1))(scores)
    outputs = [layers.Dense(2)(x), layers.Dense(2, name="reader")(scores)]
    model = distinct_weights(keras.Model(inputs, outputs))
    (group,) = surgery.channel_groups(model).of("attention:heads")
    assert "MultiHeadAttention" in group.revived
    deaf = {f"attention#{OUTPUT}": (0, [1, 2]), "reader": (0, [1, 2])}
    assert_exact(model, {"attention:heads": [1, 2]}, deaf)


def test_scores_that_leave_the_model_keep_the_heads():
    inputs = keras.Input((5, 6))
    outputs = multi_head()(inputs, inputs, return_attention_scores=True)
    groups = surgery.channel_groups(keras.Model(inputs, outputs))
    assert "output" in groups.of("attention:heads")[0].frozen


def test_a_mask_for_every_head_keeps_the_heads():
    inputs, mask = keras.Input((5, 6)), keras.Input((4, 5, 5), dtype="bool")
    x = multi_head()(inputs, inputs, attention_mask=mask)
    model = keras.Model([inputs, mask], layers.Dense(2)(x))
    (group,) = surgery.channel_groups(model).of("attention:heads")
    assert "a mask of its own for every head" in group.frozen


@pytest.mark.parametrize("scale", [False, True])
def test_dot_product_attention_without_weights(scale):
    inputs = [keras.Input((5, 6)), keras.Input((4, 7))]
    query = layers.Dense(8, name="query")(inputs[0])
    value = layers.Dense(8, name="value")(inputs[1])
    key = layers.Dense(8, name="key")(inputs[1])
    x = layers.Attention(use_scale=scale, name="attend")([query, value, key])
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    distinct_weights(model)
    groups = surgery.channel_groups(model)
    assert groups.of("query")[0].makers == ("query", "key")
    assert_exact(model, {"value": [0, 3]}, {"head": (0, [0, 3])})


@own_widths
def test_zeroed_parts_are_removed_without_a_trace():
    """Zero in all weights of a head or a width: removal changes nothing."""
    model = transformer(multi_head())
    attention = model.get_layer("attention")
    for place, weight in enumerate(attention.weights[:6]):
        value = keras.ops.convert_to_numpy(weight).copy()
        bias = place % 2
        np.moveaxis(value, 0 if bias else 1, 0)[1] = 0  # One head.
        if place < 4:
            value[..., 2] = 0  # One number of queries and keys.
        weight.assign(value)
    wanted = predict(model, samples(model))
    smaller = surgery.remove_pruned_filters(model)
    assert smaller.get_layer("attention").num_heads == 3
    assert smaller.get_layer("attention").key_dim == 5
    assert difference(wanted, predict(smaller, samples(model))) < 1e-5


def test_width_of_the_query_alone():
    """Without a residual the output keeps its width, which then is given."""
    inputs = keras.Input((5, 6))
    x = layers.Dense(8, name="embed")(inputs)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    model = distinct_weights(keras.Model(inputs, x))
    readers = {f"attention#{n}": (0, [1, 5]) for n in (0, 2, 4)}
    smaller = assert_exact(model, {"embed": [1, 5]}, readers)
    assert smaller.output_shape == (None, 5, 8)


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="the widths are tied on JAX only"
)
def test_both_widths_go_together_on_jax():
    model = transformer(multi_head())
    deaf = {
        f"attention#{QUERY}": (2, [0, 3]),
        "attention#1": (1, [0, 3]),
        f"attention#{OUTPUT}": (1, [0, 3]),
    }
    smaller = assert_exact(model, {"attention:value_dim": [0, 3]}, deaf)
    assert smaller.get_layer("attention").key_dim == 4
