"""The trace must name every call and compute what the model computes."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, ops

from fritz_compress import graph
from fritz_compress.models import SmallStyleTransferNetwork


def sequential():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, name="a"),
            layers.ReLU(name="b"),
        ]
    )


def branches():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    left, right = ops.split(x, 2, axis=-1)
    y = layers.Add()([left * 2.0, right[:, ::-1]])
    return keras.Model(inputs, {"sum": y, "twice": y + y})


def nested():
    inner = sequential()
    inputs = keras.Input((6, 6, 2))
    x = inner(inputs)
    outer = keras.Model(inputs, layers.Conv2D(2, 1, name="head")(x))
    top = keras.Input((6, 6, 2))
    return keras.Model(top, layers.Average()([outer(top), outer(-top)]))


def shared():
    inputs = [keras.Input((5,)), keras.Input((5,))]
    dense = layers.Dense(3, name="shared")
    return keras.Model(inputs, layers.Multiply()([dense(i) for i in inputs]))


def called_with_a_dict():
    """Built on a list whose order is not that of the names."""
    late, early = keras.Input((4,), name="late"), keras.Input(
        (4,), name="early"
    )
    difference = layers.Dense(3)(late) - 2 * layers.Dense(3)(early)
    inner = keras.Model([late, early], difference)
    inputs = [keras.Input((4,)), keras.Input((4,))]
    outputs = inner({"late": inputs[0], "early": inputs[1]})
    return keras.Model(inputs, outputs)


def list_of_one():
    inputs = keras.Input((5,))
    inner = keras.Model(inputs, [layers.Dense(3)(inputs)])
    return keras.Model(inputs, [layers.ReLU()(inner(inputs))])


def style():
    return SmallStyleTransferNetwork.build((8, 8), alpha=0.1)


@pytest.mark.parametrize(
    "build",
    [
        sequential,
        branches,
        nested,
        shared,
        called_with_a_dict,
        list_of_one,
        style,
    ],
)
def test_replaying_the_graph_computes_what_the_model_computes(build):
    model = distinct_weights(build(), seed=0)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, *t.shape[1:])) for t in model.inputs]
    arrays = [array.astype("float32") for array in arrays]
    traced = graph.trace(model)
    replayed = traced.run(
        arrays, lambda node, *args, **kwargs: node.operation(*args, **kwargs)
    )
    expected = model(arrays if len(arrays) > 1 else arrays[0])
    keras.tree.assert_same_structure(replayed, expected)
    for a, b in zip(keras.tree.flatten(replayed), keras.tree.flatten(expected)):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_nested_models_are_flattened_call_by_call():
    kinds = [node.kind for node in graph.trace(nested()).nodes]
    assert kinds.count("Conv2D") == 4  # two layers, called twice each
    assert "Functional" not in kinds and "Sequential" not in kinds


def test_shapes_can_be_given():
    model = SmallStyleTransferNetwork.build(None, alpha=0.1)
    assert graph.trace(model).outputs.shape == (None, None, None, 3)
    traced = graph.trace(model, [(1, 16, 24, 3)])
    assert traced.outputs.shape == (1, 16, 24, 3)
    assert traced.nodes[0].outputs[0].shape == (1, 16, 24, 3)


def test_consumers_are_the_nodes_that_read_a_tensor():
    traced = graph.trace(branches())
    consumers = traced.consumers()
    (first,) = consumers[traced.inputs[0]]
    assert first.kind == "Conv2D"
    assert traced.outputs["twice"] not in consumers


def test_frozen_inner_calls_keep_their_training_flag():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(name="norm")]
    )
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(inputs, training=False))
    (node,) = graph.trace(model).nodes
    assert node.kwargs["training"] is False


def test_tracing_leaves_the_model_as_it_was():
    model = nested()
    before = model.get_config(), model.get_weights()
    graph.trace(model)
    assert model.get_config() == before[0]
    for old, new in zip(before[1], model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_weights_are_found_by_attribute():
    model = sequential()
    names = graph.weights_by_attribute(model.get_layer("a"))
    assert list(names) == ["kernel", "bias"]
    assert names["kernel"].shape == (3, 3, 2, 3)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


class OwnCall(keras.Model):
    """Has a graph and does something else with it."""

    def __init__(self, name):
        inputs = keras.Input((4,))
        super().__init__(inputs, layers.Dense(2)(inputs), name=name)

    def call(self, inputs, training=None, mask=None):
        return 10 * super().call(inputs, training=training)


class OwnTraining(keras.Model):
    def train_step(self, data):
        return {}


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: OwnCall(name="ten"), "`call` of its own.* OwnCall 'ten'"),
        (lambda: Subclassed(name="sub"), "Received: Subclassed 'sub'"),
        (lambda: keras.Sequential([layers.Dense(2)]), "build a Sequential"),
    ],
)
def test_a_model_without_a_graph_is_an_error(build, message):
    with pytest.raises(ValueError, match=message):
        graph.trace(build())


def test_what_is_no_model_is_an_error():
    message = "`model` must be a Keras model. Received: Dense 'd'."
    with pytest.raises(TypeError, match=message):
        graph.trace(layers.Dense(2, name="d"))


def test_a_subclass_that_computes_the_same_has_a_graph():
    inputs = keras.Input((4,))
    model = OwnTraining(inputs, layers.Dense(2)(inputs))
    assert [node.kind for node in graph.trace(model).nodes] == ["Dense"]


def test_a_model_with_its_own_call_is_one_call_of_another():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, OwnCall(name="ten")(inputs))
    assert [node.kind for node in graph.trace(model).nodes] == ["OwnCall"]


def test_the_number_of_shapes_must_fit():
    with pytest.raises(ValueError, match="has 2 inputs. Received: 1"):
        graph.trace(shared(), [(1, 5)])


def test_weights_inside_layers_are_found_by_their_path():
    layer = keras.layers.Bidirectional(keras.layers.LSTM(3))
    layer.build((None, 4, 2))
    paths = graph.weights_by_attribute(layer)
    assert list(paths)[:2] == [
        "forward_layer.cell.kernel",
        "forward_layer.cell.recurrent_kernel",
    ]
    assert [id(w) for w in paths.values()] == [id(w) for w in layer.weights]


def test_layers_that_know_each_other_end_the_search():
    class Holder(keras.layers.Layer):
        def build(self, input_shape):
            self.parts = [keras.layers.Dense(2), keras.layers.Dense(3)]
            for part in self.parts:
                part.build(input_shape)
                part.__dict__["owner"] = self

    layer = Holder()
    layer.build((None, 4))
    assert list(graph.weights_by_attribute(layer)) == [
        "parts.0.kernel",
        "parts.0.bias",
        "parts.1.kernel",
        "parts.1.bias",
    ]
