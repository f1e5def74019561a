"""Folded networks begin with the averages of instance statistics."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress.layers import InstanceNormalization, StandardizeImage
from fritz_compress.models import SmallStyleTransferNetwork
from fritz_compress.surgery import fold_normalization


class OneBlock(SmallStyleTransferNetwork):
    blocks = 1


def photos(n=3, size=(8, 12)):
    return np.random.default_rng(0).uniform(0, 255, (n, *size, 3))


def network(size=(8, 12), **arguments):
    return distinct_weights(OneBlock.build(size, 0.1, **arguments))


def test_statistics_are_averages_over_photos():
    model = network()
    folded = fold_normalization(model, photos())
    # What the second normalization sees, of each photo.
    inside = keras.Model(
        model.inputs, model.get_layer("encode_half_convolution").output
    )
    seen = np.asarray(inside(StandardizeImage()(photos())), "float64")
    layer = folded.get_layer("encode_half_normalization")
    np.testing.assert_allclose(
        layer.moving_mean, seen.mean((1, 2)).mean(0), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        layer.moving_variance, seen.var((1, 2)).mean(0), rtol=1e-3
    )


def test_one_photo_is_painted_as_before():
    model, photo = network(), photos(n=1)
    folded = fold_normalization(model, photo, standardize=False)
    np.testing.assert_allclose(folded(photo), model(photo), atol=0.02)
    other = photos(n=2)[1:]
    assert not np.allclose(folded(other), model(other), atol=1)


def test_the_result_is_what_the_builder_makes():
    model = network()
    folded = fold_normalization(model, photos())
    built = OneBlock.build((8, 12), 0.1, normalization="batch")
    assert folded.name == built.name == model.name
    assert folded.input_shape == built.input_shape
    for attribute in ("path", "shape", "trainable"):
        assert [getattr(w, attribute) for w in folded.weights] == [
            getattr(w, attribute) for w in built.weights
        ]
    built.set_weights(folded.get_weights())
    np.testing.assert_array_equal(built(photos()), folded(photos()))


def test_what_is_trained_is_kept_and_the_model_is_not_changed():
    model = network()
    before = {w.path: np.array(w) for w in model.weights}
    folded = fold_normalization(model, photos())
    trained = {w.path: np.array(w) for w in folded.trainable_weights}
    assert trained.keys() == before.keys()
    for weight in model.weights:
        np.testing.assert_array_equal(weight, before[weight.path])
        np.testing.assert_array_equal(weight, trained[weight.path])


def test_a_network_of_any_size_stays_one_and_can_be_saved(tmp_path):
    folded = fold_normalization(network(None), photos())
    folded.save(tmp_path / "folded.keras")
    again = keras.saving.load_model(tmp_path / "folded.keras")
    larger = photos(1, (12, 16))
    np.testing.assert_array_equal(again(larger), folded(larger))


def test_a_shared_normalization_averages_over_its_calls():
    inputs = keras.Input((4, 4, 2))
    shared = InstanceNormalization(name="shared")
    outputs = keras.layers.Add()([shared(inputs), shared(inputs * 3.0)])
    model = distinct_weights(keras.Model(inputs, outputs))
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype("float32")
    folded = fold_normalization(model, x, standardize=False)
    np.testing.assert_allclose(
        folded.get_layer("shared").moving_variance,
        x.var((1, 2)).mean(0) * (1 + 9) / 2,
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "values, message",
    [
        (photos()[0], r"shape \(n, height.*Received: shape \(8, 12, 3\)"),
        (photos()[:0], "at least one photo"),
        (np.full((1, 8, 12, 3), np.nan), "`photos`.*NaN"),
    ],
    ids=["one photo", "none", "nan"],
)
def test_photos_must_be_a_finite_batch(values, message):
    with pytest.raises(ValueError, match=message):
        fold_normalization(network(), values)


def test_a_network_without_instance_normalization_is_an_error():
    model = network(normalization="batch")
    with pytest.raises(ValueError, match="must have an InstanceNormalization"):
        fold_normalization(model, photos())


def test_several_inputs_are_an_error():
    inputs = [keras.Input((8, 12, 3)), keras.Input((8, 12, 3))]
    outputs = InstanceNormalization()(keras.layers.Add()(inputs))
    model = keras.Model(inputs, outputs, name="two")
    with pytest.raises(ValueError, match="'two' must have one input.*2 inputs"):
        fold_normalization(model, photos())
