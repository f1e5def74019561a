import keras
import numpy as np
import pytest

from fritz_compress.losses import PerceptualLoss, PixelLoss
from fritz_compress.ops import style


def pictures(seed, size=20):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, (2, size, size + 4, 3)).astype("float32")


def numpy_energy(images, step, axis):
    """Window by window, as the definition says."""
    shifted = np.take(images, range(step, images.shape[axis]), axis)
    start = np.take(images, range(images.shape[axis] - step), axis)
    squares = (shifted - start) ** 2
    rows = range(0, squares.shape[1] - 7, 4)
    columns = range(0, squares.shape[2] - 7, 4)
    means = [
        [squares[:, r : r + 8, c : c + 8].mean((1, 2)) for c in columns]
        for r in rows
    ]
    return np.sqrt(np.moveaxis(np.array(means), 2, 0) + 1e-4)


@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("axis", [1, 2])
def test_texture_energy_is_the_rms_of_windows(step, axis):
    images = pictures(0) / 255
    np.testing.assert_allclose(
        style.texture_energy(images, step, axis),
        numpy_energy(images, step, axis),
        rtol=1e-4,
    )


def test_gram_matrix_of_two_positions():
    # Features (1, 2) and (3, 4): sums of products 10, 14, 20, over 1*2*2.
    features = np.array([[[[1.0, 2.0], [3.0, 4.0]]]], "float32")
    np.testing.assert_allclose(
        style.gram_matrix(features), [[[2.5, 3.5], [3.5, 5.0]]]
    )


def test_total_variation_of_a_step():
    # Two columns 0 and 10, two rows: |dx| is 10 everywhere, |dy| is 0.
    image = np.array([[[[0.0], [10.0]], [[0.0], [10.0]]]], "float32")
    np.testing.assert_allclose(style.total_variation(image), [10.0])


def test_pixel_loss_without_texture_is_the_mean_absolute_error():
    a, b = pictures(0), pictures(1)
    assert float(PixelLoss(texture_weight=0)(a, b)) == pytest.approx(
        np.abs(a - b).mean() / 127.5, rel=1e-5
    )


def test_pixel_loss_adds_the_error_of_texture():
    a, b = pictures(0), pictures(1)
    texture = sum(
        np.abs(
            numpy_energy(a / 127.5, step, axis)
            - numpy_energy(b / 127.5, step, axis)
        ).mean()
        for step in (1, 2, 4)
        for axis in (1, 2)
    )
    expected = np.abs(a - b).mean() / 127.5 + 0.5 * texture
    loss = float(PixelLoss(texture_weight=0.5)(a, b))
    assert loss == pytest.approx(expected, rel=1e-4)


def numpy_grid(images, block):
    """Window by window and place by place, as the definition says."""
    _, height, width, _ = images.shape
    side = 8 * block
    rows = range(0, height - side + 1, 4 * block)
    columns = range(0, width - side + 1, 4 * block)
    patterns = []
    for r in rows:
        for c in columns:
            window = images[:, r : r + side, c : c + side]
            places = [
                window[:, i::block, j::block].mean((1, 2))
                for i in range(block)
                for j in range(block)
            ]
            patterns.append(np.array(places) - np.mean(places, axis=0))
    pattern = np.moveaxis(np.array(patterns), 2, 0)
    return pattern.reshape(len(images), len(rows), len(columns), block**2, 3)


@pytest.mark.parametrize("block", [2, 4])
def test_grid_pattern_is_the_mean_place_of_a_block(block):
    images = np.random.default_rng(0).uniform(0, 1, (2, 48, 64, 3))
    np.testing.assert_allclose(
        style.grid_pattern(images.astype("float32"), block),
        numpy_grid(images, block),
        atol=1e-5,
    )


def test_only_what_repeats_leaves_a_grid_pattern():
    dots = np.zeros((1, 32, 32, 3), "float32")
    dots[:, ::4, ::4] = 16
    pattern = np.asarray(style.grid_pattern(dots, 4))
    # One place of sixteen is 16, their mean is 1.
    np.testing.assert_allclose(pattern[0, 0, 0, :, 0], [15] + [-1] * 15)
    ramp = np.broadcast_to(
        np.arange(3.0)[:, None, None, None] * 9, (3, 32, 32, 3)
    )
    assert not np.asarray(style.grid_pattern(ramp.astype("float32"), 4)).any()


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_pixel_loss_adds_the_error_of_the_grid(share):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 255, (2, 2, 36, 40, 3)).astype("float32")
    grid = np.abs(
        share * numpy_grid(a / 127.5, 4) - numpy_grid(b / 127.5, 4)
    ).mean()
    expected = np.abs(a - b).mean() / 127.5 + 2.5 * grid
    loss = PixelLoss(texture_weight=0, grid_weight=2.5, grid_share=share)
    assert float(loss(a, b)) == pytest.approx(expected, rel=1e-4)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert (again.grid_weight, again.grid_share) == (2.5, share)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"grid_weight": -1}, "must not be negative.*grid_weight=-1"),
        ({"grid_share": 1.5}, "fraction in .0, 1.*grid_share=1.5"),
        ({"block": 1}, "at least 2. Received: block=1"),
    ],
)
def test_grid_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        PixelLoss(**arguments)


@pytest.mark.parametrize("size", [(28, 32), (32, 33)])
def test_pictures_without_whole_blocks_are_an_error(size):
    x = np.ones((1, *size, 3), "float32")
    with pytest.raises(ValueError, match="multiples of 4 and at least 32"):
        PixelLoss(grid_weight=1.0)(x, x)


