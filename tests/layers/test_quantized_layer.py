"""Layers with simulated integers against integer arithmetic in NumPy."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress.layers import QuantizedLayer
from fritz_compress.quantizers import LinearSymmetric

STEP = 0.02
RANGE = np.float32([-128 * STEP, 127 * STEP, STEP])


def built(layer, shape, normalization=None, **kwargs):
    """A layer with distinct weights, and inputs that are integers."""
    quantized = QuantizedLayer(layer, normalization, **kwargs)
    quantized.build(shape)
    distinct_weights(quantized)
    rng = np.random.default_rng(0)
    integers = rng.integers(-128, 128, (2, *shape[1:]))
    return quantized, np.float32(STEP * integers), integers


def numpy_of(variable):
    return keras.ops.convert_to_numpy(variable).astype("float64")


@pytest.mark.parametrize("nbits, top", [(8, 127), (4, 7)])
def test_a_dense_layer_is_computed_with_integers(nbits, top):
    quantized, x, integers = built(
        layers.Dense(5), (None, 7), quantizer=LinearSymmetric(nbits)
    )
    kernel = numpy_of(quantized.layer.kernel)
    scale = np.abs(kernel).max(axis=0) / top
    codes = np.rint(kernel / scale)
    bias = np.rint(numpy_of(quantized.layer.bias) / (STEP * scale))
    expected = (integers @ codes + bias) * (STEP * scale)
    np.testing.assert_allclose(quantized(x, RANGE)[0], expected, atol=1e-5)


def test_a_normalization_is_folded_at_inference():
    normalization = layers.BatchNormalization()
    quantized, x, integers = built(
        layers.Dense(5, use_bias=False), (None, 7), normalization
    )
    gamma, beta, mean, variance = map(numpy_of, normalization.weights)
    gain = gamma / np.sqrt(variance + normalization.epsilon)
    assert (gain < 0).any()
    kernel = numpy_of(quantized.layer.kernel) * gain
    scale = np.abs(kernel).max(axis=0) / 127
    bias = np.rint((beta - mean * gain) / (STEP * scale))
    expected = integers @ np.rint(kernel / scale) + bias
    np.testing.assert_allclose(
        quantized(x, RANGE)[0], expected * STEP * scale, rtol=1e-4, atol=1e-4
    )


def test_training_normalizes_the_batch_and_frozen_training_does_not():
    normalization = layers.BatchNormalization(center=False, scale=False)
    quantized, x, _ = built(layers.Dense(5), (None, 7), normalization)
    x = np.tile(x, (8, 1)) + np.float32(STEP * np.arange(16)[:, None])
    at_inference = np.asarray(quantized(x, RANGE)[0])
    mean = numpy_of(normalization.moving_mean)
    quantized.frozen = True
    np.testing.assert_allclose(
        quantized(x, RANGE, training=True)[0], at_inference, atol=1e-6
    )
    np.testing.assert_array_equal(numpy_of(normalization.moving_mean), mean)
    quantized.frozen = False
    outputs = np.asarray(quantized(x, RANGE, training=True)[0])
    np.testing.assert_allclose(outputs.mean(axis=0), 0, atol=1e-4)
    assert (numpy_of(normalization.moving_mean) != mean).all()


LAYERS = {
    "convolution": (layers.Conv2D(4, 3, 2, "same"), (None, 6, 6, 3)),
    "grouped": (layers.Conv2D(4, 3, groups=2), (None, 6, 6, 2)),
    "depthwise": (
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        (None, 6, 6, 3),
    ),
    "transposed": (layers.Conv2DTranspose(4, 3, 2), (None, 4, 4, 3)),
    "dilated": (layers.Conv1D(4, 3, dilation_rate=2), (None, 9, 3)),
    "causal": (layers.Conv1D(4, 3, padding="causal"), (None, 9, 3)),
    "depthwise_1d": (layers.DepthwiseConv1D(3), (None, 9, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_other_layers_are_themselves_with_rounded_kernels(name):
    layer, shape = LAYERS[name]
    layer = type(layer).from_config(layer.get_config())
    quantized, x, _ = built(layer, shape, activation="relu6")
    outputs = np.asarray(quantized(x, RANGE)[0])
    kernel = numpy_of(layer.kernel)
    axes = {"depthwise": (0, 1), "transposed": (0, 1, 3)}
    axes = axes.get(name, tuple(range(kernel.ndim - 1)))
    if name == "depthwise_1d":
        axes = (0,)
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / 127
    layer.kernel.assign(np.rint(kernel / scale) * scale)
    steps = STEP * scale.ravel()
    layer.bias.assign(np.rint(numpy_of(layer.bias) / steps) * steps)
    expected = np.clip(np.asarray(layer(x)), 0, 6)
    np.testing.assert_allclose(outputs, expected, atol=2e-5)
    expected_shape, _ = quantized.compute_output_shape(shape)
    assert outputs.shape[1:] == tuple(expected_shape)[1:]


def test_floats_are_what_the_layers_inside_compute():
    normalization = layers.BatchNormalization()
    quantized, x, _ = built(
        layers.Conv2D(4, 3), (None, 6, 6, 3), normalization, activation="relu"
    )
    expected = keras.ops.relu(normalization(quantized.layer(x)))
    np.testing.assert_allclose(
        quantized.call_with_floats(x), expected, rtol=1e-4, atol=1e-5
    )


def test_a_bias_fits_into_32_bits():
    """A pruned channel with a large offset must not overflow."""
    quantized, x, _ = built(layers.Dense(2), (None, 3))
    kernel = numpy_of(quantized.layer.kernel)
    kernel[:, 0] = 1e-12
    quantized.layer.kernel.assign(kernel)
    quantized.layer.bias.assign([100.0, 1.0])
    _, limit, bias = quantized.folded(np.float32(STEP))
    integers = numpy_of(bias) / (STEP * numpy_of(limit) / 127)
    assert np.abs(integers).max() < 2**31
    np.testing.assert_allclose(quantized(x, RANGE)[0][:, 0], 100, rtol=1e-6)


def trained(quantized, x, steps=5):
    inputs = keras.Input(x.shape[1:])
    ends = keras.ops.convert_to_tensor(RANGE)
    model = keras.Model(inputs, quantized(inputs, ends)[0])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    outputs = model(x)
    model.fit(x, np.ones(outputs.shape), epochs=steps, verbose=0)
    return model


@pytest.mark.parametrize("frozen", [False, True])
def test_zeros_and_pruned_channels_stay(frozen):
    quantized, x, _ = built(
        layers.Dense(5),
        (None, 7),
        layers.BatchNormalization(),
        keep_zeros=True,
        frozen=frozen,
    )
    kernel = numpy_of(quantized.layer.kernel)
    kernel[::2, 1:] = 0
    kernel[:, 0] = 0
    quantized.layer.kernel.assign(kernel)
    for weight in (quantized.layer.bias, *quantized.normalization.weights[:2]):
        weight.assign([0, *numpy_of(weight)[1:]])
    quantized.remember()
    model = trained(quantized, x)
    np.testing.assert_array_equal(model.predict(x, verbose=0)[:, 0], 0)
    after = numpy_of(quantized.plain_kernel())
    np.testing.assert_array_equal(after == 0, kernel == 0)
    assert (after != kernel).any()


def test_clusters_stay_and_move_by_the_mean_of_their_gradients():
    members = np.int32([[0, 1], [1, 2], [0, 0]])
    values = np.float32([0.5, -0.25, 1.0])
    quantized, x, _ = built(
        layers.Dense(2, use_bias=False),
        (None, 3),
        clusters=3,
        per_channel=False,
    )
    quantized.layer.kernel.assign(values[members])
    quantized.remember(members)
    trained(quantized, x)
    after = numpy_of(quantized.plain_kernel())
    moved = [np.unique(after[members == i]) for i in range(3)]
    assert all(len(own) == 1 for own in moved)
    assert all(own != old for own, old in zip(moved, values))


def test_it_is_made_again_of_its_configuration():
    quantized = QuantizedLayer(
        layers.Conv2D(4, 3),
        layers.BatchNormalization(),
        "relu6",
        LinearSymmetric(4),
        keep_zeros=True,
        clusters=3,
        per_channel=False,
        frozen=True,
        name="own",
    )
    again = QuantizedLayer.from_config(quantized.get_config())
    assert again.get_config() == quantized.get_config()


@pytest.mark.parametrize(
    "layer, arguments, message",
    [
        (layers.Conv3D(2, 3), {}, "cannot quantize a Conv3D"),
        (layers.Dense(2, "relu"), {}, "no activation of its own"),
        (layers.Dense(2), {"activation": "elu"}, "one of .*'relu6'.*'elu'"),
        (
            layers.Conv2D(2, 3, data_format="channels_first"),
            {},
            "must have its channels last",
        ),
    ],
)
def test_arguments_are_checked(layer, arguments, message):
    with pytest.raises(ValueError, match=message):
        QuantizedLayer(layer, **arguments)
