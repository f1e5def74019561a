"""Pictures of any size: padded at one end, cropped at the other."""

import keras
import numpy as np
import pytest

from fritz_compress.layers import CropToMatch, PadToMultiple


def pictures(height, width, channels=3):
    rng = np.random.default_rng(0)
    shape = (2, height, width, channels)
    return rng.uniform(0, 255, shape).astype("float32")


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (5, 8), (3, 6)])
def test_edges_are_mirrored(size):
    x = pictures(*size)
    height, width = (-side % 4 for side in size)
    expected = np.pad(
        x, [(0, 0), (0, height), (0, width), (0, 0)], mode="reflect"
    )
    np.testing.assert_array_equal(PadToMultiple(4)(x), expected)


@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
def test_cropping_gives_the_picture_back(size):
    x = pictures(*size)
    cropped = CropToMatch()([PadToMultiple(4)(x), x])
    np.testing.assert_array_equal(cropped, x)


def test_the_reference_gives_its_size_and_nothing_else():
    x, reference = pictures(9, 9, 2), pictures(4, 7)
    cropped = CropToMatch()([x, reference * np.nan])
    np.testing.assert_array_equal(cropped, x[:, :4, :7])


def any_size():
    inputs = keras.Input((None, None, 3))
    x = PadToMultiple(4, name="pad")(inputs)
    x = keras.layers.Rescaling(2.0)(x)
    return keras.Model(inputs, CropToMatch(name="crop")([x, inputs]))


def test_a_saved_model_of_any_size_loads(tmp_path):
    model = any_size()
    assert model.output_shape == (None, None, None, 3)
    assert model.get_layer("pad").output.shape == (None, None, None, 3)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for size in ((8, 8), (5, 7)):
        x = pictures(*size)
        np.testing.assert_array_equal(again(x), 2 * x)
        np.testing.assert_array_equal(again.predict(x, verbose=0), 2 * x)


@pytest.mark.parametrize("multiple", [0, -4, 1.5, "4", None])
def test_the_multiple_must_be_a_whole_number(multiple):
    with pytest.raises(ValueError, match="whole number of pixels, at least 1"):
        PadToMultiple(multiple)


@pytest.mark.parametrize(
    "shape, message",
    [
        ((2, 8, 3), r"'p' expects pictures of shape.*\(2, 8, 3\)"),
        ((2, 2, 8, 3), "'p' mirrors 2 pixels of a side of 2.*at least 4"),
        ((2, 8, 1, 3), "'p' mirrors 3 pixels of a side of 1"),
    ],
)
def test_what_can_not_be_mirrored_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        PadToMultiple(4, name="p")(keras.Input(batch_shape=shape))


def test_a_picture_can_not_be_cropped_to_a_larger_one():
    small, large = keras.Input((4, 8, 3)), keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="'c' can only make.*smaller"):
        CropToMatch(name="c")([small, large])
    with pytest.raises(ValueError, match="'c' expects two pictures"):
        CropToMatch(name="c")([small, large, large])
