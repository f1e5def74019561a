import numpy as np
import pytest

from fritz_compress.convert.pictures import (
    picture_grid,
    side_by_side,
    stylize,
)


def photo(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (height, width, 3), dtype="uint8")


def negative(pictures):
    assert pictures.dtype == "float32" and pictures.ndim == 4
    return 255 - pictures


@pytest.mark.parametrize("size", [(8, 12), (9, 11), (1, 1), (4, 7)], ids=str)
def test_a_network_of_any_size_gets_multiples_of_4(size):
    seen = []

    def network(pictures):
        seen.append(pictures.shape[1:3])
        return negative(pictures)

    picture = photo(*size)
    np.testing.assert_array_equal(stylize(network, picture), 255 - picture)
    assert all(side % 4 == 0 for side in seen[0])


def test_a_network_of_one_size_gets_that_size():
    seen = []

    def network(pictures):
        seen.append(pictures.shape[1:3])
        return negative(pictures)

    smooth = np.full((10, 20, 3), 100, "uint8")
    result = stylize(network, smooth, image_size=(8, 8))
    assert seen == [(8, 8)]
    np.testing.assert_array_equal(result, np.full((10, 20, 3), 155))


def test_a_network_that_enlarges_still_returns_the_photos_size():
    def twice(pictures):
        return pictures.repeat(2, axis=1).repeat(2, axis=2)

    assert stylize(twice, photo(8, 8), image_size=(8, 8)).shape == (8, 8, 3)


def test_values_are_rounded_and_clipped():
    def wild(pictures):
        return np.array([-5.0, 127.6, 300.0]) + 0 * pictures

    result = stylize(wild, photo(4, 4))
    np.testing.assert_array_equal(result[0, 0], [0, 128, 255])


def test_a_gray_picture_is_refused():
    with pytest.raises(ValueError, match=r"RGB picture.*\(4, 4\)"):
        stylize(negative, np.ones((4, 4)))


def test_pictures_side_by_side_have_a_white_gap():
    row = side_by_side([photo(4, 5), photo(4, 6, seed=1)], gap=3)
    assert row.shape == (4, 14, 3)
    np.testing.assert_array_equal(row[:, :5], photo(4, 5))
    np.testing.assert_array_equal(row[:, 5:8], np.full((4, 3, 3), 255))
    np.testing.assert_array_equal(row[:, 8:], photo(4, 6, seed=1))


def test_a_grid_has_a_column_per_name():
    columns = {name: [photo(16, 24), photo(16, 24, 1)] for name in "abc"}
    grid = picture_grid(columns)
    assert grid.shape == (32 + 2 * (16 + 8), 3 * 24 + 2 * 8, 3)
    np.testing.assert_array_equal(grid[32:48, :24], photo(16, 24))
    assert (grid[:32] < 128).any()  # the titles
