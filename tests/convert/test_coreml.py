"""Core ML files are checked before they are handed over."""

import logging
import os
import tempfile

import keras
import numpy as np
import pytest
from helpers import distinct_weights, slow_but
from keras import layers

from fritz_compress.convert import (
    coreml,
    mil_interpreter,
    neural_network_interpreter,
)
from fritz_compress.convert.coreml import to_coreml
from fritz_compress.convert.errors import ConversionError
from fritz_compress.layers import DeprocessStylizedImage
from fritz_compress.models import SmallStyleTransferNetwork, load_pretrained

SUFFIXES = [".mlmodel", ".mlpackage"]
FAST_MODELS = slow_but(SUFFIXES, ".mlmodel")


def style_network(image_size):
    """A student of random weights whose colors are far from flat."""
    model = SmallStyleTransferNetwork.build(image_size, alpha=0.3)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "gamma":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name == "beta":
            weight.assign(rng.normal(0, 0.3, weight.shape))
        else:
            scale = np.sqrt(np.prod(weight.shape[:-1]))
            weight.assign(rng.normal(0, 1 / scale, weight.shape))
    return model


@pytest.fixture(scope="module")
def student():
    return style_network((64, 48))


@pytest.fixture(scope="module")
def large_student():
    return style_network((256, 256))


def nothing_left(folder):
    return not list(folder.iterdir())


@pytest.mark.parametrize(
    "suffix, largest",
    [
        (".mlmodel", 0.001),
        pytest.param(".mlpackage", 0.01, marks=pytest.mark.slow),
    ],
)
def test_float_files_agree_with_keras(large_student, tmp_path, suffix, largest):
    path = tmp_path / f"student{suffix}"
    report = to_coreml(large_student, path)
    assert report.max_difference <= largest and report.psnr > 90
    assert report.path == path and path.exists()
    assert report.format == suffix[1:] and report.samples == 2
    assert report.parameters == 11_868
    assert sum(row.parameters for row in report.layers) == 11_868
    assert sum(row.bytes for row in report.layers) < report.bytes


@pytest.mark.parametrize(
    "nbits, mode, largest, psnr",
    [
        (16, "linear", 25_200, 60),
        (8, "linear", 15_000, 37),
        (6, "linear", 11_700, 20),
        (4, "linear", 9_100, 12),
        (4, "kmeans", 9_100, 12),
        (2, "kmeans", 5_300, 6),
        (1, "kmeans", 3_700, 4),
    ],
)
def test_sizes_and_agreement(
    large_student, tmp_path, nbits, mode, largest, psnr
):
    path = tmp_path / "student.mlmodel"
    report = to_coreml(
        large_student,
        path,
        nbits,
        mode,
        custom_layers=["DeprocessStylizedImage"],
    )
    assert report.bytes == path.stat().st_size <= largest
    assert report.psnr >= psnr


@pytest.mark.parametrize(
    "nbits, mode, largest, psnr",
    [
        (None, "linear", 49_000, 100),
        (8, "linear", 15_000, 50),
        (4, "kmeans", 9_100, 30),
        (2, "kmeans", 5_300, 18),
        (1, "kmeans", 3700, 13),
    ],
)
def test_the_shipped_student(tmp_path, nbits, mode, largest, psnr):
    model = load_pretrained("starry_night_student", (256, 256))
    path = tmp_path / "starry_night.mlmodel"
    report = to_coreml(model, path, nbits, mode)
    assert report.bytes <= largest
    assert report.psnr >= psnr


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["linear", "kmeans"])
@pytest.mark.parametrize("nbits", [8, 6, 4, 2, 1])
def test_programs_of_fewer_bits(large_student, tmp_path, nbits, mode):
    path = tmp_path / "student.mlpackage"
    report = to_coreml(large_student, path, nbits, mode)
    assert report.bytes < 46_000
    assert report.psnr > {8: 35, 6: 20, 4: 10, 2: 5, 1: 4}[nbits]


