"""The networks that come with the package, on photos no training saw."""

import importlib.resources
import pathlib

import numpy as np
import pytest

from fritz_compress.models import load_pretrained
from fritz_compress.models.pretrained import PRETRAINED
from fritz_compress.ops import fidelity

WEIGHTS = {
    "starry_night_teacher": 108_374,
    "starry_night_student": 11_868,
    "starry_night_tiny": 9_830,
    "starry_night_folded": 11_868 + 204,
}


@pytest.fixture(name="photos", scope="module")
def held_out_photos():
    from fritz_compress.convert import sample_pictures

    return sample_pictures(256, 256)


@pytest.fixture(name="painted", scope="module")
def what_the_teacher_paints(photos):
    return np.asarray(load_pretrained("starry_night_teacher")(photos))


def test_the_list_is_complete():
    assert PRETRAINED.keys() == WEIGHTS.keys()


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_and_cards_are_there(name):
    model = load_pretrained(name, (8, 8))
    assert model.count_params() == WEIGHTS[name]
    assert model.input_shape == (None, 8, 8, 3)
    folder = importlib.resources.files("fritz_compress.pretrained")
    card = (folder / f"{name}.md").read_text()
    for item in ("Photos", "Steps", "Seconds", "PSNR", "SSIM", "Licence"):
        assert item in card


def test_the_package_data_is_small():
    folder = importlib.resources.files("fritz_compress.pretrained")
    files = pathlib.Path(str(folder)).glob("*.npz")
    assert sum(file.stat().st_size for file in files) < 600_000


@pytest.mark.parametrize("name", ["starry_night_student", "starry_night_tiny"])
def test_a_student_paints_like_its_teacher(name, photos, painted):
    """Looser than its card, which counts more photos than these two."""
    pictures = np.asarray(load_pretrained(name)(photos))
    pairs = list(zip(painted, pictures))
    assert np.mean([fidelity.psnr(*pair) for pair in pairs]) > 22.5
    assert np.mean([fidelity.ssim(*pair) for pair in pairs]) > 0.7
    ratio = fidelity.variation(pictures) / fidelity.variation(painted)
    assert 0.75 < ratio < 1.15


def test_the_folded_student_is_closer_than_a_color_map(photos, painted):
    """It cannot adapt to each photo, and is some 3 dB behind the student."""
    pictures = np.asarray(load_pretrained("starry_night_folded")(photos))
    pairs = list(zip(painted, pictures))
    assert np.mean([fidelity.psnr(*pair) for pair in pairs]) > 22
    assert np.mean([fidelity.ssim(*pair) for pair in pairs]) > 0.75
    ratio = fidelity.variation(pictures) / fidelity.variation(painted)
    assert 0.75 < ratio < 1.15


@pytest.mark.slow
def test_the_folded_student_keeps_its_pictures_in_integers(tmp_path):
    from fritz_compress.convert import to_tflite

    report = to_tflite(
        load_pretrained("starry_night_folded", (256, 256)),
        tmp_path / "folded.tflite",
        quantization="int8",
        min_psnr=38,
    )
    assert report.bytes <= 19_500
    assert report.psnr >= 38


def test_the_teacher_is_no_photo_filter(photos, painted):
    """It changes colors as a map does, and adds texture as no map can."""
    mapped = fidelity.apply_color_map(
        photos, fidelity.fit_color_map(photos, painted)
    )
    assert fidelity.psnr(painted, mapped) < 22
    assert fidelity.variation(painted) > 2 * fidelity.variation(mapped)


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match="one of starry_night_teacher"):
        load_pretrained("sunny_day")
