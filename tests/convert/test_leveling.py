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
