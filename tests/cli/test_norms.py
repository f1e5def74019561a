"""`fritz-compress norms`: a picture, whole or not at all."""

import keras
import pytest
from commands import run
from helpers import distinct_weights
from keras import layers
from PIL import Image


@pytest.fixture(name="network", scope="module")
def saved_network(tmp_path_factory):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(6, 3), layers.Conv2D(4, 3)]
    )
    path = tmp_path_factory.mktemp("network") / "tiny.keras"
    distinct_weights(model).save(path)
    return path


def test_a_picture_is_written(network, tmp_path, capsys):
    picture = tmp_path / "norms.png"
    assert run("norms", network, picture) == 0
    assert f"{picture} written" in capsys.readouterr().out
    with Image.open(picture) as image:
        assert image.size == (1350, 750)
        # White margin, and curves in more than one colour.
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50
    assert list(tmp_path.iterdir()) == [picture]


def test_networks_of_the_package_are_drawn(tmp_path):
    picture = tmp_path / "norms.svg"
    assert run("norms", "starry_night_tiny", picture) == 0
    assert picture.read_text().lstrip().startswith("<?xml")


# The two arguments, and what the one line says.
WRONG = [
    ("{network} {tmp}/norms.gif", "ends with .png or .pdf or .svg"),
    ("{network} {tmp}/no/norms.png", "does not exist"),
    ("missing.keras {tmp}/norms.png", "No network at 'missing.keras'"),
    ("{dense} {tmp}/norms.png", "'flat' has no convolution"),
    ("{network}", "Missing argument 'picture'"),
]


@pytest.mark.parametrize("line, message", WRONG)
def test_bad_input_gets_one_line_and_exit_code_2(
    line, message, network, tmp_path, tmp_path_factory, capsys
):
    dense = tmp_path_factory.mktemp("dense") / "flat.keras"
    keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="flat").save(
        dense
    )
    values = {"network": network, "dense": dense, "tmp": tmp_path}
    words = [word.format(**values) for word in line.split()]
    assert run("norms", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("fritz-compress: ") and error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())
