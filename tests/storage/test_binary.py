"""Kernels of signs take a bit per number in files, and come back exactly."""

import math

import keras
import numpy as np
import pytest
from helpers import distinct_weights, slow_but
from keras import layers
from storage_models import config_of, same_weights

from fritz_compress import layers as ours
from fritz_compress import load_compressed, quantizers, save_compressed
from fritz_compress.layers.binary_kernel import WeightClip
from fritz_compress.models import BinaryResNet


def with_levels(model, levels=(-1.0, 1.0), seed=0):
    """Gives every kernel of few bits random levels."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if getattr(layer, "kernel_quantizer", None) is not None:
            shape = layer.kernel.shape
            layer.kernel.assign(rng.choice(levels, shape).astype("float32"))
    return model


def of_one(layer, shape):
    return keras.Sequential([keras.Input(shape), layer])


def saved(model, path, **arguments):
    """The report, and the model that comes back."""
    report = save_compressed(model, path / "model.fcz")
    return report, load_compressed(path / "model.fcz", **arguments)


LAYERS = {
    "3x3x32x32": (
        lambda: ours.BinaryConv2D(32, 3, kernel_quantizer="ste_sign"),
        (8, 8, 32),
    ),
    "3x3x64x64": (
        lambda: ours.XnorConv2D(64, 3, kernel_quantizer="ste_sign"),
        (8, 8, 64),
    ),
    "3x3x128x256": (
        lambda: ours.BinaryConv2D(256, 3, use_scale=True),
        (4, 4, 128),
    ),
    "784x1024": (lambda: ours.BinaryDense(1024), (784,)),
    "3x3x512x4, depthwise": (
        lambda: ours.BinaryDepthwiseConv2D(3, depth_multiplier=4),
        (4, 4, 512),
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_a_bit_per_number(case, tmp_path):
    make, shape = LAYERS[case]
    model = with_levels(distinct_weights(of_one(make(), shape)))
    report, loaded = saved(model, tmp_path)
    (row,) = (row for row in report.weights if row.path.endswith("/kernel"))
    in_memory = 4 * row.size
    assert row.bytes <= in_memory / 30
    # No more than three hundredths above what random signs need at least.
    assert row.bytes <= 1.03 * row.size / 8
    assert row.entropy_bytes > 0.99 * row.size / 8
    assert same_weights(model, loaded)
    others = [w for w in model.weights if w.name != "kernel"]
    size = in_memory / 30 + 8 * sum(math.prod(w.shape) for w in others)
    assert report.file_bytes < size + 1_000


def test_signs_that_are_not_random_take_less(tmp_path):
    model = of_one(ours.BinaryDense(256, use_bias=False), (256,))
    kernel = np.ones((256, 256), "float32")
    kernel[::10] = -1
    model.layers[0].kernel.assign(kernel)
    report, loaded = saved(model, tmp_path)
    assert report.weights[0].bytes < 0.5 * 256 * 256 / 8
    assert same_weights(model, loaded)


@pytest.mark.parametrize("nbits", [2, 3, 4])
def test_few_bits_take_as_many(nbits, tmp_path):
    levels = np.linspace(-1, 1, 2**nbits).astype("float32")
    layer = ours.BinaryConv2D(
        64, 3, kernel_quantizer=quantizers.EvenLevels(nbits)
    )
    model = with_levels(of_one(layer, (8, 8, 64)), levels)
    report, loaded = saved(model, tmp_path)
    assert report.weights[0].bytes <= 1.03 * nbits * 9 * 64 * 64 / 8
    assert same_weights(model, loaded)


def test_networks_of_signs(tmp_path):
    model = with_levels(
        distinct_weights(
            BinaryResNet.build(depth=8, alpha=2, kernel_quantizer="ste_sign")
        )
    )
    report, loaded = saved(model, tmp_path)
    kernels = {
        f"{layer.name}/kernel"
        for layer in model.layers
        if isinstance(layer, ours.BinaryConv2D)
    }
    rows = [row for row in report.weights if row.path in kernels]
    assert len(rows) == 6
    assert sum(r.bytes for r in rows) <= 4 * sum(r.size for r in rows) / 30
    assert same_weights(model, loaded)
    pictures = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
    np.testing.assert_array_equal(
        loaded.predict(pictures, verbose=0), model.predict(pictures, verbose=0)
    )


QUANTIZERS = {
    "ste_sign": lambda: quantizers.SteSign(clip_value=None),
    "approx_sign": quantizers.ApproxSign,
    "swish_sign": lambda: quantizers.SwishSign(beta=3.0),
    "stochastic_sign": lambda: quantizers.StochasticSign(seed=7),
    "magnitude_aware_sign": quantizers.MagnitudeAwareSign,
    "ste_tern": lambda: quantizers.SteTern("mean"),
    "dorefa": lambda: quantizers.DoReFa(3, mode="weights"),
    "even_levels": lambda: quantizers.EvenLevels(3),
}


def test_every_quantizer_is_tried():
    known = {
        name
        for name, value in vars(quantizers).items()
        if isinstance(value, type)
        and issubclass(value, quantizers.BitQuantizer)
        and value is not quantizers.BitQuantizer
    }
    assert {type(make()).__name__ for make in QUANTIZERS.values()} == known


@pytest.mark.parametrize(
    "name", slow_but(QUANTIZERS, "stochastic_sign", "magnitude_aware_sign")
)
def test_latent_weights_and_quantizers_come_back(name, tmp_path):
    """Whoever reads it trusts nobody: `safe_mode` is on."""
    model = distinct_weights(
        keras.Sequential(
            [
                keras.Input((9, 9, 3)),
                layers.BatchNormalization(),
                ours.BinaryConv2D(
                    4,
                    3,
                    padding="same",
                    kernel_quantizer=QUANTIZERS[name](),
                    input_quantizer=quantizers.DoReFa(2),
                    kernel_clip=1.25,
                    pad_values=-1,
                    use_scale=True,
                ),
                ours.BinaryDepthwiseConv2D(
                    3, kernel_quantizer=QUANTIZERS[name](), kernel_clip=None
                ),
                ours.XnorConv2D(5, 3, kernel_quantizer=QUANTIZERS[name]()),
                ours.BinaryDense(4, kernel_quantizer=QUANTIZERS[name]()),
                ours.XnorDense(2, kernel_quantizer=QUANTIZERS[name]()),
            ]
        )
    )
    _, loaded = saved(model, tmp_path)
    assert same_weights(model, loaded)
    assert config_of(loaded) == config_of(model)
    first = loaded.layers[1]
    assert isinstance(first.kernel_constraint, WeightClip)
    assert first.kernel_constraint.clip_value == first.kernel_clip == 1.25
    assert type(first.kernel_quantizer) is type(QUANTIZERS[name]())
    pictures = np.random.default_rng(0).normal(size=(2, 9, 9, 3))
    expected = keras.ops.convert_to_numpy(model(pictures))
    np.testing.assert_array_equal(loaded(pictures), expected)
    if name == "stochastic_sign":  # It draws as it trains.
        loaded.compile("sgd", "mse")
        loaded.fit(pictures, np.zeros_like(expected), verbose=0)


def test_quantizers_of_the_user_are_custom_objects(tmp_path):
    class Own(quantizers.BitQuantizer):
        def __call__(self, values, training=None):
            return keras.ops.sign(values)

    layer = ours.BinaryDense(4, kernel_quantizer=Own())
    model = distinct_weights(of_one(layer, (6,)))
    with pytest.raises(ValueError, match="could not be loaded again.*'?Own"):
        save_compressed(model, tmp_path / "model.fcz")
    known = {"Own": Own}
    save_compressed(model, tmp_path / "model.fcz", custom_objects=known)
    loaded = load_compressed(tmp_path / "model.fcz", custom_objects=known)
    assert same_weights(model, loaded)
    with pytest.raises(ValueError, match="can not be loaded.*Own"):
        load_compressed(tmp_path / "model.fcz")


def test_another_version_is_refused(tmp_path):
    model = with_levels(of_one(ours.BinaryDense(4), (6,)))
    path = tmp_path / "model.fcz"
    save_compressed(model, path)
    data = bytearray(path.read_bytes())
    data[3] = 2
    path.write_bytes(data)
    with pytest.raises(
        ValueError,
        match=r"model.fcz' can not be loaded: it has version 2 of the format; "
        "this release reads version 1",
    ):
        load_compressed(path)
