"""What people type, right and wrong."""

import pathlib
import re

import keras
import numpy as np
import pytest
from commands import run
from helpers import distinct_weights
from PIL import Image

from fritz_compress.convert import to_tflite
from fritz_compress.models import SmallStyleTransferNetwork


@pytest.fixture(name="network", scope="module")
def saved_network(tmp_path_factory):
    model = SmallStyleTransferNetwork.build(None, alpha=0.13)
    path = tmp_path_factory.mktemp("network") / "tiny.keras"
    distinct_weights(model, seed=0).save(path)
    return path


@pytest.fixture(name="photos")
def folder_of_photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, size in enumerate([(40, 36), (37, 50)]):
        pixels = rng.integers(0, 255, (*size, 3), dtype="uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_help_names_every_command(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    commands = "demo train distill stylize convert profile benchmark".split()
    assert all(command in out for command in commands)


def test_profile_prints_a_table_or_csv(network, capsys):
    assert run("profile", network, "--size", "8x12") == 0
    table = capsys.readouterr().out
    assert "encode_full_convolution" in table and "8x12x4" in table
    assert re.search("at 32 bits: .*\nat 8 bits: ", table)
    assert run("profile", network, "--bits", "4") == 0
    assert "\nat 4 bits: " in capsys.readouterr().out
    assert run("profile", network, "--csv") == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("layer,kind,output,parameters,macs,bytes,")
    assert "480x640x4" in rows[2]


def test_profile_times_converted_files(tmp_path, capsys):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    to_tflite(model, tmp_path / "net.tflite", samples=np.ones((1, 4)))
    assert run("profile", tmp_path / "net.tflite", "--runs", "2") == 0
    *_, title, header, first, second, third, fourth = (
        capsys.readouterr().out.strip().splitlines()
    )
    assert title == "net.tflite: one sample"
    assert header.split() == ["threads", "XNNPACK", "milliseconds"]
    settings = [x.split()[:2] for x in (first, second, third, fourth)]
    assert settings == [["1", "yes"], ["1", "no"], ["2", "yes"], ["2", "no"]]


def test_one_picture_is_stylized_in_its_own_size(network, photos, tmp_path):
    output = tmp_path / "out.png"
    assert run("stylize", network, photos / "1.png", output) == 0
    with Image.open(output) as picture, Image.open(photos / "1.png") as photo:
        assert picture.size == photo.size == (50, 37)
        # Any size: padded to a multiple of 4 at the lower right, cropped.
        padded = np.pad(
            np.asarray(photo), [(0, 3), (0, 2), (0, 0)], "symmetric"
        )
        model = keras.saving.load_model(network)
        expected = np.asarray(model(padded[None].astype("float32")))[0]
        difference = np.asarray(picture) - expected[:37, :50]
        assert np.abs(difference).max() <= 0.51


def test_a_folder_is_stylized_side_by_side(network, photos, tmp_path, capsys):
    output = tmp_path / "new" / "folder"
    assert run("stylize", network, photos, output, "--side-by-side") == 0
    assert sorted(p.name for p in output.iterdir()) == ["0.png", "1.png"]
    with Image.open(output / "0.png") as picture:
        assert picture.size == (2 * 36 + 8, 40)
    assert "2 written" in capsys.readouterr().out


def test_pictures_that_differ_in_their_ending_stay_two(
    network, photos, tmp_path
):
    with Image.open(photos / "0.png") as picture:
        picture.save(photos / "0.jpg")
    assert run("stylize", network, photos, tmp_path / "out") == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0.jpg.png", "0.png.png", "1.png"]


def test_core_ml_files_alone_are_not_timed(network, tmp_path, capsys):
    file = tmp_path / "a.mlmodel"
    run("convert", network, file, "--size", "32x32")
    assert run("benchmark", file) == 0
    assert "needs Apple's runtime" in capsys.readouterr().out


def test_a_network_is_converted_and_the_file_stylizes(
    network, photos, tmp_path, capsys
):
    for name, options in {
        "a.tflite": ["--quantization", "float16"],
        "b.mlmodel": ["--nbits", "8"],
        "c.mlmodel": ["--nbits", "8", "--mode", "kmeans", "--custom-layer"],
    }.items():
        file = tmp_path / name
        arguments = ["convert", network, file, "--size", "32x48", *options]
        assert run(*arguments) == 0
        assert "agrees with Keras to" in capsys.readouterr().out
        output = tmp_path / f"{name}.png"
        assert run("stylize", file, photos / "0.png", output) == 0
        with Image.open(output) as picture:
            assert picture.size == (36, 40)


def test_files_are_timed_side_by_side(network, tmp_path, capsys):
    file = tmp_path / "a.tflite"
    run("convert", network, file, "--size", "32x32")
    capsys.readouterr()
    arguments = ["benchmark", file, network, "--size", "32x32", "--runs", 3]
    assert run(*arguments) == 0
    out = capsys.readouterr().out
    assert "1.00" in out and f"{file.stat().st_size:,}" in out


@pytest.mark.slow
def test_a_student_is_distilled_and_pruned(network, photos, tmp_path, capsys):
    output = tmp_path / "student.keras"
    arguments = ["distill", network, output, "--photos", photos]
    arguments += ["--steps", 8, "--crop-size", 16, "--alpha", 0.3]
    assert run(*arguments, "--prune", 0.25) == 0
    assert "9,830 weights" in capsys.readouterr().out
    model = keras.saving.load_model(output)
    assert model.count_params() == 9830  # 9 filters became 8 everywhere


@pytest.mark.slow
def test_a_flat_student_is_distilled_without_dots(network, photos, tmp_path):
    output = tmp_path / "student.keras"
    arguments = ["distill", network, output, "--photos", photos, "--steps", 2]
    arguments += ["--architecture", "flat", "--alpha", 0.25, "--crop-size", 32]
    assert run(*arguments, "--grid-weight", 1, "--grid-share", 0.5) == 0
    model = keras.saving.load_model(output)
    assert model.get_layer("decode_blocks").filters == 48


@pytest.mark.slow
def test_a_network_is_trained_on_a_painting(photos, tmp_path, capsys):
    vgg = keras.applications.VGG16(include_top=False, weights=None)
    vgg.save_weights(tmp_path / "vgg.weights.h5")
    output = tmp_path / "trained.keras"
    arguments = ["train", photos / "0.png", output, "--photos", photos]
    arguments += ["--vgg16", tmp_path / "vgg.weights.h5", "--steps", 2]
    arguments += ["--crop-size", 32, "--style-size", 32, "--batch-size", 1]
    assert run(*arguments, "--architecture", "small", "--alpha", 0.1) == 0
    assert keras.saving.load_model(output).input_shape == (None, None, None, 3)


# Arguments (with {name} of a fixture) and what the one line says.
WRONG = [
    ("nonsense", "No such command 'nonsense'"),
    ("profile", "Missing argument 'network'"),
    ("profile {network} --bit 3", "No such option: --bit"),
    ("profile {network} --bits 0", "'--bits': .* greater than or equal to 1"),
    ("profile missing.tflite", "No network at 'missing.tflite'"),
    ("profile no_such_name", "one of starry_night_teacher, starry_night_s"),
    ("profile missing.keras", "No network at 'missing.keras'"),
    ("profile {photos}/0.png", "Expected a .keras or .h5 file"),
    ("profile {network} --size 8", "HEIGHTxWIDTH in pixels.*'8'"),
    ("stylize {network} missing.png out.png", "No picture or folder"),
    ("stylize {network} {photos}/0.png out.pdf", "is a .png, .jpg or .webp"),
    ("stylize {network} {photos} {photos}/0.png", "must be one"),
    ("stylize {network} {tmp} {tmp}", "No picture in"),
    ("stylize {network} {photos}/0.png {tmp}/no/o.png", "No folder"),
    ("convert {network} a.onnx", "ends with .tflite or .mlmodel or .mlpack"),
    ("convert {network} {tmp}/a.tflite --nbits 8", "--nbits, --mode.*Core ML"),
    ("convert {network} {tmp}/a.mlmodel --quantization int8", "for .tflite"),
    ("convert {network} {tmp}/a.tflite --calibration {photos}", "need ranges"),
    ("convert {network} {tmp}/a.mlmodel --nbits 5 --size 8x8", "Received: 5"),
    ("convert {network} {tmp}/no/a.tflite --size 8x8", "does not exist"),
    ("benchmark {network} missing.tflite", "No network at 'missing.tflite'"),
    ("benchmark {network} --runs 0", "Invalid value for '--runs'"),
    ("distill {network} out.onnx", "ends with .keras"),
    ("distill {network} {tmp}/no/out.keras", "No folder"),
    ("distill {network} {tmp}/o.keras --architecture huge", "large, small"),
    (
        "distill {network} {tmp}/o.keras --photos {tmp}/no",
        "No folder of photos",
    ),
    ("distill {network} {tmp}/o.keras --grid-share 2", "grid_share=2"),
    ("distill {network} {tmp}/o.keras --alpha 0", "must be positive"),
    ("distill {network} {tmp}/o.keras --prune 25", "not a percent"),
    ("distill {network} a.txt {tmp}/o.keras", "Received: a.txt"),
    ("distill {network} a.npz b.npz {tmp}/o.keras", "a.npz b.npz .*after the"),
    ("distill {network} a.npz {tmp}/o.keras", "Received: a.npz alone"),
    ("distill {network} {tmp}/o.keras --student a.keras", "--student alone"),
    ("train missing.jpg {tmp}/o.keras", "No picture file at 'missing.jpg'"),
    ("train {photos}/0.png {tmp}/o.keras --vgg16 no.h5", "pass a file"),
]


@pytest.mark.parametrize("line, message", WRONG)
def test_bad_input_gets_one_line_and_exit_code_2(
    line, message, network, photos, tmp_path, capsys
):
    before = sorted(tmp_path.rglob("*"))
    values = {"network": network, "photos": photos, "tmp": tmp_path}
    assert run(*(word.format(**values) for word in line.split())) == 2
    error = capsys.readouterr().err
    assert error.startswith("fritz-compress: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert sorted(tmp_path.rglob("*")) == before  # nothing half-written


@pytest.mark.slow
def test_a_broken_photo_is_named_or_skipped(network, photos, tmp_path, capsys):
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    output = tmp_path / "o.keras"
    arguments = ["distill", network, output, "--photos", photos, "--steps", 1]
    assert run(*arguments, "--crop-size", 16) == 2
    assert "torn.jpg" in capsys.readouterr().err
    assert not pathlib.Path(output).exists()
    with pytest.warns(UserWarning, match="1 of 3 picture files"):
        assert run(*arguments, "--crop-size", 16, "--skip-broken") == 0
