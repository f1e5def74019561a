"""TFLite files against Keras, and against kernels quantized by NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from helpers import distinct_weights
from keras import layers

from fritz_compress.convert import (
    ConversionError,
    leveling,
    sample_pictures,
    to_tflite,
)
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.convert.report import FOLDED
from fritz_compress.layers import (
    DeprocessStylizedImage,
    DepthToSpace,
    InstanceNormalization,
)
from fritz_compress.models import (
    FlatStyleTransferNetwork,
    SmallStyleTransferNetwork,
)

QUANTIZATIONS = [None, "float16", "dynamic", "int8", "int16x8"]


def picture_model(size=(16, 24), name="picture_model"):
    """Convolution, normalization, upsampling, residual, tanh: all of ours."""
    inputs = keras.Input((*size, 3), name="image")
    x = layers.Rescaling(1 / 256, name="rescale")(inputs)
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="first")(x)
    x = InstanceNormalization(name="first_norm")(x)
    x = layers.ReLU(name="relu")(x)
    y = layers.Conv2D(8, 3, padding="same", name="second")(x)
    y = InstanceNormalization(name="second_norm")(y)
    x = layers.Add(name="add")([x, y])
    x = layers.UpSampling2D(2, name="up")(x)
    x = layers.Conv2D(3, 5, padding="same", name="last")(x)
    x = layers.Activation("tanh", name="tanh")(x)
    outputs = DeprocessStylizedImage(name="deprocess")(x)
    return distinct_weights(keras.Model(inputs, outputs, name=name), seed=1)


def perceptron():
    model = keras.Sequential(
        [
            keras.Input((20,), name="features"),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dense(5, name="classes"),
        ],
        name="perceptron",
    )
    return distinct_weights(model, seed=2)


def features(n=64, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 20)).astype("float32")


@pytest.mark.parametrize(
    "quantization, least", [*zip(QUANTIZATIONS, [100, 60, 30, 20, 25])]
)
def test_pictures_agree_with_keras(tmp_path, quantization, least):
    model = picture_model()
    path = tmp_path / "net.tflite"
    report = to_tflite(model, path, quantization, min_psnr=least)
    photos = sample_pictures(16, 24)
    # One by one: in a batch TensorFlow rounds otherwise.
    expected = np.concatenate([model(photo[None]) for photo in photos])
    received = LiteRTModel(path)(photos)
    error = np.abs(expected - received)
    assert report.psnr == pytest.approx(
        10 * np.log10(255**2 / np.mean(np.square(error, dtype="float64"))),
        abs=0.01,
    )
    assert report.max_difference == pytest.approx(error.max())
    assert report.bytes == path.stat().st_size
    assert (report.format, report.samples) == ("tflite", 2)
    assert report.parameters == model.count_params()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "quantization, least", [*zip(QUANTIZATIONS, [100, 60, 30, 25, 30])]
)
def test_a_perceptron_agrees_with_keras(tmp_path, quantization, least):
    report = to_tflite(
        perceptron(),
        tmp_path / "net.tflite",
        quantization,
        representative_data=features(seed=4),
        samples=features(8),
        min_psnr=least,
    )
    assert report.samples == 8
    assert [row.name for row in report.layers] == ["hidden", "classes"]


@pytest.mark.parametrize(
    "quantization",
    [
        pytest.param(None, marks=pytest.mark.slow),
        pytest.param("float16", marks=pytest.mark.slow),
        "dynamic",
    ],
)
def test_a_classifier_with_folded_normalizations(tmp_path, quantization):
    model = distinct_weights(
        keras.applications.MobileNetV2(
            (32, 32, 3), alpha=0.35, weights=None, classes=10
        )
    )
    report = to_tflite(model, tmp_path / "net.tflite", quantization, min_psnr=0)
    if quantization is None:
        assert report.psnr > 60
    rows = {row.name: row for row in report.layers}
    assert rows["bn_Conv1"].note == FOLDED
    assert rows["bn_Conv1"].bytes == 0
    if quantization == "dynamic":
        assert rows["Conv1"].bits == rows["Conv_1"].bits == 8
        small = rows["expanded_conv_depthwise"]
        assert small.bits == 32
        assert small.note == (
            "TFLite leaves kernels like this one (144 numbers) alone"
        )
    weights = sum(row.bytes for row in report.layers)
    assert 0.8 * report.bytes < weights < report.bytes


def test_the_student_is_small_enough(tmp_path):
    model = distinct_weights(
        SmallStyleTransferNetwork.build((256, 256), alpha=0.3)
    )
    report = to_tflite(model, tmp_path / "float.tflite")
    assert report.bytes < 65_000
    report = to_tflite(
        model, tmp_path / "dynamic.tflite", "dynamic", min_psnr=0
    )
    assert report.bytes < 52_000
    assert report.parameters == 11_868


def test_the_report_tells_bits_and_bytes_of_each_layer(tmp_path):
    report = to_tflite(picture_model(), tmp_path / "net.tflite", "dynamic")
    rows = {row.name: row for row in report.layers}
    assert list(rows) == [
        "first",
        "first_norm",
        "second",
        "second_norm",
        "last",
    ]
    first, last = rows["first"], rows["last"]
    # Codes of 3 x 3 x 3 x 8 weights, then a scale per channel; no bias, but
    # TFLite may store zeros for one.
    assert (first.kind, first.bits, first.parameters) == ("Conv2D", 8, 216)
    assert first.bytes in (216 + 8 * 4, 216 + 8 * 4 + 8 * 4)
    assert last.bytes == 600 + 3 * 4 + 3 * 4
    assert first.note == ""
    norm = rows["first_norm"]
    assert (norm.bits, norm.parameters) == (32, 16)
    assert norm.note == "only kernels are quantized"


@pytest.mark.parametrize(
    "quantization, kernel, norm",
    [(None, 32, 32), ("float16", 16, 16), ("int8", 8, 8), ("int16x8", 8, 16)],
)
def test_bits_of_each_quantization(tmp_path, quantization, kernel, norm):
    report = to_tflite(
        picture_model(), tmp_path / "net.tflite", quantization, min_psnr=15
    )
    bits = {row.name: row.bits for row in report.layers}
    assert bits["first"] == bits["last"] == kernel
    assert bits["first_norm"] == bits["second_norm"] == norm


def test_dynamic_kernels_are_those_of_numpy(tmp_path):
    model = picture_model()
    path = tmp_path / "net.tflite"
    to_tflite(model, path, "dynamic")
    kernel = model.get_layer("last").kernel.numpy().transpose(3, 0, 1, 2)
    scales = np.abs(kernel).max((1, 2, 3)) / 127
    codes = np.round(kernel / scales[:, None, None, None])
    found = [
        (interpreter.get_tensor(tensor["index"]), tensor)
        for interpreter in [Interpreter(str(path))]
        for tensor in interpreter.get_tensor_details()
        if list(tensor["shape"]) == list(kernel.shape)
    ]
    ((stored, tensor),) = found
    assert stored.dtype == np.int8
    np.testing.assert_array_equal(stored, codes)
    np.testing.assert_allclose(
        tensor["quantization_parameters"]["scales"], scales, rtol=1e-6
    )


def test_float16_is_keras_with_rounded_weights(tmp_path):
    model = picture_model()
    path = tmp_path / "net.tflite"
    to_tflite(model, path, "float16")
    model.set_weights(
        [w.astype("float16").astype("float32") for w in model.get_weights()]
    )
    photos = sample_pictures(16, 24)
    np.testing.assert_allclose(
        LiteRTModel(path)(photos), model.predict(photos, verbose=0), atol=0.05
    )


def test_leveling_saves_channels_of_small_variance(tmp_path, monkeypatch):
    model = picture_model()
    kernel = model.get_layer("second").kernel
    kernel.assign(kernel * np.logspace(-2, 2, 8, dtype="float32"))
    arguments = dict(quantization="int8", min_psnr=0)
    leveled = to_tflite(model, tmp_path / "a.tflite", **arguments)
    monkeypatch.setattr(leveling, "leveled_forms", lambda *arguments: {})
    plain = to_tflite(model, tmp_path / "b.tflite", **arguments)
    assert leveled.psnr > plain.psnr + 5


def test_input_and_output_keep_their_names(tmp_path):
    path = tmp_path / "net.tflite"
    to_tflite(picture_model(), path)
    interpreter = Interpreter(str(path))
    (image,) = interpreter.get_input_details()
    (stylized,) = interpreter.get_output_details()
    assert (image["name"], stylized["name"]) == ("image", "deprocess")
    assert image["dtype"] == stylized["dtype"] == np.float32


@pytest.mark.parametrize("quantization", ["int8", "int16x8"])
def test_constant_pictures_run_in_integer_files(tmp_path, quantization):
    # A variance of zero once stopped the runtime at its square root.
    path = tmp_path / "net.tflite"
    to_tflite(picture_model(), path, quantization, min_psnr=15)
    for level in (0, 128, 255):
        picture = np.full((1, 16, 24, 3), level, "float32")
        assert np.isfinite(LiteRTModel(path)(picture)).all()


@pytest.mark.parametrize("quantization", ["int8", "int16x8"])
def test_normalizations_that_cannot_be_leveled(tmp_path, quantization):
    inputs = keras.Input((16, 24, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, InstanceNormalization(name="norm")(x))
    report = to_tflite(
        distinct_weights(model), tmp_path / "net.tflite", quantization
    )
    assert [row.name for row in report.layers] == ["conv", "norm"]


@pytest.mark.parametrize("quantization, least", [("int8", 50), ("int16x8", 95)])
def test_blocks_of_pixels_run_in_integer_files(tmp_path, quantization, least):
    # TFLite has no such operation of 16 bits: there it is a transpose.
    inputs = keras.Input((5, 7, 12))
    model = keras.Model(inputs, DepthToSpace(2)(inputs))
    x = np.random.default_rng(0).normal(size=(20, 5, 7, 12)).astype("float32")
    path = tmp_path / "blocks.tflite"
    report = to_tflite(
        model, path, quantization, samples=x, representative_data=x
    )
    assert report.psnr > least
    # Row i, column j of a block are channels 3 * (2 * i + j) and on.
    found = LiteRTModel(path)(x[:1])
    np.testing.assert_allclose(found[0, 1::2, ::2], x[0, :, :, 6:9], atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["int8", "int16x8"])
@pytest.mark.parametrize("size", [(16, 24), (18, 27)])
def test_the_flat_network_in_integers(tmp_path, size, quantization):
    model = FlatStyleTransferNetwork.build(size, alpha=0.25)
    report = to_tflite(
        distinct_weights(model, seed=1),
        tmp_path / "flat.tflite",
        quantization,
        min_psnr=12,
    )
    assert report.psnr > {"int8": 12, "int16x8": 18}[quantization]


def test_models_of_any_size_are_fixed_to_one(tmp_path):
    model = distinct_weights(SmallStyleTransferNetwork.build(None, alpha=0.1))
    path = tmp_path / "net.tflite"
    with pytest.raises(ValueError, match="takes inputs of any size"):
        to_tflite(model, path)
    to_tflite(model, path, image_size=(20, 28))
    assert LiteRTModel(path).input_shape == (1, 20, 28, 3)


def test_nested_and_shared_layers(tmp_path):
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), shared, layers.ReLU()], name="inner"
    )
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, shared(inner(inputs)))
    report = to_tflite(distinct_weights(model), tmp_path / "net.tflite")
    (row,) = report.layers
    assert (row.name, row.bytes) == ("shared", 84 * 4)


def test_any_iterable_of_samples_is_representative(tmp_path):
    data = features()
    sizes = [
        to_tflite(
            perceptron(),
            tmp_path / "net.tflite",
            "int8",
            representative_data=given,
            samples=data[:4],
        ).max_difference
        for given in (data, list(data), (data[i : i + 8] for i in (0, 8)))
    ]
    assert sizes[0] == sizes[1]


def test_the_model_is_not_changed(tmp_path):
    model = picture_model()
    config, weights = model.get_config(), model.get_weights()
    for quantization in ("dynamic", "int8"):
        to_tflite(model, tmp_path / "net.tflite", quantization)
    assert model.get_config() == config
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_nothing_is_printed(tmp_path, capfd, quantization):
    to_tflite(picture_model(), tmp_path / "net.tflite", quantization)
    assert capfd.readouterr() == ("", "")


class MatrixExponential(layers.Layer):
    def call(self, inputs):
        import tensorflow as tf

        return tf.linalg.expm(inputs)


class NeedsValues(layers.Layer):
    def call(self, inputs):
        return keras.ops.convert_to_tensor(np.asarray(inputs))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)


@pytest.mark.parametrize(
    "layer, reason",
    [
        (MatrixExponential, "TFLite has no operation for tf.MatrixSolve"),
        (NeedsValues, "[Nn]umpy"),
    ],
)
def test_the_layer_that_cannot_be_converted_is_named(tmp_path, layer, reason):
    inputs = keras.Input((4, 4))
    x = layers.Dense(4, name="before")(inputs)
    model = keras.Model(inputs, layer(name="culprit")(x))
    with pytest.raises(
        ConversionError,
        match=rf"Layer 'culprit' \({layer.__name__}\) cannot be written to "
        rf"a TFLite file: .*{reason}.*Replace the layer",
    ):
        to_tflite(model, tmp_path / "net.tflite", samples=np.zeros((1, 4, 4)))
    assert not list(tmp_path.iterdir())


def test_a_file_that_disagrees_is_not_left(tmp_path):
    path = tmp_path / "net.tflite"
    with pytest.raises(
        ConversionError,
        match="TFLite int8 file of model 'picture_model': the file must agree "
        "with Keras to at least 90 dB. Received",
    ):
        to_tflite(picture_model(), path, "int8", min_psnr=90)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_finite_is_refused(tmp_path):
    model = perceptron()
    model.get_layer("hidden").kernel.assign(np.full((20, 64), 3e38))
    with pytest.raises(ConversionError, match="are not finite"):
        to_tflite(model, tmp_path / "net.tflite", samples=features(2))
    assert not list(tmp_path.iterdir())


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def two_inputs():
    inputs = [keras.Input((4,), name="a"), keras.Input((4,), name="b")]
    return keras.Model(inputs, layers.Add()(inputs))


def two_outputs():
    inputs = keras.Input((4,))
    return keras.Model(inputs, [layers.Dense(2)(inputs), layers.ReLU()(inputs)])


def half_precision():
    inputs = keras.Input((4,))
    dense = layers.Dense(2, dtype="mixed_float16", name="half")
    return keras.Model(inputs, dense(inputs))


@pytest.mark.parametrize(
    "build, arguments, message",
    [
        (perceptron, {"quantization": "int4"}, "one of .*Received: 'int4'"),
        (perceptron, {}, "Pass `samples=`"),
        (
            perceptron,
            {"quantization": "int8", "samples": features(2)},
            "Pass `representative_data=`",
        ),
        (
            perceptron,
            {
                "quantization": "int8",
                "samples": features(2),
                "representative_data": [],
            },
            "must not be empty",
        ),
        (
            perceptron,
            {
                "quantization": "int8",
                "samples": features(2),
                "representative_data": np.zeros((2, 3)),
            },
            "`representative_data` of model 'perceptron' must be an array",
        ),
        (Subclassed, {}, "Expected a Functional"),
        (two_inputs, {}, r"inputs \['a', 'b'\]"),
        (two_outputs, {}, "with 2"),
        (half_precision, {}, "Layer 'half' computes in float16"),
    ],
)
def test_bad_arguments_are_explained(tmp_path, build, arguments, message):
    with pytest.raises(ValueError, match=message):
        to_tflite(build(), tmp_path / "net.tflite", **arguments)
    assert not list(tmp_path.iterdir())


def test_bad_paths_are_explained(tmp_path):
    with pytest.raises(ValueError, match="ends with .tflite"):
        to_tflite(picture_model(), tmp_path / "net.mlmodel")
    with pytest.raises(ValueError, match="does not exist"):
        to_tflite(picture_model(), tmp_path / "missing" / "net.tflite")
    assert not list(tmp_path.iterdir())


def test_other_backends_are_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="where KERAS_BACKEND is tensorflow"):
        to_tflite(picture_model(), tmp_path / "net.tflite")


@pytest.mark.parametrize(
    "function, quantization, reason",
    [
        (lambda x: tf.math.betainc(x, x, x), None, "has no .* tf.Betainc"),
        (lambda x: tf.cumsum(x, 1), "int16x8", "not yet .* 'CUMSUM'"),
    ],
)
def test_an_error_names_the_layer_in_one_line(
    tmp_path, function, quantization, reason
):
    odd = layers.Lambda(function, name="odd")
    model = keras.Sequential([keras.Input((20,)), layers.Dense(20), odd])
    with pytest.raises(ConversionError, match=f"'odd' .*{reason}") as caught:
        to_tflite(
            model,
            tmp_path / "net.tflite",
            quantization,
            representative_data=features(4),
            samples=np.full((1, 20), 0.5),
        )
    assert "\n" not in str(caught.value)


def test_a_shared_convolution_is_quantized(tmp_path):
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    inputs = keras.Input((8, 8, 3))
    outputs = shared(layers.ReLU()(shared(inputs)))
    model = distinct_weights(keras.Model(inputs, outputs))
    report = to_tflite(model, tmp_path / "net.tflite", "dynamic")
    (row,) = report.layers
    assert (row.bits, row.note) == (8, "")
    assert row.bytes == 81 + 4 * 3 + 4 * 3  # Codes, scales, bias.


def test_quantizations_in_a_list_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be one of.*Received: \[8\]"):
        to_tflite(perceptron(), tmp_path / "net.tflite", [8])
