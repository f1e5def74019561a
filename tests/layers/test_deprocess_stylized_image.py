import keras
import numpy as np

from fritz_compress.layers import DeprocessStylizedImage


def test_tanh_becomes_pixels():
    x = np.array([[-1.0, -0.5, 0.0, 1.0]], "float32")
    y = DeprocessStylizedImage()(x)
    np.testing.assert_array_equal(y, [[0.0, 63.75, 127.5, 255.0]])


def test_a_saved_model_loads(tmp_path):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, DeprocessStylizedImage(name="d")(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = np.linspace(-1, 1, 48, dtype="float32").reshape(1, 4, 4, 3)
    np.testing.assert_array_equal(again(x), model(x))
    assert again.output_shape == (None, 4, 4, 3)