def test_pixel_loss_of_equal_pictures_is_zero_and_survives_saving():
    loss = keras.losses.deserialize(
        keras.losses.serialize(PixelLoss(texture_weight=0.7))
    )
    assert loss.texture_weight == 0.7
    assert float(loss(pictures(0), pictures(0))) == 0


def test_a_blurred_picture_loses_by_texture_what_it_wins_by_pixels():
    """The term exists so that grain of the right strength beats none."""
    rng = np.random.default_rng(0)
    teacher = 128 + rng.normal(0, 40, (1, 32, 32, 3)).astype("float32")
    grain = 128 + rng.normal(0, 40, (1, 32, 32, 3)).astype("float32")
    blur = np.full_like(teacher, 128)
    pixels, texture = PixelLoss(texture_weight=0), PixelLoss(texture_weight=1)
    assert pixels(teacher, blur) < pixels(teacher, grain)
    assert texture(teacher, blur) > texture(teacher, grain)


def test_a_negative_weight_is_an_error():
    with pytest.raises(ValueError, match="must not be negative.*-1"):
        PixelLoss(texture_weight=-1)


def test_pictures_too_small_for_texture_are_an_error():
    small = pictures(0, size=11)
    with pytest.raises(ValueError, match=r"at least 12x12.*\(11, 15\)"):
        PixelLoss()(small, small)
    assert float(PixelLoss(texture_weight=0)(small, small)) == 0


def test_one_feature_map_is_enough():
    inputs = keras.Input((None, None, 3))
    extractor = keras.Model(inputs, [keras.layers.Rescaling(0.5)(inputs)])
    loss = PerceptualLoss(extractor, pictures(2)[0] / 255, content_layer=0)
    assert np.isfinite(float(loss(pictures(0) / 255, pictures(1) / 255)))


@pytest.fixture(name="extractor", scope="module")
def linear_features():
    """Two feature maps that NumPy can compute: halved and doubled pixels."""
    inputs = keras.Input((None, None, 3))
    return keras.Model(
        inputs,
        [
            keras.layers.Rescaling(0.5)(inputs),
            keras.layers.Rescaling(2)(inputs),
        ],
    )


def numpy_gram(features):
    batch, height, width, channels = features.shape
    flat = features.reshape(batch, -1, channels)
    return np.einsum("bpc,bpd->bcd", flat, flat) / (height * width * channels)


def test_perceptual_loss_is_the_weighted_sum_of_its_parts(extractor):
    photo, stylized = pictures(0) / 255, pictures(1) / 255
    painting = pictures(2)[0] / 255
    loss = PerceptualLoss(
        extractor,
        painting,
        content_layer=1,
        content_weight=3.0,
        style_weight=5.0,
        variation_weight=7.0,
    )
    content = ((2 * stylized - 2 * photo) ** 2).mean()
    styles = sum(
        ((numpy_gram(k * stylized) - numpy_gram(k * painting[None])) ** 2)
        .sum((1, 2))
        .mean()
        for k in (0.5, 2)
    )
    variation = (
        np.abs(np.diff(stylized, axis=1)).mean()
        + np.abs(np.diff(stylized, axis=2)).mean()
    )
    assert float(loss(photo, stylized)) == pytest.approx(
        3 * content + 5 * styles + 7 * variation, rel=1e-4
    )


def test_perceptual_loss_adds_the_grid_of_the_picture(extractor):
    rng = np.random.default_rng(0)
    photo, stylized = rng.uniform(0, 1, (2, 1, 36, 44, 3)).astype("float32")
    painting = pictures(2)[0] / 255
    plain = PerceptualLoss(extractor, painting, content_layer=1, border=2)
    grid = np.abs(numpy_grid(stylized[:, 2:-2, 2:-2], 4)).mean()
    loss = PerceptualLoss(
        extractor, painting, content_layer=1, border=2, grid_weight=50.0
    )
    assert float(loss(photo, stylized)) == pytest.approx(
        float(plain(photo, stylized)) + 50 * grid, rel=1e-4
    )


def test_a_border_is_not_looked_at(extractor):
    photo, stylized = pictures(0) / 255, pictures(1) / 255
    painting = pictures(2)[0] / 255
    inside = np.s_[:, 3:-3, 3:-3]
    expected = PerceptualLoss(extractor, painting, content_layer=1)(
        photo[inside], stylized[inside]
    )
    loss = PerceptualLoss(extractor, painting, content_layer=1, border=3)
    framed = np.full_like(stylized, 9)
    framed[inside] = stylized[inside]
    assert float(loss(photo, framed)) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"style_image": np.ones((8, 8))}, r"\(height, width, 3\).*\(8, 8\)"),
        ({"content_layer": 2}, "2 feature maps. Received: content_layer=2"),
        ({"grid_weight": -2, "content_layer": 0}, "grid_weight=-2"),
        ({"block": 1, "content_layer": 0}, "at least 2. Received: block=1"),
        (
            {"border": -1, "content_layer": 0},
            "must not be negative. Received: border=-1",
        ),
    ],
)
def test_perceptual_loss_checks_its_arguments(extractor, arguments, message):
    with pytest.raises(ValueError, match=message):
        PerceptualLoss(
            extractor, **{"style_image": pictures(0)[0], **arguments}
        )
