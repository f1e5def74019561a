"""A layer that multiplies by Fourier transforms, beside its dense kernel."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress.layers import ToeplitzLikeDense

# Inputs, units, displacement rank: square, wide, tall, odd, full.
SIZES = [(8, 8, 2), (6, 9, 3), (9, 4, 1), (7, 7, 2), (5, 5, 5), (1, 1, 1)]


def model_of(inputs, units, rank, **arguments):
    layer = ToeplitzLikeDense(units, rank, name="generated", **arguments)
    model = keras.Sequential([keras.Input((inputs,)), layer])
    return distinct_weights(model), layer


def dense_kernel(layer, inputs):
    """From the generators, one product of matrices after the other."""
    left, right = (
        keras.ops.convert_to_numpy(w).astype("float64")
        for w in (layer.left, layer.right)
    )
    size = left.shape[1]
    total = np.zeros((size, size))
    for g, h in zip(left, right):
        circulant = [np.roll(g, shift) for shift in range(size)]
        skew = []
        for shift in range(size):
            column = np.roll(h, shift)
            column[:shift] *= -1
            skew.append(column)
        total += np.stack(circulant, 1) @ np.stack(skew, 1)
    return total[: layer.units, :inputs].T


def vectors(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


@pytest.mark.parametrize("inputs, units, rank", SIZES)
def test_it_computes_what_its_dense_kernel_does(inputs, units, rank):
    model, layer = model_of(inputs, units, rank, activation="tanh")
    x, bias = vectors(3, inputs), keras.ops.convert_to_numpy(layer.bias)
    kernel = dense_kernel(layer, inputs)
    np.testing.assert_allclose(model(x), np.tanh(x @ kernel + bias), atol=1e-5)
    np.testing.assert_allclose(layer.dense_kernel(), kernel, atol=1e-5)
    dense = layer.to_dense()
    assert (type(dense), dense.name) == (keras.layers.Dense, "generated")
    np.testing.assert_allclose(dense(x), model(x), atol=1e-5)


def test_leading_axes_and_no_bias():
    layer = ToeplitzLikeDense(6, 2, use_bias=False, seed=0)
    x = vectors(2, 3, 4, 5)
    found = layer(x)
    assert found.shape == layer.compute_output_shape(x.shape) == (2, 3, 4, 6)
    np.testing.assert_allclose(found, x @ dense_kernel(layer, 5), atol=1e-5)
    assert layer.bias is None and len(layer.weights) == 2
    assert not layer.to_dense().use_bias


def test_weights_are_generators_and_a_bias():
    _, layer = model_of(300, 200, 4)
    assert layer.count_params() == 2 * 4 * 300 + 200


def test_the_kernel_begins_with_the_variance_of_glorot():
    layer = ToeplitzLikeDense(256, 4, seed=0)
    layer.build((None, 512))
    kernel = keras.ops.convert_to_numpy(layer.dense_kernel())
    assert kernel.var() == pytest.approx(2 / (512 + 256), rel=0.1)
    assert not np.allclose(layer.left, layer.right)


def test_a_seed_decides():
    kernels = []
    for seed in (1, 1, 2):
        layer = ToeplitzLikeDense(8, 2, seed=seed)
        layer.build((None, 8))
        kernels.append(keras.ops.convert_to_numpy(layer.dense_kernel()))
    assert (kernels[0] == kernels[1]).all()
    assert not np.allclose(kernels[0], kernels[2])


@pytest.mark.slow
def test_it_learns_a_shift():
    """What a convolution does has displacement rank 2."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((12,)), ToeplitzLikeDense(12, 2, seed=0)]
    )
    x = vectors(256, 12)
    y = np.roll(x, 3, axis=1)
    y[:, :3] = 0
    model.compile(keras.optimizers.Adam(0.01), "mse")
    history = model.fit(x, y, epochs=40, verbose=0).history["loss"]
    assert history[-1] < 0.05 * history[0]


def test_every_weight_gets_the_gradient_of_differences():
    model, layer = model_of(5, 4, 2)
    x, y = vectors(6, 5), vectors(6, 4)
    rate = 1e-2
    model.compile(keras.optimizers.SGD(rate), "mse")
    before = model.get_weights()
    expected = []
    for place, weight in enumerate(before):
        slopes = np.zeros_like(weight)
        for index in np.ndindex(*weight.shape):
            losses = []
            for step in (1e-2, -1e-2):
                moved = [w.copy() for w in before]
                moved[place][index] += step
                model.set_weights(moved)
                losses.append(np.square(np.asarray(model(x)) - y).mean())
            slopes[index] = (losses[0] - losses[1]) / 2e-2
        expected.append(slopes)
    model.set_weights(before)
    model.fit(x, y, batch_size=6, verbose=0)
    for old, new, slopes in zip(before, model.get_weights(), expected):
        np.testing.assert_allclose((old - new) / rate, slopes, atol=2e-3)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_it_trains_with_and_without_xla(jit_compile):
    model, _ = model_of(6, 4, 2, activation="relu")
    before = model.get_weights()
    model.compile("sgd", "mse", jit_compile=jit_compile)
    model.fit(vectors(8, 6), vectors(8, 4), verbose=0)
    for old, new in zip(before, model.get_weights()):
        assert (old != new).any()


def test_it_is_saved_and_loaded(tmp_path):
    model, _ = model_of(
        6,
        4,
        2,
        activation="relu",
        seed=3,
        generator_regularizer=keras.regularizers.L2(0.1),
        bias_regularizer="l1",
        bias_initializer="ones",
        activity_regularizer="l2",
    )
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    x = vectors(3, 6)
    np.testing.assert_array_equal(again(x), model(x))
    (layer,) = again.layers
    assert layer.get_config() == model.layers[0].get_config()
    assert layer.displacement_rank == 2 and layer.seed == 3
    # Two generators, a bias and the output.
    assert len(model.losses) == len(again.losses) == 4


def test_half_precision_is_close_to_single():
    model, layer = model_of(8, 6, 2)
    half = ToeplitzLikeDense(6, 2, dtype="mixed_float16")
    half.build((None, 8))
    half.set_weights(layer.get_weights())
    x = vectors(3, 8)
    found = half(x)
    assert keras.backend.standardize_dtype(found.dtype) == "float16"
    np.testing.assert_allclose(
        keras.ops.cast(found, "float32"), model(x), rtol=2e-3, atol=5e-3
    )


@pytest.mark.parametrize(
    "arguments, kind, message",
    [
        ((0, 2), ValueError, "`units` must be at least 1.*units=0"),
        ((4, 0), ValueError, "`displacement_rank` must be at least 1"),
        ((4, 1.5), TypeError, "`displacement_rank` must be a whole number"),
        ((True, 1), TypeError, "`units` must be a whole number"),
    ],
)
def test_bad_arguments_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        ToeplitzLikeDense(*arguments)


def test_the_last_axis_must_be_known():
    layer = ToeplitzLikeDense(4, 2, name="generated")
    with pytest.raises(ValueError, match="'generated' needs a known last axis"):
        layer.build((None, None))
