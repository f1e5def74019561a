"""Plain models of what simulated integers trained."""

import json
import re
import zipfile

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from quantization_models import MODELS, data_for

import fritz_compress as fc
from fritz_compress.ops.recognition import recognize
from fritz_compress.quantization import (
    apply_ranges,
    calibrate,
    plain_model,
    quantization_aware,
)


def outputs_of(model, x):
    return keras.ops.convert_to_numpy(model(x))


@pytest.mark.parametrize("name", MODELS)
def test_it_computes_what_the_original_does_but_for_rounded_weights(name):
    model = MODELS[name]()
    x = data_for(model)
    plain = plain_model(quantization_aware(model))
    expected = outputs_of(model, x)
    error = np.abs(outputs_of(plain, x) - expected).max() / np.ptp(expected)
    assert error < 0.05
    assert plain.output_shape == model.output_shape


def network():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, use_bias=False, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(6, name="relu")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Dense(5, name="dense")(layers.Flatten()(x))
    return distinct_weights(keras.Model(inputs, x))


def rounded(kernel, axes, top):
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / top
    return np.rint(kernel / scale) * scale


def test_weights_are_those_rounded_by_hand():
    model = network()
    plain = plain_model(quantization_aware(model, {"weight_bits": 4}))
    for name, axes in {
        "conv": (0, 1, 2),
        "depthwise": (0, 1),
        "dense": (0,),
    }.items():
        layer = model.get_layer(name)
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        layer.kernel.assign(rounded(kernel, axes, 7))
    x = data_for(model)
    np.testing.assert_allclose(
        outputs_of(plain, x), outputs_of(model, x), rtol=1e-4, atol=1e-5
    )
    kernel = keras.ops.convert_to_numpy(plain.get_layer("conv").kernel)
    assert recognize(kernel).nbits == 4


@pytest.mark.slow
def test_after_training_it_agrees_and_is_independent():
    model = network()
    x = data_for(model)
    aware = apply_ranges(model, calibrate(model, x))
    aware.compile(keras.optimizers.SGD(1e-3), "mse")
    aware.fit(x, np.ones((8, 5)), epochs=3, verbose=0)
    before = aware.get_weights()
    plain = plain_model(aware)
    simulated = outputs_of(aware, x)
    error = np.abs(outputs_of(plain, x) - simulated).max()
    assert error < 0.05 * np.ptp(simulated)
    plain.compile("adam", "mse")
    plain.fit(x, np.zeros((8, 5)), verbose=0)
    for was, now in zip(before, aware.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_it_loads_without_this_package(tmp_path):
    path = tmp_path / "plain.keras"
    plain_model(quantization_aware(network())).save(path)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
    names = set(re.findall(r'"registered_name": (".*?"|null)', config))
    assert not any("fritz" in name for name in names)
    modules = {m for m in re.findall(r'"module": "(.*?)"', config)}
    assert all(module.startswith("keras") for module in modules)
    assert json.loads(config)["class_name"] == "Functional"


def test_names_inputs_and_shared_layers_are_kept():
    images = {name: keras.Input((4, 4, 2), name=name) for name in ("b", "a")}
    shared = layers.Conv2D(2, 1, name="shared")
    x = layers.Concatenate(name="both")([shared(images[k]) for k in "ab"])
    outputs = {"classes": layers.Dense(3, name="head")(x)}
    model = distinct_weights(keras.Model(images, outputs, name="two"))
    plain = plain_model(quantization_aware(model))
    assert plain.name == "two"
    assert {"shared", "both", "head"} <= {layer.name for layer in plain.layers}
    assert plain.count_params() == model.count_params()
    data = {
        k: np.float32(np.ones((1, 4, 4, 2)) * i) for i, k in enumerate("ab")
    }
    np.testing.assert_allclose(
        plain(data)["classes"], model(data)["classes"], rtol=0.05, atol=0.05
    )


def test_pruned_weights_stay_zero():
    model = network()
    dense = model.get_layer("dense")
    kernel = keras.ops.convert_to_numpy(dense.kernel).copy()
    kernel[::2] = 0
    dense.kernel.assign(kernel)
    plain = plain_model(quantization_aware(model))
    kernel = keras.ops.convert_to_numpy(plain.get_layer("dense").kernel)
    assert not kernel[::2].any() and kernel[1::2].any()


@pytest.mark.slow
def test_core_ml_keeps_its_integers(tmp_path):
    model = network()
    x = data_for(model)
    config = {"weight_bits": 4}
    aware = apply_ranges(model, calibrate(model, x, config=config), config)
    plain = plain_model(aware)
    report = fc.to_coreml(plain, tmp_path / "plain.mlpackage", samples=x[:4])
    assert report.psnr > 60
    assert all(row.bits == 4 for row in report.layers if row.parameters > 100)


def test_other_models_are_refused():
    model = network()
    with pytest.raises(ValueError, match=f"'{model.name}' has no simulated"):
        plain_model(model)
    with pytest.raises(TypeError, match="must be a Keras model"):
        plain_model("model")
