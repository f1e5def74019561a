import keras
import numpy as np
import pytest

from fritz_compress.convert import sample_pictures
from fritz_compress.convert.samples import calibration_pictures, samples_for


def model(*shapes, name="net"):
    inputs = [
        keras.Input(shape, name=f"in{i}") for i, shape in enumerate(shapes)
    ]
    return keras.Model(
        inputs, [keras.layers.ReLU()(x) for x in inputs], name=name
    )


@pytest.mark.parametrize(
    "size", [(48, 64), (64, 48), (33, 7), (480, 640)], ids=str
)
@pytest.mark.parametrize(
    "pictures, count", [(sample_pictures, 2), (calibration_pictures, 6)]
)
def test_photos(pictures, count, size):
    photos = pictures(*size)
    assert photos.shape == (count, *size, 3)
    assert photos.dtype == np.float32
    assert photos.min() >= 0 and photos.max() <= 255
    np.testing.assert_array_equal(photos, photos.round())


def test_photos_are_cut_from_the_middle():
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg")  # 427 x 640
    square = sample_pictures(427, 427)[0]
    middle = photo[:, 106:533].astype("float32")
    # Half a pixel off, as 640 - 427 is odd.
    between = (middle + photo[:, 107:534]) / 2
    assert np.abs(square - between).mean() < 2


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(ValueError, match="at least one pixel"):
        sample_pictures(0, 4)


def test_defaults_are_photos_of_the_models_size():
    photos = sample_pictures(8, 12)
    np.testing.assert_array_equal(samples_for(model((8, 12, 3))), photos)
    any_size = model((None, None, 3))
    np.testing.assert_array_equal(
        samples_for(any_size, image_size=(8, 12)), photos
    )


def test_given_samples_are_checked():
    net = model((4,))
    samples = samples_for(net, [[1, 2, 3, 4]])
    assert samples.dtype == np.float32 and samples.shape == (1, 4)
    for wrong in ([[1, 2, 3]], [1, 2, 3, 4], np.zeros((0, 4)), 1.0):
        with pytest.raises(
            ValueError,
            match=r"`samples` of model 'net' must be an array of shape "
            r"\(samples, 4,?\) with at least one sample. Received: shape",
        ):
            samples_for(net, wrong)
    with pytest.raises(ValueError, match="must be finite. Received: 1 value"):
        samples_for(net, [[1, 2, np.inf, 4]])


def test_models_without_photos_need_samples():
    with pytest.raises(ValueError, match=r"Pass `samples=`"):
        samples_for(model((4,)))
    with pytest.raises(ValueError, match=r"Pass `samples=`"):
        samples_for(model((8, 8, 1)))


@pytest.mark.parametrize(
    "net, image_size, message",
    [
        (model((4,), (4,)), None, r"with inputs \['in0', 'in1'\]"),
        (model((None, 8, 3)), None, r"Pass `image_size=\(height, width\)`"),
        (model((8, 8, 3)), (8, 9), r"Received: \(8, 9\)"),
        (model((4,)), (8, 9), r"Received: \(8, 9\)"),
    ],
    ids=["two inputs", "any size", "another size", "no picture"],
)
def test_models_of_no_definite_size_are_refused(net, image_size, message):
    with pytest.raises(ValueError, match=message):
        samples_for(net, image_size=image_size)
