"""Quantized models against the codes of their reports, and numpy."""

import helpers
import keras
import numpy as np
import pytest
from keras import layers

import fritz_compress as fc
from fritz_compress.ops.recognition import recognize


def small_model():
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(16, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
            layers.PReLU(shared_axes=(1, 2), name="prelu"),
            layers.Conv2DTranspose(12, 3, name="transposed"),
            layers.Flatten(),
            layers.Dense(10, name="dense"),
        ]
    )
    return helpers.distinct_weights(model)


def weight(model, name):
    layer, attribute = name.split("/")
    return keras.ops.convert_to_numpy(
        getattr(model.get_layer(layer), attribute)
    )


def kernels(model):
    return [
        f"{layer.name}/kernel"
        for layer in model.layers
        if hasattr(layer, "kernel")
    ]


CONFIGS = {
    "default": None,
    "linear": {"nbits": 4, "mode": "linear"},
    "tensor": {"nbits": 5, "granularity": "per_tensor"},
    "block": {"nbits": 4, "granularity": "per_block", "block_size": 8},
    "kmeans": {"nbits": 3, "mode": "kmeans"},
    "channel": {"nbits": 2, "mode": "kmeans", "granularity": "per_channel"},
    "percentile": {"nbits": 4, "ranges": "percentile", "percentile": 99},
}


@pytest.mark.parametrize("config", CONFIGS)
def test_weights_hold_the_codes_of_the_report(config):
    model = small_model()
    before = [np.array(w) for w in model.get_weights()]
    smaller, report = fc.quantize_weights(model, CONFIGS[config])
    rows = {row.name: row for row in report.weights}
    coded = [name for name in kernels(model) if rows[name].codes is not None]
    assert "conv/kernel" in coded and "dense/kernel" in coded
    for name in coded:
        values = weight(smaller, name)
        assert (values == rows[name].codes.decode()).all()
        found = recognize(values)
        assert found.nbytes <= rows[name].codes.nbytes == rows[name].bytes
        noise = np.square(values - weight(model, name)).sum()
        signal = np.square(weight(model, name)).sum()
        expected = 10 * np.log10(signal / noise)
        assert rows[name].sqnr == pytest.approx(expected, abs=0.01)
    for name in set(rows) - set(coded):
        assert (weight(smaller, name) == weight(model, name)).all()
    for old, new in zip(before, model.get_weights(), strict=True):
        assert (old == new).all(), "the model given has changed"


def test_every_channel_has_a_scale_of_its_own():
    _, report = fc.quantize_weights(small_model())
    groups = {row.name: row.codes.groups for row in report.weights if row.codes}
    assert groups == {
        "conv/kernel": (1, 1, 1, 16),
        "depthwise/kernel": (1, 1, 16, 2),
        "transposed/kernel": (1, 1, 12, 1),
        "dense/kernel": (1, 10),
    }


def test_kernels_of_separable_layers_attention_and_recurrence():
    inputs = keras.Input((6, 8))
    x = layers.SeparableConv1D(16, 3, depth_multiplier=2, name="two")(inputs)
    x = layers.MultiHeadAttention(2, 12, name="heads")(x, x)
    x = layers.GRU(10, name="gru")(x)
    model = helpers.distinct_weights(keras.Model(inputs, x))
    _, report = fc.quantize_weights(model)
    groups = {row.name: row.codes.groups for row in report.weights if row.codes}
    assert groups == {
        "two/depthwise_kernel": (1, 8, 2),
        "two/pointwise_kernel": (1, 1, 16),
        "heads/query/kernel": (1, 2, 12),
        "heads/key/kernel": (1, 2, 12),
        "heads/value/kernel": (1, 2, 12),
        "heads/attention_output/kernel": (1, 1, 16),
        "gru/gru_cell/kernel": (1, 30),
        "gru/gru_cell/recurrent_kernel": (1, 30),
    }
    biases = {n: r for n, r in report.skipped.items() if n.endswith("bias")}
    assert len(biases) == 6
    assert set(biases.values()) == {"one number per channel"}


