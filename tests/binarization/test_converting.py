"""What is deployed predicts what was trained, bit for bit."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights

import fritz_compress as fc
from fritz_compress import layers, models, quantizers

NETWORKS = {
    "resnet": lambda: models.BinaryResNet.build((16, 16), 0.5, 8),
    "resnet, real shortcuts": lambda: models.BinaryResNet.build(
        (16, 16), 0.5, 8, "B", bi_real=True, num_bits=2
    ),
    "resnet, input scale": lambda: models.BinaryResNet.build(
        (16, 16), 0.5, 8, input_scale=True
    ),
    "lenet": lambda: models.BinaryLeNet5.build(alpha=0.5),
    "mlp": lambda: models.BinaryConnectMLP.build(
        alpha=0.05, kernel_quantizer="stochastic_sign"
    ),
    "ternary": lambda: models.BinaryConnectMLP.build(
        alpha=0.05, kernel_quantizer=quantizers.SteTern("mean")
    ),
    "dorefa 1": lambda: models.BinaryConnectMLP.build(
        alpha=0.05, kernel_quantizer=quantizers.DoReFa(1, "weights")
    ),
    "dorefa 3": lambda: models.BinaryConnectMLP.build(
        alpha=0.05, num_bits=3, kernel_quantizer=quantizers.DoReFa(3, "weights")
    ),
}
LEVELS = {
    "ternary": {-1, 0, 1},
    "dorefa 3": set(np.float32(2 * (np.arange(8) / np.float32(7)) - 1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_are_the_same_bit_for_bit(name):
    keras.utils.set_random_seed(0)
    model = distinct_weights(NETWORKS[name]())
    before = model.get_weights()
    deployed = fc.convert_to_binary(model)
    shape = (5, *model.input_shape[1:])
    images = np.random.default_rng(1).normal(size=shape).astype("float32")
    for predict in (
        lambda one: one.predict(images, verbose=0),
        lambda one: keras.ops.convert_to_numpy(one(images, training=False)),
    ):
        np.testing.assert_array_equal(predict(deployed), predict(model))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", NETWORKS)
def test_kernels_hold_levels_for_good(name):
    deployed = fc.convert_to_binary(distinct_weights(NETWORKS[name]()))
    allowed = LEVELS.get(name, {-1, 1})
    binary = [
        layer
        for layer in deployed.layers
        if isinstance(layer, layers.binary_kernel.BinaryKernel)
    ]
    assert binary
    for layer in binary:
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        # Sevenths are rounded in one way or another.
        found = {round(float(level), 6) for level in np.unique(kernel)}
        assert found <= {round(float(level), 6) for level in allowed}
        assert not layer.trainable_weights and layer.kernel_clip is None
    assert deployed.trainable_weights  # Normalizations train on.


def test_scales_are_the_mean_magnitudes():
    inputs = keras.Input((5, 5, 4))
    outputs = layers.BinaryConv2D(
        3, 3, kernel_quantizer="magnitude_aware_sign", name="inner"
    )(inputs)
    model = distinct_weights(keras.Model(inputs, outputs))
    latent = keras.ops.convert_to_numpy(model.layers[-1].kernel)
    deployed = fc.convert_to_binary(model).get_layer("inner")
    np.testing.assert_allclose(
        deployed.kernel_scale, np.abs(latent).mean((0, 1, 2)), rtol=1e-6
    )
    np.testing.assert_array_equal(deployed.kernel, np.sign(latent))


def test_converting_twice_changes_nothing():
    once = fc.convert_to_binary(distinct_weights(NETWORKS["resnet"]()))
    twice = fc.convert_to_binary(once)
    for old, new in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_it_is_compiled_saved_and_loaded(tmp_path):
    model = distinct_weights(NETWORKS["mlp"]())
    model.compile("adam", "sparse_categorical_crossentropy")
    deployed = fc.convert_to_binary(model)
    assert deployed.compiled
    images = np.random.default_rng(1).normal(size=(3, 28, 28, 1))
    deployed.fit(images, np.arange(3), verbose=0)
    kernel = keras.ops.convert_to_numpy(deployed.get_layer("ip1").kernel)
    assert set(np.unique(kernel)) == {-1, 1}
    deployed.save(tmp_path / "deployed.keras")
    again = keras.saving.load_model(tmp_path / "deployed.keras")
    assert not again.get_layer("ip1").trainable
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), deployed.predict(images, verbose=0)
    )


def test_no_binary_layer():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2)], name="plain"
    )
    with pytest.raises(ValueError, match="'plain' must have layers with a ker"):
        fc.convert_to_binary(model)


def test_one_inside_a_wrapper():
    inputs = keras.Input((4, 6, 6, 3))
    x = keras.layers.TimeDistributed(layers.BinaryConv2D(2, 3, name="deep"))(
        inputs
    )
    model = keras.Model(inputs, x)
    with pytest.raises(ValueError, match="deep' must be a layer of the model"):
        fc.convert_to_binary(model)
