import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress.distillation import PixelDistillation, pixel_distiller
from fritz_compress.models import SmallStyleTransferNetwork


def network(seed, size=(16, 16)):
    model = SmallStyleTransferNetwork.build(size, alpha=0.1)
    return distinct_weights(model, seed=seed)


def photos(seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (2, 16, 16, 3))


def test_the_loss_is_that_of_both_networks_pictures():
    teacher, student = network(0), network(1)
    optimizer = keras.optimizers.SGD(0.0)
    distiller = pixel_distiller(teacher, student, optimizer, texture_weight=0)
    history = distiller.fit(photos(), verbose=0)
    difference = np.asarray(teacher(photos())) - np.asarray(student(photos()))
    assert history.history["loss"][0] == pytest.approx(
        np.abs(difference).mean() / 127.5, rel=1e-4
    )


@pytest.mark.slow
def test_the_distillers_student_is_the_one_given():
    teacher, student = network(0), network(1)
    before = [student.get_weights()[0], teacher.get_weights()[0]]
    distiller = pixel_distiller(teacher, student, keras.optimizers.Adam(0.1))
    distiller.fit(photos(), verbose=0)
    assert distiller.student is student
    assert not np.array_equal(student.get_weights()[0], before[0])
    np.testing.assert_array_equal(teacher.get_weights()[0], before[1])


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [True, False])
def test_statistics_can_be_fixed_while_the_rest_learns(fixed):
    student = SmallStyleTransferNetwork.build(
        (16, 16), alpha=0.1, normalization="batch"
    )
    before = {w.path: np.array(w) for w in distinct_weights(student).weights}
    distiller = pixel_distiller(
        network(0), student, keras.optimizers.Adam(0.1), fixed_statistics=fixed
    )
    distiller.fit(photos(), verbose=0)
    for weight in student.weights:
        kept = np.array_equal(weight, before[weight.path])
        assert kept == (fixed and not weight.trainable), weight.path


@pytest.mark.slow
def test_it_can_stand_beside_keras_own_losses():
    losses = [
        PixelDistillation(texture_weight=0.1),
        keras.distillation.FeatureDistillation(loss="mse"),
    ]
    distiller = keras.distillation.Distiller(
        network(0), network(1), losses, student_loss_weight=0.0
    )
    distiller.compile("adam", loss="mse")
    history = distiller.fit(photos(), verbose=0)
    assert np.isfinite(history.history["loss"][0])


def test_its_config_is_its_arguments():
    loss = PixelDistillation(texture_weight=0.2)
    assert PixelDistillation(**loss.get_config()).loss.texture_weight == 0.2


def test_networks_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="incompatible"):
        pixel_distiller(network(0), network(1, (8, 8)), keras.optimizers.Adam())
