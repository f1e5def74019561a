import numpy as np
import pytest
from PIL import Image

from fritz_compress.training import Photos, read_photo


def write_photo(path, seed, size=(48, 40)):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (size[1], size[0], 3), dtype="uint8")
    Image.fromarray(pixels).save(path)


@pytest.fixture(name="folder")
def folder_of_photos(tmp_path):
    (tmp_path / "more").mkdir()
    for seed, name in enumerate(["a.png", "b.jpg", "c.webp", "more/d.JPEG"]):
        write_photo(tmp_path / name, seed)
    (tmp_path / "notes.txt").write_text("no photo")
    return tmp_path


def batch(photos, number, **arguments):
    arguments = {"size": 16, "batch_size": 3, "seed": 7, **arguments}
    return next(
        iter(photos.batches(first_batch=number, **arguments).take(1))
    ).numpy()


def test_every_format_in_every_folder_is_found(folder):
    photos = Photos(folder)
    assert photos.names == ("a.png", "b.jpg", "c.webp", "more/d.JPEG")
    assert [photos[i].size for i in range(4)] == [(48, 40)] * 4


def test_batches_are_pixels_of_the_right_shape(folder):
    crops = batch(Photos(folder), 0)
    assert crops.shape == (3, 16, 16, 3)
    assert crops.dtype == "float32"
    assert 0 <= crops.min() and 100 < crops.max() <= 255


def test_batch_n_is_the_same_wherever_one_starts(folder):
    photos = Photos(folder)
    run = [b.numpy() for b in photos.batches(16, 3, seed=7).take(4)]
    for number in range(4):
        np.testing.assert_array_equal(
            batch(Photos(folder), number), run[number]
        )


def test_crops_change_with_seed_and_number(folder):
    photos = Photos(folder)
    assert not np.array_equal(batch(photos, 0), batch(photos, 1))
    assert not np.array_equal(batch(photos, 0), batch(photos, 0, seed=8))


def test_every_photo_is_used_once_per_round(tmp_path):
    for shade in range(5):
        flat = np.full((20, 20, 3), 50 * shade, "uint8")
        Image.fromarray(flat).save(tmp_path / f"{shade}.png")
    photos = Photos(tmp_path)
    shades = [int(photos.crop(i, 8, seed=0).mean()) for i in range(10)]
    assert sorted(shades[:5]) == sorted(shades[5:]) == [0, 50, 100, 150, 200]
    assert shades[:5] != shades[5:]


def test_a_crop_is_a_part_of_the_photo(tmp_path):
    ramp = np.tile(np.arange(200, dtype="uint8")[:, None, None], (1, 200, 3))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    photos = Photos(tmp_path)
    for index in range(8):
        column = photos.crop(index, 32, seed=0)[:, 0, 0].astype(int)
        steps = np.diff(column)
        assert (steps >= 0).all()  # upright: top of the ramp stays on top
        assert 31 <= column[-1] - column[0] + 2 <= 202


def test_a_photo_smaller_than_the_crop_is_enlarged(tmp_path):
    write_photo(tmp_path / "small.png", 0, size=(10, 12))
    assert batch(Photos(tmp_path), 0).shape == (3, 16, 16, 3)


def test_gray_and_transparent_pictures_become_rgb(tmp_path):
    Image.new("L", (20, 20), 100).save(tmp_path / "gray.png")
    Image.new("RGBA", (20, 20), (1, 2, 3, 128)).save(tmp_path / "alpha.png")
    assert batch(Photos(tmp_path), 0).shape == (3, 16, 16, 3)


def test_sixteen_bits_of_gray_are_scaled_and_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype("uint16").reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    pixels = np.asarray(read_photo(tmp_path / "ramp.png"))[..., 0].ravel()
    assert np.abs(pixels.astype(int) - np.arange(256)).max() <= 1


def test_a_picture_too_large_to_be_one_is_named(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ValueError, match="a.png' is not a picture"):
        Photos(folder)


def test_a_folder_named_like_a_photo_is_a_folder(folder):
    (folder / "album.jpg").mkdir()
    write_photo(folder / "album.jpg" / "e.png", 9)
    assert len(Photos(folder)) == 5


def test_large_photos_are_not_all_kept_in_memory(folder, monkeypatch):
    monkeypatch.setattr("fritz_compress.training.photos.CACHE_BYTES", 12_000)
    photos = Photos(folder)  # of 48 * 40 * 3 = 5,760 bytes each
    first = photos[0]
    assert photos[0] is first
    assert [photos[i].size for i in range(4)] == [(48, 40)] * 4
    assert photos[0] is not first


def test_a_camera_held_upright_gives_an_upright_photo(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_photo(tmp_path / "turned.jpg").size == (20, 30)


def test_a_broken_file_is_named(folder):
    whole = (folder / "b.jpg").read_bytes()
    (folder / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="torn.jpg' is not a picture"):
        Photos(folder)


def test_broken_files_are_skipped_and_counted_when_asked(folder):
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.webp").write_text("text")
    with pytest.warns(UserWarning, match="2 of 6 picture files are broken"):
        photos = Photos(folder, skip_broken=True)
    assert len(photos) == 4
    assert [path.name for path in photos.broken] == ["empty.png", "text.webp"]


def test_excluded_names_are_left_out(folder):
    assert len(Photos(folder, exclude=("a", "d"))) == 2


@pytest.mark.parametrize(
    "prepare, message",
    [
        (lambda p: p / "missing", "No folder of photos at"),
        (lambda p: p, "No photo was found in"),
    ],
)
def test_no_photos_is_an_error(tmp_path, prepare, message):
    with pytest.raises(ValueError, match=message):
        Photos(prepare(tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [{"size": 0}, {"batch_size": 0}, {"seed": -1}, {"first_batch": -1}],
    ids=str,
)
def test_batches_check_their_arguments(folder, arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        Photos(folder).batches(**{"size": 8, "batch_size": 1, **arguments})


def test_one_name_is_not_a_list_of_names(folder):
    with pytest.raises(ValueError, match=r"Pass \['china'\]"):
        Photos(folder, exclude="china")


def test_the_installed_photos_leave_out_what_is_judged():
    photos = Photos()
    assert len(photos) == 6
    assert not {"china", "chelsea"} & set(photos.names)
    assert min(min(photos[i].size) for i in range(len(photos))) >= 400


def test_two_collections_can_be_joined(folder):
    both = Photos(folder) + Photos()
    assert len(both) == 10
    assert both[len(both) - 1].mode == "RGB"


def test_joined_photos_of_one_name_are_both_kept(folder):
    both = Photos(folder) + Photos(folder)
    assert len(both) == 8
    assert both.names[4] == "a (2).png"


def test_a_progress_bar_sees_every_file(folder):
    seen = []

    def progress(files):
        for file in files:
            seen.append(file[0])
            yield file

    assert Photos(folder, progress=progress).names == tuple(seen)