def test_blocks_run_along_the_inputs():
    config = {"nbits": 4, "granularity": "per_block", "block_size": 16}
    _, report = fc.quantize_weights(small_model(), config)
    rows = {row.name: row for row in report.weights}
    assert rows["transposed/kernel"].codes.groups == (1, 1, 12, 2)
    assert rows["dense/kernel"].codes.groups == (1200 // 16, 10)
    assert rows["conv/kernel"].codes.groups == (1, 1, 1, 16)
    assert "as it has no axis of inputs" in rows["depthwise/kernel"].note
    odd = {"nbits": 4, "granularity": "per_block", "block_size": 7}
    _, report = fc.quantize_weights(small_model(), odd)
    rows = {row.name: row for row in report.weights}
    assert rows["dense/kernel"].codes.groups == (1200 // 6, 10)
    assert "blocks of 6 inputs, as 7" in rows["dense/kernel"].note


def test_grouped_channels_share_codebooks():
    config = {
        "nbits": 1,
        "mode": "kmeans",
        "granularity": "per_grouped_channel",
        "group_size": 4,
    }
    _, report = fc.quantize_weights(small_model(), config)
    rows = {row.name: row for row in report.weights}
    assert rows["conv/kernel"].codes.codebooks.shape == (1, 1, 1, 4, 2)
    assert rows["transposed/kernel"].codes.groups == (1, 1, 3, 1)


def test_every_weight_is_in_the_report_with_its_reason():
    model = small_model()
    config = {
        "global_config": {"nbits": 4, "weight_threshold": 300},
        "layer_name_configs": {"dense": None},
    }
    smaller, report = fc.quantize_weights(model, config)
    assert len(report.weights) == len(model.weights)
    skipped = report.skipped
    assert skipped["depthwise/kernel"] == (
        "fewer numbers than weight_threshold=300"
    )
    assert skipped["dense/kernel"] == "left by the configuration"
    assert skipped["conv/bias"] == "one number per channel"
    assert skipped["norm/moving_mean"] == "one number per channel"
    assert skipped["prelu/alpha"] == "one number per channel"
    text = str(report)
    for name, reason in skipped.items():
        assert name in text and reason in text
    counted = sum(4 * w.size for w in model.get_weights())
    assert report.bytes_before == counted
    assert f"{counted:,} -> {report.bytes:,}" in text


@pytest.mark.slow
def test_codes_that_would_take_more_are_not_taken():
    config = {"nbits": 8, "mode": "kmeans", "granularity": "per_channel"}
    model = small_model()
    smaller, report = fc.quantize_weights(model, config)
    assert "codes would take more" in report.skipped["conv/kernel"]
    assert (weight(smaller, "conv/kernel") == model.layers[0].kernel).all()


def test_zeros_stay_zero():
    model = small_model()
    kernel = weight(model, "dense/kernel")
    kernel[np.abs(kernel) < np.quantile(np.abs(kernel), 0.8)] = 0
    model.get_layer("dense").kernel.assign(kernel)
    for mode in ("linear", "linear_symmetric", "kmeans"):
        smaller, _ = fc.quantize_weights(model, {"nbits": 3, "mode": mode})
        zeros = weight(smaller, "dense/kernel") == 0
        assert zeros[kernel == 0].all()


def test_importance_draws_the_codebook():
    model = small_model()
    kernel = weight(model, "dense/kernel")
    counts = np.where(kernel > 0, 1000.0, 1e-3)
    config = {"nbits": 2, "mode": "kmeans"}
    plain, _ = fc.quantize_weights(model, config)
    drawn, _ = fc.quantize_weights(
        model, config, importance={"dense/kernel": counts}
    )

    def error(smaller):
        return np.square(weight(smaller, "dense/kernel") - kernel)[kernel > 0]

    assert error(drawn).sum() < 0.5 * error(plain).sum()


@pytest.mark.slow
def test_data_corrects_product_codes():
    model = small_model()
    data = np.random.default_rng(0).normal(size=(40, 12, 12, 3))
    config = {
        "global_config": None,
        "layer_name_configs": {"dense": {"nbits": 4, "mode": "product"}},
    }
    plain, _ = fc.quantize_weights(model, config)
    corrected, report = fc.quantize_weights(model, config, data=data)
    rows = {row.name: row for row in report.weights}
    assert rows["dense/kernel"].note == "corrected on data"
    found = weight(corrected, "dense/kernel")
    assert (found == rows["dense/kernel"].codes.decode()).all()
    expected = model.predict(data, verbose=0)

    def error(smaller):
        return np.square(smaller.predict(data, verbose=0) - expected).mean()

    assert error(corrected) < 0.6 * error(plain)
    with pytest.raises(ValueError, match="`data` corrects the codebooks"):
        fc.quantize_weights(model, {"nbits": 4}, data=data)


def test_compile_settings_names_and_inner_models_are_kept(tmp_path):
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(20, name="hidden")], name="inner"
    )
    inputs = keras.Input((6,), name="numbers")
    shared = layers.Dense(6, name="shared")
    x = shared(shared(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="out")(inner(x)))
    helpers.distinct_weights(model)
    model.compile("adam", "mse", metrics=["mae"])
    smaller, report = fc.quantize_weights(model, {"nbits": 4})
    assert [row.name for row in report.weights if row.codes] == [
        "shared/kernel",
        "hidden/kernel",
        "out/kernel",
    ]
    assert smaller.compiled and smaller.loss == "mse"
    assert [w.path for w in smaller.weights] == [w.path for w in model.weights]
    smaller.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras", compile=False)
    for one, two in zip(loaded.get_weights(), smaller.get_weights()):
        assert (one == two).all()


def test_bad_input_is_refused():
    model = small_model()
    with pytest.raises(TypeError, match="must be a Keras model"):
        fc.quantize_weights("model.keras")
    with pytest.raises(ValueError, match="shape .3,. for 'conv/kernel'"):
        fc.quantize_weights(model, importance={"conv/kernel": np.ones(3)})
    with pytest.raises(ValueError, match="'conv/kernal', which has no such"):
        fc.quantize_weights(model, importance={"conv/kernal": np.ones(3)})
    with pytest.raises(TypeError, match="`importance` must be a mapping"):
        fc.quantize_weights(model, importance="adam")
    model.get_layer("conv").kernel.assign(
        np.full((3, 3, 3, 16), np.nan, "float32")
    )
    with pytest.raises(ValueError, match="'conv/kernel' must be finite"):
        fc.quantize_weights(model)


def test_half_precision_weights_are_left():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, dtype="float16", name="half")]
    )
    _, report = fc.quantize_weights(model)
    assert "holds float16" in report.skipped["half/kernel"]
