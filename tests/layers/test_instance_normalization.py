import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress.layers import InstanceNormalization


def layer_on(shape, **arguments):
    inputs = keras.Input(shape)
    layer = InstanceNormalization(**arguments)
    model = keras.Model(inputs, layer(inputs))
    distinct_weights(model, seed=0)
    return model, layer


@pytest.mark.parametrize("shape", [(5, 3), (6, 5, 4), (3, 4, 5, 2)], ids=str)
@pytest.mark.parametrize("epsilon", [1e-3, 0.5])
def test_values_are_those_of_numpy(shape, epsilon):
    model, layer = layer_on(shape, epsilon=epsilon)
    x = np.random.default_rng(1).normal(3, 2, (2, *shape)).astype("float32")

    axes = tuple(range(1, x.ndim - 1))
    mean = x.mean(axes, keepdims=True)
    variance = x.var(axes, keepdims=True)
    gamma, beta = (np.asarray(weight) for weight in layer.weights)
    expected = gamma * (x - mean) / np.sqrt(variance + epsilon) + beta

    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


def test_a_constant_channel_becomes_its_offset():
    model, layer = layer_on((4, 4, 2))
    y = np.asarray(model(np.full((1, 4, 4, 2), 200.0, "float32")))
    beta = np.asarray(layer.beta)
    np.testing.assert_allclose(y, np.broadcast_to(beta, y.shape), atol=2e-3)


def test_training_and_inference_are_the_same():
    model, _ = layer_on((4, 4, 2))
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2))
    np.testing.assert_array_equal(model(x, training=True), model(x))


def test_config_round_trip_keeps_the_arguments():
    layer = InstanceNormalization(epsilon=0.1, name="norm")
    layer.build((None, 4, 4, 3))
    again = InstanceNormalization.from_config(layer.get_config())
    assert (again.epsilon, again.name) == (0.1, "norm")
    # Unlike GroupNormalization(groups=-1): rebuilding on fewer channels works.
    again.build((None, 4, 4, 2))
    assert again.gamma.shape == (2,)


def test_half_precision_is_close_to_single():
    model, layer = layer_on((8, 8, 3))
    half = InstanceNormalization(dtype="mixed_float16")
    half.build((None, 8, 8, 3))
    half.set_weights(layer.get_weights())
    # Variances of pixels after a convolution: beyond the range of float16.
    x = np.random.default_rng(0).normal(0, 1500, size=(1, 8, 8, 3))
    x = x.astype("float16").astype("float32")
    assert keras.backend.standardize_dtype(half(x).dtype) == "float16"
    np.testing.assert_allclose(half(x), model(x), atol=2e-3)


def test_one_step_of_fit_moves_every_weight():
    model, _ = layer_on((4, 4, 2))
    before = model.get_weights()
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(4, 4, 4, 2))
    model.fit(x, x, verbose=0)
    for old, new in zip(before, model.get_weights()):
        assert (old != new).all()


@pytest.mark.parametrize("epsilon", [0, -1.0, float("nan")])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(ValueError, match=f"must be positive.*{epsilon}"):
        InstanceNormalization(epsilon=epsilon)


@pytest.mark.parametrize("shape", [(None, 3), (None, 4, 4, None)], ids=str)
def test_an_input_without_positions_or_channels_is_an_error(shape):
    with pytest.raises(ValueError, match="Layer 'norm' expects .*channels"):
        InstanceNormalization(name="norm").build(shape)
