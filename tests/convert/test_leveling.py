"""Leveling changes scales inside the network, never what it computes."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress import graph
from fritz_compress.convert import export
from fritz_compress.convert.leveling import leveled_forms
from fritz_compress.layers import InstanceNormalization


def build(use_bias=True, activation=None, read_twice=False):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(
        4, 3, use_bias=use_bias, activation=activation, name="conv"
    )(inputs)
    outputs = InstanceNormalization(epsilon=0.1, name="norm")(x)
    if read_twice:
        outputs = keras.layers.Add()([outputs, x])
    model = distinct_weights(keras.Model(inputs, outputs))
    kernel = model.get_layer("conv").kernel
    kernel.assign(kernel * np.array([0, 1e-3, 1, 100], "float32"))
    return model


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return rng.uniform(0, 2, (2, 8, 8, 3)).astype("float32")


@pytest.mark.parametrize("use_bias", [True, False])
def test_the_network_computes_the_same(samples, use_bias):
    model = build(use_bias)
    traced = graph.trace(model, [(1, 8, 8, 3)])
    forms = leveled_forms(traced, samples)
    assert [node.kind for node in forms] == ["Conv2D", "InstanceNormalization"]
    function = export.frozen_function(traced, forms)
    for sample in map(keras.ops.convert_to_tensor, samples[:, None]):
        np.testing.assert_allclose(
            function(sample)[0], model(sample), rtol=1e-4, atol=1e-4
        )


def test_variances_in_front_of_the_normalization_become_one(samples):
    model = build()
    (convolution, form), _ = leveled_forms(
        graph.trace(model, [(1, 8, 8, 3)]), samples
    ).items()
    variances = np.var(form(convolution.operation, samples), (1, 2)).mean(0)
    plain = np.var(model.get_layer("conv")(samples), (1, 2)).mean(0)
    # Of variance plus epsilon, so that silent channels are left silent.
    np.testing.assert_allclose(variances, plain / (plain + 0.1), 1e-4, 1e-9)
    assert variances[0] < 1e-9 and variances[3] > 0.99


@pytest.mark.parametrize(
    "arguments", [{"activation": "relu"}, {"read_twice": True}], ids=str
)
def test_what_would_change_the_result_is_left(samples, arguments):
    traced = graph.trace(build(**arguments), [(1, 8, 8, 3)])
    assert leveled_forms(traced, samples) == {}


def folded(between, strides=1, groups=1, read_twice=False):
    """Batch normalization, some layers, and the convolution that reads it."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="first")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    last = x
    for layer in between:
        last = layer(last)
    y = keras.layers.Conv2D(
        4, 3, strides, "same", groups=groups, activation="relu", name="second"
    )(last)
    outputs = keras.layers.Add()([y, last]) if read_twice else y
    model = distinct_weights(keras.Model(inputs, outputs))
    gamma = model.get_layer("norm").gamma
    gamma.assign(gamma * np.array([1e-6, 0.1, 1, 10], "float32"))
    return model


@pytest.mark.parametrize(
    "between",
    [
        [],
        [keras.layers.Activation("relu")],
        [keras.layers.ReLU(negative_slope=0.1), keras.layers.UpSampling2D(2)],
    ],
    ids=["linear", "relu", "leaky, larger"],
)
def test_a_folded_network_computes_the_same(samples, between):
    model = folded(between, strides=2)
    traced = graph.trace(model, [(1, 8, 8, 3)])
    forms = leveled_forms(traced, samples)
    assert [n.operation.name for n in forms] == ["norm", "second"]
    function = export.frozen_function(traced, export.forms_of(traced) | forms)
    for sample in map(keras.ops.convert_to_tensor, samples[:, None]):
        np.testing.assert_allclose(
            function(sample)[0], model(sample), rtol=1e-4, atol=1e-5
        )


def test_channels_behind_a_batch_normalization_become_equally_large(samples):
    model = folded([keras.layers.ReLU()])
    (normalization, form), _ = leveled_forms(
        graph.trace(model, [(1, 8, 8, 3)]), samples
    ).items()
    x = model.get_layer("first")(samples)
    plain = np.maximum(model.get_layer("norm")(x), 0).max((0, 1, 2))
    leveled = np.maximum(form(normalization.operation, x), 0).max((0, 1, 2))
    silent = plain < 1e-3 * plain.max()
    assert 0 < silent.sum() < 3
    np.testing.assert_allclose(leveled[~silent], plain.max(), rtol=1e-4)
    np.testing.assert_allclose(leveled[silent], plain[silent], rtol=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"between": [keras.layers.ReLU(max_value=6.0)]},
        {"between": [keras.layers.Activation("tanh")]},
        {"between": [keras.layers.ReLU()], "read_twice": True},
        {"between": [keras.layers.ReLU()], "groups": 2},
    ],
    ids=["relu6", "tanh", "read twice", "groups"],
)
def test_factors_that_nothing_undoes_are_not_made(samples, arguments):
    traced = graph.trace(folded(**arguments), [(1, 8, 8, 3)])
    assert leveled_forms(traced, samples) == {}


def test_a_convolution_between_both_normalizations_gets_both(samples):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(name="batch")(inputs)
    x = keras.layers.Conv2D(4, 3, name="conv")(x)
    model = keras.Model(inputs, InstanceNormalization(name="instance")(x))
    distinct_weights(model)
    traced = graph.trace(model, [(1, 8, 8, 3)])
    forms = leveled_forms(traced, samples)
    assert len(forms) == 3
    function = export.frozen_function(traced, forms)
    sample = keras.ops.convert_to_tensor(samples[:1])
    np.testing.assert_allclose(
        function(sample)[0], model(sample), rtol=1e-3, atol=1e-4
    )
