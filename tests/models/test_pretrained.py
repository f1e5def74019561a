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
    "starry_night_flat": 13_264,
    "starry_night_flat_wide": 44_912,
    "starry_night_flat_tiny": 8_232,
    "the_scream_flat": 13_264,
}
# Least PSNR in dB and SSIM to the teacher.
FLAT = {
    "starry_night_flat": (24.0, 0.755),
    "starry_night_flat_wide": (25.0, 0.80),
    "starry_night_flat_tiny": (23.5, 0.72),
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
    assert sum(file.stat().st_size for file in files) < 1_000_000


@pytest.mark.parametrize("name", ["starry_night_student", "starry_night_tiny"])
def test_a_student_paints_like_its_teacher(name, photos, painted):
    """Looser than its card, which counts more photos than these two."""
    pictures = np.asarray(load_pretrained(name)(photos))
    pairs = list(zip(painted, pictures))
    assert np.mean([fidelity.psnr(*pair) for pair in pairs]) > 22.5
    assert np.mean([fidelity.ssim(*pair) for pair in pairs]) > 0.7
    ratio = fidelity.variation(pictures) / fidelity.variation(painted)
    assert 0.75 < ratio < 1.15


@pytest.mark.parametrize("name", FLAT)
def test_a_flat_student_paints_like_its_teacher(name, photos, painted):
    pictures = np.asarray(load_pretrained(name)(photos))
    pairs = list(zip(painted, pictures))
    psnr, ssim = FLAT[name]
    assert np.mean([fidelity.psnr(*pair) for pair in pairs]) > psnr
    assert np.mean([fidelity.ssim(*pair) for pair in pairs]) > ssim
    ratio = fidelity.variation(pictures) / fidelity.variation(painted)
    assert 0.9 < ratio < 1.05


@pytest.mark.parametrize("name", FLAT)
def test_a_flat_student_leaves_no_more_of_a_grid_than_its_teacher(
    name, photos, painted
):
    """In grey levels; without the grid term of its loss it leaves 5."""
    strength = fidelity.grid_strength(np.asarray(load_pretrained(name)(photos)))
    assert strength <= 2.6 < fidelity.grid_strength(painted)


def test_the_flat_networks_take_any_size():
    photo = np.random.default_rng(0).uniform(0, 255, (1, 61, 90, 3))
    for name in (*FLAT, "the_scream_flat"):
        assert load_pretrained(name)(photo).shape == photo.shape
        assert load_pretrained(name, (61, 90)).output_shape[1:3] == (61, 90)


def test_another_painting_gives_other_pictures(photos, painted):
    scream = np.asarray(load_pretrained("the_scream_flat")(photos))
    assert np.mean([fidelity.psnr(*p) for p in zip(painted, scream)]) < 18
    # Still the photos: their brightness, if not their colors.
    for photo, picture in zip(photos, scream):
        together = np.corrcoef(photo.mean(-1).ravel(), picture.mean(-1).ravel())
        assert together[0, 1] > 0.5


@pytest.mark.slow
def test_the_flat_student_is_a_file_of_17_kilobytes(tmp_path):
    from fritz_compress.convert import to_coreml

    report = to_coreml(
        load_pretrained("starry_night_flat", (480, 640)),
        tmp_path / "flat.mlmodel",
        nbits=8,
    )
    assert report.bytes <= 17_000
    assert report.psnr >= 50


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
