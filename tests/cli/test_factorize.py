"""`fritz-compress factorize`: a file of small layers, and the table."""

import json
import re

import keras
import numpy as np
import pytest
from commands import run
from low_rank_models import classifier, give_rank, images
from PIL import Image

from fritz_compress import factorize


def network():
    """One layer has a rank that variational Bayes finds."""
    model = classifier()
    give_rank(model.get_layer("dilated"), "channel", 2)
    return model


@pytest.fixture(name="files", scope="module")
def network_and_samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    network().save(folder / "net.keras")
    dense = keras.Sequential([keras.Input((9,)), keras.layers.Dense(8)])
    dense.save(folder / "dense.keras")
    np.savez(folder / "samples.npz", x=images())
    np.savez(folder / "other.npz", y=images())
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), "uint8")
    Image.fromarray(pixels).save(folder / "photo.png")
    config = {
        "global_config": {"energy": 0.7},
        "layer_type_configs": {"Conv2D": {"method": "tucker", "rank": [2, 3]}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "wrong.json").write_text('{"energi": 0.7}')
    return folder


def check(path, out, config=None, **arguments):
    """Whether a file and what was printed are those of a call."""
    expected, report = factorize(network(), config, **arguments)
    found = keras.saving.load_model(path)
    assert [x.name for x in found.layers] == [x.name for x in expected.layers]
    pairs = zip(found.get_weights(), expected.get_weights(), strict=True)
    for new, old in pairs:
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-6)
    assert report.factorized
    assert str(report).splitlines()[0] in out
    assert str(report).splitlines()[-1] in out
    assert f"{path} written" in out


SPATIAL = {"method": "spatial"}


@pytest.mark.parametrize(
    "options, config, arguments",
    [
        ("", None, {}),
        ("--vbmf", {"rank": "vbmf"}, {}),
        ("--energy 0.7", {"energy": 0.7}, {}),
        ("--rank 3 --seed 5", {"rank": 3}, {"seed": 5}),
        ("--macs 0.5", None, {"macs": 0.5}),
        (
            "--parameters 0.5 --method spatial",
            {"global_config": {}, "layer_type_configs": {"Conv2D": SPATIAL}},
            {"parameters": 0.5},
        ),
        (
            "--energy 0.7 --layer dilated=2 --layer w*=none",
            {
                "global_config": {"energy": 0.7},
                "layer_name_configs": {"dilated": {"rank": 2}, "w*": None},
            },
            {},
        ),
        (
            "--config {files}/config.json",
            {
                "global_config": {"energy": 0.7},
                "layer_type_configs": {
                    "Conv2D": {"method": "tucker", "rank": (2, 3)}
                },
            },
            {},
        ),
        (
            "--macs 0.5 --samples {files}/samples.npz --positions 8",
            None,
            {"macs": 0.5, "samples": images(), "positions": 8},
        ),
    ],
)
def test_the_network_is_that_of_the_call(
    options, config, arguments, files, tmp_path, capsys
):
    output = tmp_path / "small.keras"
    words = [word.format(files=files) for word in options.split()]
    assert run("factorize", files / "net.keras", output, *words) == 0
    check(output, capsys.readouterr().out, config, **arguments)


def test_photos_are_samples(files, tmp_path, capsys):
    output = tmp_path / "small.keras"
    options = ["--macs", "0.5", "--samples", files / "photo.png"]
    assert run("factorize", files / "net.keras", output, *options) == 0
    photo = Image.open(files / "photo.png").resize((12, 11))
    samples = np.asarray(photo, "float32")[None]
    out = capsys.readouterr().out
    check(output, out, macs=0.5, samples=samples)


WRONG = [
    ("missing.keras {out}", "No network at 'missing.keras'"),
    ("{net} {tmp}/a.tflite", "ends with .keras"),
    ("{net} {out} --energy 90", r"`energy` must be a fraction in \(0, 1\]"),
    ("{net} {out} --rank 0", "`rank` must be at least 1"),
    ("{net} {out} --rank 99", "'strided' cannot.*Received: rank=99"),
    ("{net} {out} --macs 0.01", "cannot be met"),
    ("{net} {out} --method svdd", "`method` must be one of.*'svdd'"),
    ("{net} {out} --rank 3 --macs 0.5", "Received: --rank and --macs"),
    ("{net} {out} --vbmf --energy 0.5", "Received: --energy and --vbmf"),
    ("{dense} {out} --method cp", "--method cp is for layers of class Conv2D"),
    ("{net} {out} --layer dilated=x", "NAME=RANK, such as.*'dilated=x'"),
    ("{net} {out} --layer dilatd=2", "'dilatd'. Did you mean 'dilated'"),
    ("{net} {out} --config no.json", "No configuration at 'no.json'"),
    ("{net} {out} --config {files}/wrong.json", "Did you mean 'energy'"),
    (
        "{net} {out} --config {files}/config.json --energy 0.5",
        "--config says what --energy would",
    ),
    ("{net} {out} --samples no.npz", "No data at 'no.npz'"),
    ("{net} {out} --samples {files}/other.npz", "without x, with y"),
    ("{net} {out} --samples no_folder", "No picture or folder"),
    ("{net} {out} --positions 0", "'--positions'"),
]


@pytest.mark.parametrize("line, message", WRONG)
def test_bad_input_gets_one_line_and_exit_code_2(
    line, message, files, tmp_path, capsys
):
    names = {"files": files, "tmp": tmp_path, "out": tmp_path / "a.keras"}
    names |= {"net": files / "net.keras", "dense": files / "dense.keras"}
    assert run("factorize", *line.format(**names).split()) == 2
    out, error = capsys.readouterr()
    assert not out  # no empty progress bar
    assert error.startswith("fritz-compress: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert not list(tmp_path.iterdir())  # nothing half-written
