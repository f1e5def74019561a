import keras
import numpy as np
import pytest

from fritz_compress.models import VGG16Features


@pytest.fixture(name="vgg", scope="module")
def full_vgg16():
    keras.utils.set_random_seed(0)
    return keras.applications.VGG16(include_top=False, weights=None)


@pytest.fixture(name="photo", scope="module")
def random_photo():
    return np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3))


def expected_features(vgg, photo):
    """Keras' own preprocessing and layers."""
    names = VGG16Features.layers
    model = keras.Model(vgg.input, [vgg.get_layer(n).output for n in names])
    return model(keras.applications.vgg16.preprocess_input(photo.copy()))


def test_a_weights_file_of_keras_is_read(vgg, photo, tmp_path):
    vgg.save_weights(tmp_path / "vgg.weights.h5")
    extractor = VGG16Features.build(tmp_path / "vgg.weights.h5")
    for expected, received in zip(
        expected_features(vgg, photo), extractor(photo), strict=True
    ):
        np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-3)


def test_an_archive_of_arrays_is_read(vgg, photo, tmp_path):
    blocks = ("block1", "block2", "block3", "block4")
    arrays = {
        weight.path: np.asarray(weight)
        for weight in vgg.weights
        if weight.path.startswith(blocks)
    }
    np.savez(tmp_path / "vgg.npz", **arrays)
    extractor = VGG16Features.build(tmp_path / "vgg.npz")
    for expected, received in zip(
        expected_features(vgg, photo), extractor(photo), strict=True
    ):
        np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-3)


def test_it_is_frozen_and_as_deep_as_promised():
    extractor = VGG16Features.build(weights=None)
    assert not extractor.trainable_weights
    channels = [features.shape[-1] for features in extractor.outputs]
    assert channels == [64, 128, 256, 512]


def test_without_a_file_the_error_says_what_to_pass(tmp_path):
    with pytest.raises(ValueError, match="Without network, pass a file"):
        VGG16Features.build(tmp_path / "missing.h5")


def test_an_archive_of_something_else_is_an_error(tmp_path):
    np.savez(tmp_path / "other.npz", kernel=np.ones(3))
    with pytest.raises(ValueError, match="block1_conv1/kernel"):
        VGG16Features.build(tmp_path / "other.npz")
