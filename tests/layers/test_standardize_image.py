import keras
import numpy as np
import pytest

from fritz_compress.layers import StandardizeImage


def photos(height=12, width=20, channels=3):
    """Of another brightness and contrast in every channel."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (2, height, width, channels))
    gains = np.linspace(0.1, 1, 2 * channels).reshape(2, 1, 1, channels)
    return (x * gains).astype("float32")


@pytest.mark.parametrize(
    "arguments",
    [{}, {"stride": 1}, {"epsilon": 20.0}, {"limit": 0.5}, {"stride": 7}],
    ids=str,
)
def test_values_are_those_of_numpy(arguments):
    stride, epsilon, limit = (
        {"stride": 4, "epsilon": 1.0, "limit": 2.5} | arguments
    ).values()
    x = photos()
    seen = x[:, ::stride, ::stride].astype("float64")
    mean = seen.mean((1, 2), keepdims=True)
    expected = (x - mean) / (seen.std((1, 2), keepdims=True) + epsilon)
    np.testing.assert_allclose(
        StandardizeImage(**arguments)(x),
        expected.clip(-limit, limit),
        rtol=1e-4,
        atol=1e-5,
    )


def test_brightness_and_contrast_go_away():
    x = photos()
    layer = StandardizeImage(epsilon=1e-6)
    np.testing.assert_allclose(layer(x), layer(2 * x + 30), atol=1e-4)


def test_an_even_photo_becomes_zero():
    x = np.full((1, 8, 8, 3), 200.0, "float32")
    np.testing.assert_array_equal(StandardizeImage()(x), np.zeros_like(x))


def test_training_and_inference_are_the_same_without_weights():
    layer = StandardizeImage()
    x = photos()
    np.testing.assert_array_equal(layer(x, training=True), layer(x))
    assert layer.weights == []


def test_a_saved_model_of_any_size_loads(tmp_path):
    inputs = keras.Input((None, None, 3))
    layer = StandardizeImage(stride=2, epsilon=3.0, limit=1.5, name="s")
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_layer("s").get_config() == layer.get_config()
    assert again.output_shape == (None, None, None, 3)
    np.testing.assert_array_equal(again(photos()), model(photos()))


def test_half_precision_is_close_to_single():
    # Squares of pixels are beyond the range of float16.
    x = np.round(photos())
    half = StandardizeImage(dtype="mixed_float16")(x)
    assert keras.backend.standardize_dtype(half.dtype) == "float16"
    np.testing.assert_allclose(half, StandardizeImage()(x), atol=2e-3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"stride": 0}, "`stride` must be a whole number.*stride=0"),
        ({"stride": 1.5}, "stride=1.5"),
        ({"epsilon": 0}, "must be positive.*epsilon=0, limit=2.5"),
        ({"limit": float("nan")}, "limit=nan"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        StandardizeImage(**arguments)


def test_what_is_no_photo_is_an_error():
    with pytest.raises(ValueError, match="Layer 's' expects photos.*(None, 8)"):
        StandardizeImage(name="s").build((None, 8))
