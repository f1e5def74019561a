"""A float model made anew with binary layers."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, ops

import fritz_compress as fc
from fritz_compress.binarization import BinarizationConfig
from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    XnorConv2D,
)

SIGNS = {"input_quantizer": "ste_sign"}


def network(**of_second):
    """Convolutions and dense layers in the usual order, ReLU last."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", name="first")(inputs)
    x = layers.BatchNormalization(name="first_norm")(x)
    x = layers.ReLU(name="first_relu")(x)
    x = layers.Conv2D(7, 3, name="second", **of_second)(x)
    x = layers.BatchNormalization(name="second_norm")(x)
    x = layers.Activation("relu", name="second_relu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(5, activation="relu", name="hidden")(x)
    outputs = layers.Dense(4, name="last")(x)
    return distinct_weights(keras.Model(inputs, outputs, name="net"))


def pictures():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")


def kinds(model):
    return {layer.name: type(layer) for layer in model.layers}


def test_inner_layers_are_binarized_and_the_ends_are_not():
    model = network()
    before = model.get_weights()
    binary, report = fc.binarize(model)
    found = kinds(binary)
    assert found["second"] is BinaryConv2D
    assert found["depthwise"] is BinaryDepthwiseConv2D
    assert found["hidden"] is BinaryDense
    assert found["first"] is layers.Conv2D
    assert found["last"] is layers.Dense
    assert report.skipped == {
        "first": "the first layer",
        "last": "the last layer",
    }
    assert [row.name for row in report.binarized] == [
        "second",
        "depthwise",
        "hidden",
    ]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_binary_weights_compute_what_a_plain_model_with_them_does():
    """BWN: the oracle is the same model with alpha * sign(W) as kernels."""
    model = network()
    binary, _ = fc.binarize(model)
    for name, axes in {
        "second": (0, 1, 2),
        "depthwise": (0, 1),
        "hidden": (0,),
    }.items():
        layer = model.get_layer(name)
        kernel, bias = layer.get_weights()
        kernel = np.clip(kernel, -1, 1)
        scale = np.abs(kernel).mean(axes, keepdims=True)
        layer.set_weights([np.where(kernel >= 0, scale, -scale), bias])
    np.testing.assert_allclose(
        binary.predict(pictures(), verbose=0),
        model.predict(pictures(), verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_relu_before_a_sign_goes():
    """It would make all signs 1; what it read is what the sign reads."""
    binary, report = fc.binarize(
        network(), {"layer_type_configs": {"Conv2D": SIGNS}}
    )
    found = kinds(binary)
    assert "first_relu" not in found
    assert found["second_relu"] is layers.Activation
    assert "second_normalization" not in found
    seen = keras.Model(binary.inputs, binary.get_layer("second").input).predict(
        pictures(), verbose=0
    )
    assert (seen < 0).any() and (seen > 0).any()
    assert [row.note for row in report.binarized] == [""]


def test_a_relu_goes_from_a_sequential_model_too():
    convolution = layers.Conv2D(6, 3, name="second")
    chain = [
        layers.Conv2D(6, 3, name="first"),
        layers.BatchNormalization(),
        layers.ReLU(name="relu"),
        convolution,
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]
    model = keras.Sequential([keras.Input((8, 8, 3)), *chain])
    distinct_weights(model)
    config = {**SIGNS, "kernel_quantizer": "ste_sign"}
    binary, _ = fc.binarize(model, config)
    assert [type(layer).__name__ for layer in binary.layers] == [
        *("Conv2D", "BatchNormalization", "BinaryConv2D"),
        *("GlobalAveragePooling2D", "Dense"),
    ]
    # The same of ordinary layers: signs in the place of the ReLU.
    convolution.kernel.assign(ops.sign(convolution.kernel))
    x = inputs = keras.Input((8, 8, 3))
    for layer in chain:
        if isinstance(layer, layers.ReLU):
            layer = layers.Activation(ops.sign)
        x = layer(x)
    np.testing.assert_allclose(
        binary.predict(pictures(), verbose=0),
        keras.Model(inputs, x).predict(pictures(), verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_relu_that_others_read_stays_and_a_normalization_comes():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", name="stem")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(name="relu")(x)
    y = layers.Conv2D(6, 3, padding="same", name="inner")(x)
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    model = keras.Model(inputs, layers.Dense(2, name="last")(x))
    binary, report = fc.binarize(distinct_weights(model), SIGNS)
    found = kinds(binary)
    assert found["relu"] is layers.ReLU
    assert found["inner_normalization"] is layers.BatchNormalization
    (row,) = report.binarized
    assert row.note == "a normalization in front"
    assert row.input_bits == row.kernel_bits == 1


def test_without_normalize_there_is_a_warning():
    config = {
        "layer_name_configs": {"hidden": {**SIGNS, "normalize": False}},
    }
    with pytest.warns(UserWarning, match="'hidden': there is no normalization"):
        fc.binarize(network(), config)


def test_the_report_counts_bytes():
    """Hand-counted: 3 * 3 * 6 * 7 signs and 7 scales, and so on."""
    _, report = fc.binarize(network())
    rows = {row.name: row for row in report.layers}
    assert rows["second"].bytes_before == 378 * 4
    assert rows["second"].bytes == -(-378 // 8) + 7 * 4
    assert rows["depthwise"].bytes == -(-9 * 14 // 8) + 14 * 4
    assert rows["hidden"].bytes == 4 * 4 * 14 * 5 // 8 + 5 * 4
    assert rows["last"].bytes == rows["last"].bytes_before == 5 * 4 * 4
    total = sum(row.bytes for row in rows.values())
    assert report.bytes == total
    assert f"{total:,}" in str(report).splitlines()[-1]
    assert "BinaryConv2D" in str(report) and "1 bit" in str(report)


def test_ends_are_binarized_where_they_are_named():
    config = {
        "layer_name_configs": {"last": {"kernel_quantizer": "ste_sign"}},
        "global_config": None,
    }
    with pytest.warns(UserWarning, match="'last': the last layer is binary"):
        binary, report = fc.binarize(network(), config)
    assert kinds(binary)["last"] is BinaryDense
    assert report.skipped["second"] == "the configuration says so"


def test_xnor():
    config = {**SIGNS, "input_scale": True}
    types = {"DepthwiseConv2D": None, "Dense": None}
    binary, _ = fc.binarize(
        network(), {"global_config": config, "layer_type_configs": types}
    )
    assert kinds(binary)["second"] is XnorConv2D
    text = "'depthwise' .DepthwiseConv2D. has no input scale.*layer_name_conf"
    with pytest.raises(ValueError, match=text):
        fc.binarize(network(), config)


def test_nested_and_shared_layers():
    inner = keras.Sequential(
        [
            keras.Input((4, 4, 5)),
            layers.Conv2D(5, 3, padding="same", name="shared"),
            layers.BatchNormalization(),
        ],
        name="inner",
    )
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(5, 3, padding="same", name="stem")(inputs)
    x = inner(inner(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2, name="last")(x))
    binary, report = fc.binarize(distinct_weights(model))
    assert isinstance(
        binary.get_layer("inner").get_layer("shared"), BinaryConv2D
    )
    assert len(binary.weights) == len(model.weights)
    assert [row.name for row in report.binarized] == ["shared"]


def test_it_is_compiled_and_trains_and_is_saved(tmp_path):
    model = network()
    model.compile("adam", "mse")
    binary, _ = fc.binarize(model, SIGNS)
    binary.fit(pictures(), np.ones((3, 4)), verbose=0)
    binary.save(tmp_path / "binary.keras")
    again = keras.saving.load_model(tmp_path / "binary.keras")
    np.testing.assert_array_equal(
        again.predict(pictures(), verbose=0),
        binary.predict(pictures(), verbose=0),
    )


def test_own_constraint_gives_way_to_a_clip_alone():
    model = network(kernel_constraint="max_norm")
    for clip in (None, "auto"):
        binary, _ = fc.binarize(model, {"kernel_clip": clip})
        constraint = binary.get_layer("second").kernel_constraint
        assert isinstance(constraint, keras.constraints.MaxNorm)
    binary, _ = fc.binarize(model, {"kernel_clip": 0.5})
    assert binary.get_layer("second").kernel_constraint.clip_value == 0.5


@pytest.mark.parametrize(
    "config, text",
    [
        ({"kernel_quantizer": "ste_sing"}, "Did you mean 'ste_sign'"),
        ({"kernel_quantiser": "ste_sign"}, "Did you mean 'kernel_quantizer'"),
        ({"kernel_quantizer": None}, "Kernels, inputs or both must be quanti"),
        ({"input_scale": True}, "`input_scale` is for signs.*Pass 'ste_sign'"),
        ({"kernel_clip": 0}, "`kernel_clip` must be a number above 0"),
        ({"normalize": "no"}, r"`normalize` must be one of \[False, True\]"),
        ({"kernel_quantizer": "linear"}, "'second' must be a .*BitQuantizer"),
        (
            {"layer_name_configs": {"secnd": None}},
            "does not have. Received: 'secnd'. Did you mean 'second'",
        ),
        (
            {"global_config": None},
            "'net' has no layer to binarize. 'first': the configuration",
        ),
    ],
)
def test_bad_configurations(config, text):
    with pytest.raises((TypeError, ValueError), match=text):
        fc.binarize(network(), config)


def test_bad_models():
    with pytest.raises(TypeError, match="`model` must be a Keras model"):
        fc.binarize("net.keras")
    with pytest.raises(ValueError, match="Functional or a built Sequential"):
        fc.binarize(keras.Sequential([layers.Dense(2)]))
    model = keras.Sequential([keras.Input((3,)), layers.ReLU()], name="none")
    with pytest.raises(ValueError, match="'none' has no layer to binarize. No"):
        fc.binarize(model)


def test_settings_of_a_config():
    assert BinarizationConfig().signs_inputs is False
    assert BinarizationConfig(input_quantizer="ste_sign").signs_inputs
    assert not BinarizationConfig(input_quantizer="dorefa").signs_inputs
