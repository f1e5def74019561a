"""Shared weights: gradients of codebooks against closed forms, and sharing."""

import fits
import keras
import numpy as np
import pytest
from helpers import slow_but
from keras import layers

import fritz_compress as fc
from fritz_compress.callbacks import CodebookFineTuning

PALETTE = {"nbits": 2, "mode": "kmeans"}
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.01),
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, clipnorm=1.0),
    "muon": lambda: keras.optimizers.Muon(0.01),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01)
    ),
}

KINDS = {
    "channel": {"nbits": 3, "mode": "kmeans", "granularity": "per_channel"},
    "linear": {"nbits": 3, "granularity": "per_tensor"},
    "product": {"nbits": 3, "mode": "product", "dimension": 2},
}


def quantized_net(config=PALETTE, optimizer="adam"):
    model, _ = fc.quantize_weights(fits.residual_net(), config)
    model.compile(optimizer, "mse", jit_compile=fits.JIT)
    return model


def kernels(model):
    return {
        layer.name: keras.ops.convert_to_numpy(layer.kernel)
        for layer in model.layers
        if hasattr(layer, "kernel")
    }


def shares(one, two):
    """Whether equal numbers of one are equal in two, and different ones not."""
    pairs = np.unique(np.stack([one.ravel(), two.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(one)) == len(np.unique(two))


def linear_problem():
    """A dense layer without bias, and its gradient for one batch."""
    kernel = np.array([[1, 2, 0], [2, 1, 1], [0, 2, 2], [1, 1, 2]], "float32")
    kernel = np.tile(kernel, (4, 1))
    model = keras.Sequential(
        [keras.Input((16,)), layers.Dense(3, use_bias=False, name="dense")]
    )
    model.set_weights([kernel])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 16)), rng.normal(size=(8, 3))
    gradient = x.T @ (x @ kernel - y) * 2 / y.size
    return model, kernel, x, y, gradient


@pytest.mark.parametrize("gradients", ["sum", "mean"])
def test_a_shared_value_moves_by_the_gradients_of_its_members(gradients):
    model, kernel, x, y, gradient = linear_problem()
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=fits.JIT)
    callback = CodebookFineTuning(gradients)
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[callback])
    expected = np.zeros_like(kernel)
    for value in (1, 2):
        members = kernel == value
        step = gradient[members].sum()
        if gradients == "mean":
            step /= members.sum()
        expected[members] = value - 0.1 * step
    (found,) = model.get_weights()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert (found[kernel == 0] == 0).all()
    assert callback.shared == {"dense/kernel": 3}


@pytest.mark.parametrize("optimizer", slow_but(OPTIMIZERS, "sgd", "adam"))
def test_values_stay_shared_with_any_optimizer(optimizer):
    model = quantized_net(optimizer=OPTIMIZERS[optimizer]())
    before = kernels(model)
    others = [model.get_layer("head").bias, model.get_layer("stem_norm").gamma]
    were = [np.array(other) for other in others]
    fits.fit(model, CodebookFineTuning("mean"))
    for name, kernel in kernels(model).items():
        assert shares(before[name], kernel), name
        assert not np.array_equal(before[name], kernel), name
    for other, was in zip(others, were):
        assert not np.array_equal(np.array(other), was), "trains as usual"


@pytest.mark.parametrize("kind", slow_but(KINDS, "product"))
def test_all_kinds_of_codes_stay_codes(kind):
    config = KINDS[kind]
    from fritz_compress.ops.recognition import recognize

    model = quantized_net(config)
    before = {n: recognize(k) for n, k in kernels(model).items()}
    callback = CodebookFineTuning()
    fits.fit(model, callback)
    assert "first/kernel" in callback.shared
    for name, kernel in kernels(model).items():
        if f"{name}/kernel" in callback.shared:
            after = recognize(kernel)
            assert after.nbytes <= before[name].nbytes + 64, name


