"""Files of models with simulated integers, read back and run."""

import keras
import numpy as np
import pytest
import tflite_integers
from helpers import distinct_weights
from keras import layers
from quantization_models import MODELS, data_for

from fritz_compress.convert import to_tflite
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.quantization import (
    apply_ranges,
    calibrate,
    integers,
    quantization_aware,
)

# Where LiteRT's own arithmetic rounds in a way that is not simulated.
ROUNDED_OTHERWISE = {"leaky": 0.05, "prelu": 0.1, "bilinear": 0.1}
# Kernels of 4 bits, and the shapes that they read.
OF_4_BITS = {
    "pointwise": (layers.Conv2D(8, 1), (12, 12, 6)),
    "strided": (layers.Conv2D(9, 3, 2, "same"), (12, 12, 6)),
    "dilated": (layers.Conv2D(8, 3, dilation_rate=2), (12, 12, 6)),
    "one axis": (layers.Conv1D(8, 3), (30, 6)),
    "depthwise": (layers.DepthwiseConv2D(3), (12, 12, 8)),
    "depthwise, 20": (layers.DepthwiseConv2D(3, padding="same"), (9, 9, 20)),
    "depthwise, 12 of 6": (
        layers.DepthwiseConv2D(5, depth_multiplier=2),
        (12, 12, 6),
    ),
    "depthwise, one axis": (layers.DepthwiseConv1D(3, 2), (30, 12)),
    "separable": (layers.SeparableConv2D(8, 3), (12, 12, 6)),
    "dense": (layers.Dense(9), (5, 20)),
}
FLOATS_AT_THE_ENDS = ("QUANTIZE", "DEQUANTIZE")


def aware_model(name, **config):
    model = MODELS[name]()
    ranges = calibrate(model, data_for(model, 32), config=config)
    return apply_ranges(model, ranges, config)


def check_file(aware, path, x, tolerance):
    """All integers are ours, and so is what comes out, in steps."""
    to_tflite(aware, path, samples=x[:2])
    content = path.read_bytes()
    own = integers(aware)
    for kind, found in tflite_integers.equal(own, content).items():
        assert len(set(found.split("/"))) == 1, f"{kind}: {found}"
    *_, output = own.activations.values()
    steps = (LiteRTModel(path)(x) - np.asarray(aware(x))) / output.scale
    assert np.abs(steps).mean() <= tolerance
    return content


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_integer_of_a_file_is_the_simulated_one(name, tmp_path):
    aware = aware_model(name)
    content = check_file(
        aware,
        tmp_path / "model.tflite",
        data_for(aware, 32),
        ROUNDED_OTHERWISE.get(name, 1e-3),
    )
    names = tflite_integers.operations(content)
    assert (names[0], names[-1]) == FLOATS_AT_THE_ENDS
    assert "DEQUANTIZE" not in names[:-1]


@pytest.mark.slow
def test_weights_of_4_bits_take_half_a_byte(tmp_path):
    aware = aware_model("residual", weight_bits=4)
    path = tmp_path / "model.tflite"
    content = check_file(aware, path, data_for(aware, 32), 1e-3)
    assert [bits for *_, bits in tflite_integers.layers(content)] == [4] * 3
    eight = aware_model("residual")
    to_tflite(eight, tmp_path / "8.tflite", samples=data_for(eight, 32)[:2])
    # 162 + 54 + 24 weights.
    saved = (tmp_path / "8.tflite").stat().st_size - len(content)
    assert 100 <= saved <= 140


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_4_BITS)
def test_sums_of_4_bit_kernels_are_rounded_as_in_the_file(name, tmp_path):
    layer, shape = OF_4_BITS[name]
    inputs = keras.Input(shape)
    model = distinct_weights(keras.Model(inputs, layer(inputs)))
    x = data_for(model, 100)
    config = {"weight_bits": 4}
    aware = apply_ranges(model, calibrate(model, x), config)
    check_file(aware, tmp_path / "model.tflite", x, 1e-3)


@pytest.mark.slow
def test_a_concatenation_of_4_bit_sums_is_rounded_as_in_the_file(tmp_path):
    inputs = keras.Input((12, 12, 6))
    both = [
        layers.Conv2D(5, 3, padding="same")(inputs),
        inputs,
        layers.DepthwiseConv2D(3, padding="same")(inputs),
    ]
    model = keras.Model(inputs, layers.Concatenate()(both))
    x = data_for(distinct_weights(model), 100)
    config = {"weight_bits": 4}
    aware = apply_ranges(model, calibrate(model, x), config)
    check_file(aware, tmp_path / "model.tflite", x, 1e-3)


@pytest.mark.slow
def test_a_file_after_training_and_loading(tmp_path):
    aware = quantization_aware(MODELS["residual"]())
    x = data_for(aware, 32)
    aware.compile("adam", "mse")
    aware.fit(x, np.ones((32, 4)), epochs=2, verbose=0)
    aware.save(tmp_path / "aware.keras")
    again = keras.saving.load_model(tmp_path / "aware.keras")
    check_file(again, tmp_path / "model.tflite", x, 1e-3)


@pytest.mark.slow
def test_ranges_in_place_of_representative_data(tmp_path):
    model = MODELS["residual"]()
    x = data_for(model, 32)
    ranges = calibrate(model, x)
    path = tmp_path / "model.tflite"
    report = to_tflite(model, path, "int8", samples=x[:2], ranges=ranges)
    assert report.parameters == model.count_params()
    found = tflite_integers.activations(path.read_bytes())
    own = integers(apply_ranges(model, ranges)).activations.values()
    scales = [scale for scale, _ in found]
    for activation in own:
        assert np.isclose(activation.scale, scales, rtol=1e-6).any()
    with pytest.raises(ValueError, match="are for quantization='int8'"):
        to_tflite(model, path, "float16", samples=x[:2], ranges=ranges)


@pytest.mark.slow
def test_activations_of_16_bits(tmp_path):
    aware = aware_model("residual", activation_bits=16)
    x = data_for(aware, 32)
    content = check_file(aware, tmp_path / "model.tflite", x, 2.0)
    assert {zero for _, zero in tflite_integers.activations(content)} == {0}


def test_what_a_file_cannot_hold_is_refused(tmp_path):
    path = tmp_path / "model.tflite"
    model = MODELS["transposed"]()
    x = data_for(model, 32)[:2]
    cases = [
        ({}, "float16", "simulated integers already.*'float16'"),
        ({"weight_bits": 5}, None, "has weights of 5 bits; .* of .8,. bits"),
        ({"weight_bits": 4}, None, "Conv2DTranspose. has weights of 4 bits"),
        (
            {"global_config": {}, "layer_name_configs": {"conv*": None}},
            None,
            "Conv2DTranspose. was left float among",
        ),
    ]
    for config, kind, message in cases:
        aware = quantization_aware(model, config)
        with pytest.raises(ValueError, match=message):
            to_tflite(aware, path, kind, samples=x)
    assert not path.exists()