@pytest.mark.parametrize("suffix", FAST_MODELS)
def test_the_file_on_disk_is_what_was_checked(student, tmp_path, suffix):
    path = tmp_path / f"student{suffix}"
    inputs = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3))
    report = to_coreml(student, path, nbits=8, samples=inputs, min_psnr=10)
    interpreter = {
        ".mlmodel": neural_network_interpreter,
        ".mlpackage": mil_interpreter,
    }[suffix]
    received = interpreter.load(path)(inputs.astype("float32"))
    expected = [np.asarray(student(x[None].astype("float32"))) for x in inputs]
    difference = np.abs(received - np.concatenate(expected)).max()
    assert difference == pytest.approx(report.max_difference, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_disagrees_is_not_left(student, tmp_path, suffix):
    path = tmp_path / f"student{suffix}"
    with pytest.raises(ConversionError, match=r"32 bits.*at least 500 dB"):
        to_coreml(student, path, min_psnr=500)
    assert nothing_left(tmp_path)


def test_an_existing_file_survives_a_failure(student, tmp_path):
    path = tmp_path / "student.mlmodel"
    path.write_text("precious")
    with pytest.raises(ConversionError):
        to_coreml(student, path, nbits=8, min_psnr=500)
    assert path.read_text() == "precious"
    to_coreml(student, path)
    assert path.stat().st_size > 40_000


@pytest.mark.parametrize("suffix", FAST_MODELS)
def test_outputs_that_are_not_finite_are_refused(tmp_path, suffix):
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(3, 3)])
    kernel, bias = model.get_weights()
    model.set_weights([np.full_like(kernel, 3e38), bias])  # sums overflow
    with pytest.raises(ConversionError, match="not finite"):
        to_coreml(model, tmp_path / f"model{suffix}")
    assert nothing_left(tmp_path)


def test_other_models_need_samples(tmp_path):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    path = tmp_path / "dense.mlmodel"
    with pytest.raises(ValueError, match="Pass `samples=`"):
        to_coreml(model, path)
    samples = np.random.default_rng(0).normal(size=(4, 5))
    assert to_coreml(model, path, samples=samples).samples == 4


def test_open_size(tmp_path):
    model = SmallStyleTransferNetwork.build(None, alpha=0.2)
    distinct_weights(model)
    path = tmp_path / "student.mlmodel"
    with pytest.raises(ValueError, match="image_size"):
        to_coreml(model, path)
    to_coreml(model, path, image_size=(32, 24))
    loaded = neural_network_interpreter.load(path)
    assert loaded.input_shape == (None, 32, 24, 3)


class Halve(layers.Layer):
    def __init__(self, by=2, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def call(self, inputs):
        return inputs / self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


def test_custom_layers_of_the_user_are_computed_by_keras(tmp_path):
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Conv2D(3, 3), Halve(), Halve()]
    )
    path = tmp_path / "model.mlmodel"
    to_coreml(distinct_weights(model), path, custom_layers=["Halve"])
    with pytest.raises(ConversionError, match="class 'Halve'. Pass"):
        neural_network_interpreter.load(path)(np.zeros((1, 16, 16, 3)))


def test_custom_layers_with_different_arguments_are_refused(tmp_path):
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), Halve(2), Halve(4), DeprocessStylizedImage()]
    )
    with pytest.raises(ValueError, match="'Halve' have different arguments"):
        to_coreml(model, tmp_path / "model.mlmodel", custom_layers=["Halve"])


WRONG = {
    "suffix": ("a.tflite", {}, r"\.mlmodel or \.mlpackage. Received: 'a.tf"),
    "bits": ("a.mlmodel", {"nbits": 5}, "8, 6, 4, 2, 1.. Received: 5"),
    "mode": ("a.mlmodel", {"mode": "lut"}, "'linear', 'kmeans'.. Received: 'l"),
    "codebooks of floats": (
        "a.mlmodel",
        {"mode": "kmeans"},
        "nbits 8, 6, 4, 2 or 1. Received: nbits=None",
    ),
    "precision of a network": (
        "a.mlmodel",
        {"compute_precision": "float16"},
        "`compute_precision` is for a .mlpackage",
    ),
    "target of a network": (
        "a.mlmodel",
        {"minimum_target": "iOS16"},
        "`minimum_target` is for a .mlpackage",
    ),
    "custom layer of a program": (
        "a.mlpackage",
        {"custom_layers": ["DeprocessStylizedImage"]},
        "`custom_layers` is for a .mlmodel",
    ),
    "precision": (
        "a.mlpackage",
        {"compute_precision": "bfloat16"},
        "Received: 'bfloat16'",
    ),
    "half weights, full precision": (
        "a.mlpackage",
        {"compute_precision": "float32", "nbits": 16},
        "nbits=16 stores the weights",
    ),
    "target": (
        "a.mlpackage",
        {"minimum_target": "iOS15", "nbits": 4},
        "'iOS16' or newer for nbits=4. Received: 'iOS15'",
    ),
    "image size": (
        "a.mlmodel",
        {"image_size": (32, 32)},
        r"agree with the input.*Received: \(32, 32\)",
    ),
    "custom layer that is none": (
        "a.mlmodel",
        {"custom_layers": ["Deprocess"]},
        "Received: 'Deprocess'",
    ),
    "samples": (
        "a.mlmodel",
        {"samples": np.zeros((1, 32, 32, 3))},
        "Received: shape",
    ),
}


