import numpy as np
import pytest

from fritz_compress.ops import fidelity


def test_psnr_of_a_difference_of_one():
    a = np.zeros((4, 4, 3))
    assert fidelity.psnr(a, a + 1) == pytest.approx(20 * np.log10(255))
    assert fidelity.psnr(a, a + 1, peak=1.0) == pytest.approx(0)


def test_equal_arrays_are_infinitely_close():
    assert fidelity.psnr(np.ones(3), np.ones(3)) == float("inf")


def test_not_finite_values_are_not_hidden():
    assert np.isnan(fidelity.psnr(np.ones(3), [1, np.nan, 1]))


def test_max_difference_has_no_sign():
    assert fidelity.max_difference([1.0, 2.0], [1.5, -2.0]) == 4.0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1, 2\)"):
        fidelity.psnr(np.ones(2), np.ones((1, 2)))


def test_ssim_of_a_picture_with_itself_and_with_noise():
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 255, (32, 32, 3))
    assert fidelity.ssim(picture, picture) == pytest.approx(1)
    assert fidelity.ssim(picture, rng.uniform(0, 255, (32, 32, 3))) < 0.2


def test_variation_of_a_checkerboard():
    board = np.indices((4, 4)).sum(0) % 2 * 10.0
    assert fidelity.variation(board[..., None]) == 20.0


def test_grid_strength_of_dots_and_of_noise():
    rng = np.random.default_rng(0)
    pictures = rng.uniform(0, 255, (3, 66, 130, 3))
    assert fidelity.grid_strength(pictures) < 3
    pictures[..., 1::4, 2::4, :] += 40
    # One place of sixteen is 40 above the others: sqrt(15) / 16 of that.
    strength = fidelity.grid_strength(pictures)
    assert strength == pytest.approx(40 * 15**0.5 / 16, rel=0.1)
    plain = np.zeros((8, 8, 1))
    plain[::4, ::4] = 16
    assert fidelity.grid_strength(plain) == pytest.approx(15**0.5)
    assert fidelity.grid_strength(plain, block=8) > 0
    assert fidelity.grid_strength(np.ones((9, 11, 3))) == 0


def test_a_linear_change_of_colors_is_found_exactly():
    rng = np.random.default_rng(0)
    photo = rng.uniform(50, 200, (8, 8, 3))
    matrix = np.vstack([np.diag([0.5, 0.4, 0.3]), [10, 20, 30]])
    target = photo @ matrix[:3] + matrix[3]
    found = fidelity.fit_color_map(photo, target)
    np.testing.assert_allclose(found, matrix, atol=1e-8)
    np.testing.assert_allclose(
        fidelity.apply_color_map(photo, found), target, atol=1e-6
    )
