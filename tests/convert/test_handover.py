"""What holds for the files of every format."""

import coremltools
import keras
import numpy as np
import pytest
from coremltools.proto import Model_pb2
from helpers import distinct_weights
from keras import layers

from fritz_compress.convert import to_coreml, to_tflite

CONVERTERS = {
    ".tflite": to_tflite,
    ".mlmodel": to_coreml,
    ".mlpackage": to_coreml,
}
# Takes seconds each time.
PROGRAM = pytest.param(".mlpackage", marks=pytest.mark.slow)
SAMPLES = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3))


@pytest.fixture(params=[".tflite", ".mlmodel", PROGRAM])
def convert(request, tmp_path):
    """Converts to one of the formats, on samples of this file."""
    path = tmp_path / f"net{request.param}"

    def run(model, **options):
        options.setdefault("samples", SAMPLES)
        return CONVERTERS[request.param](model, path, **options)

    run.suffix = request.param
    run.path = path
    return run


def model_of(*parts):
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts], name="net")
    return distinct_weights(model)


@pytest.mark.parametrize("name", ["my conv", "a:b", "conv@1", "ünï"])
def test_layers_of_any_name(convert, name):
    report = convert(model_of(layers.Conv2D(4, 3, name=name)))
    assert [row.name for row in report.layers] == [name]
    later = layers.Dense(2, name="later")
    later.build((None, 3))
    assert later.kernel.path == "later/kernel"


def rows_of(report):
    return {row.name: row for row in report.layers}


def test_the_report_counts_a_shared_layer_once(convert):
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    report = convert(model_of(shared, layers.ReLU(), shared))
    (row,) = report.layers
    assert (row.parameters, row.bits) == (84, 32)
    assert row.bytes >= 4 * 84


def test_the_report_tells_layers_of_the_same_name_apart(convert):
    def part(name):
        conv = layers.Conv2D(3, 3, padding="same", name="conv")
        return keras.Sequential([keras.Input((8, 8, 3)), conv], name=name)

    report = convert(model_of(part("a"), part("b")))
    assert [row.parameters for row in report.layers] == [84, 84]


def test_the_report_counts_folded_normalizations(convert):
    model = model_of(
        layers.Conv2D(4, 3, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.Conv2D(3, 3, name="last"),
        layers.ActivityRegularization(),
    )
    rows = rows_of(convert(model))
    assert {n: r.parameters for n, r in rows.items()} == {
        "conv": 112,
        "norm": 16,
        "last": 111,
    }
    assert rows["last"].bytes >= 4 * 111 and rows["last"].bits == 32


@pytest.mark.parametrize("layer", [layers.BatchNormalization, layers.Dense])
def test_the_report_has_a_single_layer(convert, layer):
    arguments = {"units": 5} if layer is layers.Dense else {}
    report = convert(model_of(layers.Flatten(), layer(**arguments, name="one")))
    assert list(rows_of(report)) == ["one"]
    assert report.layers[0].bytes > 0


def feature_types(path):
    if path.suffix == ".mlmodel":
        spec = Model_pb2.Model.FromString(path.read_bytes())
    else:
        model = coremltools.models.MLModel(str(path), skip_model_load=True)
        spec = model.get_spec()
    ends = (*spec.description.input, *spec.description.output)
    return [end.type.WhichOneof("Type") for end in ends]


def unit_model():
    """From pictures to numbers within [0, 1] of three channels."""
    return model_of(
        layers.Rescaling(1 / 255),
        layers.Conv2D(3, 3, padding="same", activation="sigmoid"),
    )


@pytest.mark.parametrize("suffix", [".mlmodel", PROGRAM])
def test_numbers_that_are_no_picture_stay_an_array(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    to_coreml(unit_model(), path, nbits=8)
    assert feature_types(path) == ["imageType", "multiArrayType"]
    to_coreml(unit_model(), path, nbits=8, image_output=True)
    assert feature_types(path) == ["imageType", "imageType"]
    to_coreml(unit_model(), path, samples=SAMPLES)
    assert feature_types(path) == ["multiArrayType", "multiArrayType"]


def test_only_three_channels_are_a_picture(tmp_path):
    model = model_of(layers.Conv2D(4, 3))
    with pytest.raises(ValueError, match=r"three channels.*\(2, 6, 6, 4\)"):
        to_coreml(model, tmp_path / "net.mlmodel", image_output=True)


@pytest.mark.parametrize("structure", [lambda x: {"b": x}, lambda x: [x]])
def test_outputs_in_a_structure(convert, structure):
    inputs = keras.Input((8, 8, 3))
    outputs = layers.Conv2D(4, 1)(inputs)
    assert convert(keras.Model(inputs, structure(outputs))).psnr > 60


def test_layers_called_in_training_mode(convert):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(inputs)
    x = layers.BatchNormalization()(x, training=True)
    outputs = layers.Dropout(0.5)(x, training=True)
    model = distinct_weights(keras.Model(inputs, outputs))
    before = model.get_weights()
    assert convert(model).psnr > 60
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def doubling(size, strides):
    inputs = keras.Input((*size, 3))
    x = layers.Conv2D(4, 3, strides, padding="same")(inputs)
    x = layers.UpSampling2D(2)(x)
    outputs = layers.Conv2D(3, 3, padding="same")(x)
    return distinct_weights(keras.Model(inputs, outputs, name="net"))


def test_a_size_that_the_model_rounds_up_is_refused(convert):
    model = doubling((None, None), strides=2)
    with pytest.raises(
        ValueError,
        match=r"image_size=\(7, 8\), for which model 'net' .* \(8, 8\). Pass "
        r"image_size=\(8, 8\)",
    ):
        convert(model, image_size=(7, 8), samples=SAMPLES[:, :7])
    assert not convert.path.exists()
    assert convert(model, image_size=(8, 8)).psnr > 60


def test_models_that_enlarge_pictures(convert):
    model = doubling((None, None), strides=1)
    assert convert(model, image_size=(8, 8)).psnr > 60


def test_weights_that_are_not_finite_are_refused(convert):
    model = model_of(layers.Conv2D(4, 3, name="bad"))
    kernel = model.layers[0].kernel
    values = np.array(kernel)
    values[0, 0, 0, :2] = np.nan, np.inf
    kernel.assign(values)
    with pytest.raises(
        ValueError, match="'bad' .*2 of 108 numbers of 'kernel'"
    ):
        convert(model)


@pytest.mark.parametrize("suffix", [".tflite", PROGRAM])
@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Activation("gelu"),
        lambda: layers.Dense(4, activation="gelu"),
        lambda: layers.Lambda(lambda x: keras.ops.gelu(x, approximate=True)),
    ],
)
def test_gelu(tmp_path, suffix, make):
    report = CONVERTERS[suffix](
        model_of(make(), layers.Conv2D(4, 3)),
        tmp_path / f"net{suffix}",
        samples=SAMPLES,
    )
    assert report.psnr > 100


@pytest.mark.parametrize("size", [32, "32x32", (0, 8), (8.0, 8.0), (8,)])
def test_sizes_that_are_none(convert, size):
    model = doubling((None, None), strides=1)
    with pytest.raises(ValueError, match=r"`image_size` must be \(height, w"):
        convert(model, image_size=size)


def test_a_folder_and_a_file_do_not_replace_each_other(convert):
    if convert.suffix == ".mlpackage":
        convert.path.write_text("precious")
    else:
        convert.path.mkdir()
    with pytest.raises(ValueError, match="exists and is a (file|folder); a"):
        convert(None)  # Before the model is looked at.
    assert convert.path.exists()