@pytest.mark.parametrize("name, arguments, text", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused(student, tmp_path, name, arguments, text):
    path = name if name.endswith("tflite") else tmp_path / name
    with pytest.raises(ValueError, match=text):
        to_coreml(student, path, **arguments)
    assert nothing_left(tmp_path)


def test_models_that_cannot_be_traced_are_refused(tmp_path):
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="Functional or a built Sequential"):
        to_coreml(Subclassed(), tmp_path / "a.mlmodel")
    inputs = keras.Input((8, 8, 3))
    twice = keras.Model(inputs, [layers.ReLU()(inputs), layers.ELU()(inputs)])
    with pytest.raises(ValueError, match="one output"):
        to_coreml(twice, tmp_path / "a.mlpackage")


def test_half_precision_models_are_refused(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(3, 3, name="odd", dtype="mixed_float16"),
        ]
    )
    with pytest.raises(ValueError, match="'odd' computes in float16"):
        to_coreml(model, tmp_path / "a.mlmodel")


@pytest.mark.parametrize("suffix", FAST_MODELS)
def test_nothing_else_is_changed(student, tmp_path, suffix, capfd, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    path = tmp_path / f"student{suffix}"
    to_coreml(student, path)  # scikit-learn sets variables when imported.
    before = student.get_weights(), student.get_config(), dict(os.environ)
    logger = logging.getLogger("coremltools")
    logging_before = logging.root.manager.disable, logger.level, logger.handlers
    capfd.readouterr()
    to_coreml(student, path, nbits=8)
    assert capfd.readouterr() == ("", "")
    assert logging_before == (
        logging.root.manager.disable,
        logger.level,
        logger.handlers,
    )
    assert (student.get_config(), dict(os.environ)) == before[1:]
    for old, new in zip(before[0], student.get_weights()):
        assert (old == new).all()
    assert not list(temporary.glob("*.mlpackage"))


def test_limits_are_documented_for_every_number_of_bits():
    for value in coreml.MIN_PSNR.values():
        assert f"{value:g}" in to_coreml.__doc__


@pytest.mark.parametrize("nbits", [8.0, True, [8], "8"])
def test_bits_that_are_no_whole_number(student, tmp_path, nbits):
    with pytest.raises(ValueError, match="`nbits` must be one of"):
        to_coreml(student, tmp_path / "student.mlpackage", nbits=nbits)


def test_custom_layers_in_a_text(student, tmp_path):
    with pytest.raises(ValueError, match=r"Pass a tuple: \('Deprocess\w+',\)"):
        to_coreml(
            student,
            tmp_path / "student.mlmodel",
            custom_layers="DeprocessStylizedImage",
        )


@pytest.mark.parametrize("name", ["", "1o", "my out", "ü", "the_input"])
def test_output_names_of_programs(tmp_path, name):
    inputs = keras.Input((8, 8, 3), name="the_input")
    model = keras.Model(inputs, layers.Conv2D(3, 1)(inputs))
    with pytest.raises(ValueError, match=f"letters.*output_name='{name}'"):
        to_coreml(model, tmp_path / "net.mlpackage", output_name=name)


def test_targets_are_texts(student, tmp_path):
    with pytest.raises(ValueError, match="'iOS15' or newer.*Received: 16"):
        to_coreml(student, tmp_path / "net.mlpackage", minimum_target=16)