def test_levels_of_one_grid_are_shared_by_all_channels():
    """Though codes per channel would take fewer bits."""
    from fritz_compress.ops.recognition import recognize

    rng = np.random.default_rng(0)
    lowest = np.arange(-19, 1, 2)
    levels = lowest + rng.integers(0, 15, (300, 10))
    levels[:, 3] = 0
    levels[:, 4] *= 2  # A grid of its own would have larger steps.
    kernel = (levels * np.float32(49 / 2048)).astype("float32")
    assert recognize(kernel).groups == (1, 10)
    inputs = keras.Input((300,))
    dense = layers.Dense(10, use_bias=False, name="dense")
    model = keras.Model(inputs, dense(inputs))
    model.set_weights([kernel])
    model.compile("adam", "mse", jit_compile=fits.JIT)
    callback = CodebookFineTuning()
    x, y = rng.normal(size=(32, 300)), rng.normal(size=(32, 10))
    model.fit(x, y, epochs=2, verbose=0, callbacks=[callback])
    assert callback.shared == {"dense/kernel": len(np.unique(levels))}
    (after,) = model.get_weights()
    assert shares(kernel, after)
    assert not np.any(after[levels == 0])


def test_a_scale_for_each_channel_is_left_to_quantization_aware():
    """A channel of zeros fits any grid, the others do not fit one."""
    model = fits.residual_net()
    kernel = keras.ops.convert_to_numpy(model.get_layer("first").kernel).copy()
    kernel[..., 1] = 0
    model.get_layer("first").kernel.assign(kernel)
    config = {
        "global_config": PALETTE,
        "layer_name_configs": {"first": {"nbits": 4}},
    }
    model, _ = fc.quantize_weights(model, config)
    model.compile("adam", "mse", jit_compile=fits.JIT)
    callback = CodebookFineTuning()
    fits.fit(model, callback)
    assert "a scale for each channel" in dict(callback.skipped)["first/kernel"]


def test_zeros_of_pruned_weights_stay():
    model = fits.residual_net()
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            least = np.quantile(np.abs(kernel), 0.6)
            layer.kernel.assign(np.where(np.abs(kernel) < least, 0, kernel))
    model, _ = fc.quantize_weights(model, PALETTE)
    model.compile("adam", "mse", jit_compile=fits.JIT)
    before = kernels(model)
    fits.fit(model, CodebookFineTuning())
    for name, kernel in kernels(model).items():
        assert ((kernel == 0) == (before[name] == 0)).all()


@pytest.mark.slow
def test_it_learns_what_single_weights_could_not_share():
    model = quantized_net({"nbits": 3, "mode": "kmeans"})
    history = fits.fit(model, CodebookFineTuning(), epochs=8).history["loss"]
    assert history[-1] < 0.8 * history[0]


@pytest.mark.slow
def test_the_model_trains_freely_afterwards_and_shares_again():
    model = quantized_net()
    callback = CodebookFineTuning()
    fits.fit(model, callback)
    shared = kernels(model)
    fits.fit(model, callback)
    assert all(shares(shared[n], k) for n, k in kernels(model).items())
    fits.fit(model)
    free = kernels(model)
    assert not any(shares(shared[n], k) for n, k in free.items())
    assert all(len(np.unique(k)) > 4 for k in free.values())


@pytest.mark.slow
def test_an_interrupted_fit_does_no_harm():
    model = quantized_net(optimizer=keras.optimizers.SGD(1e-3))
    with pytest.raises(KeyboardInterrupt):
        fits.fit(model, CodebookFineTuning(), fits.Stop(0, 3))
    twin = quantized_net(optimizer=keras.optimizers.SGD(1e-3))
    twin.set_weights(model.get_weights())
    fits.fit(model, CodebookFineTuning())
    fits.fit(twin, CodebookFineTuning())
    for one, two in zip(model.get_weights(), twin.get_weights()):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_skipped_weights_have_a_reason():
    config = {
        "global_config": PALETTE,
        "layer_name_configs": {"stem": {"nbits": 8}, "head": None},
    }
    callback = CodebookFineTuning(ignored_layers=["second"])
    fits.fit(quantized_net(config), callback)
    assert callback.shared == {"first/kernel": 4}
    reasons = dict(callback.skipped)
    assert "a scale for each channel" in reasons["stem/kernel"]
    assert reasons["head/kernel"] == "its values are not shared"
    assert reasons["second/kernel"] == "'second' is in ignored_layers"


def test_bad_arguments_and_models_are_refused():
    with pytest.raises(ValueError, match="`gradients` must be one of"):
        CodebookFineTuning("median")
    with pytest.raises(ValueError, match="Pass .'conv'."):
        CodebookFineTuning(ignored_layers="conv")
    with pytest.raises(ValueError, match="no weights that share values"):
        fits.fit(fits.residual_net(), CodebookFineTuning())
