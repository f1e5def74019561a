import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

from fritz_compress.losses import PerceptualLoss
from fritz_compress.models import SmallStyleTransferNetwork
from fritz_compress.training import (
    Photos,
    distill,
    recipes,
    train_perceptual,
    warmup_cosine,
)


@pytest.fixture(name="photos")
def noise_photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 255, (5, 5, 3), dtype="uint8")
        photo = Image.fromarray(pixels).resize((40, 40))  # smooth
        photo.save(folder / f"{number}.png")
    return Photos(folder)


def tiny_network(seed):
    class Tiny(SmallStyleTransferNetwork):
        blocks = 1

    keras.utils.set_random_seed(seed)
    return Tiny.build(None, alpha=0.1)


def learn(student, photos, **arguments):
    return distill(
        tiny_network(0),
        student,
        photos,
        crop_size=16,
        batch_size=2,
        **{"steps": 12, **arguments},
    )


class Stop(keras.callbacks.Callback):
    """Raises, as a kill would, at the end of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_the_schedule_warms_up_and_decays_to_zero():
    rates = [float(warmup_cosine(0.03, 2000)(step)) for step in range(2001)]
    assert rates[0] == pytest.approx(0.0003)
    assert rates[100] == max(rates) == pytest.approx(0.03)
    assert rates[1050] == pytest.approx(0.015, rel=1e-3)
    assert rates[2000] == pytest.approx(0, abs=1e-8)
    assert all(a >= b for a, b in zip(rates[100:], rates[101:]))


def test_a_student_comes_closer_to_its_teacher(photos):
    inputs = keras.Input((None, None, 3))
    negative = keras.Model(inputs, keras.layers.Rescaling(-1, 255)(inputs))
    student = tiny_network(1)
    crops = next(iter(photos.batches(16, 8, seed=5))).numpy()

    def error():
        pictures = ops.convert_to_numpy(student(crops))
        return np.abs(pictures - (255 - crops)).mean()

    before = error()
    distill(negative, student, photos, 200, crop_size=16, texture_weight=0)
    assert error() < 0.7 * before


@pytest.mark.slow
def test_the_teacher_does_not_learn(photos):
    teacher = tiny_network(0)
    before = teacher.get_weights()
    distill(teacher, tiny_network(1), photos, 2, crop_size=16)
    for old, new in zip(before, teacher.get_weights()):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_one_seed_gives_one_result(photos):
    results = []
    for seed in (3, 3, 4):
        student = tiny_network(1)
        learn(student, photos, seed=seed)
        results.append(student.get_weights()[0])
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(recipes, "STEPS_PER_EPOCH", 4)
    whole, torn = tiny_network(1), tiny_network(1)
    learn(whole, photos)
    with pytest.raises(KeyboardInterrupt):
        learn(torn, photos, backup_dir=tmp_path / "b", callbacks=[Stop(2)])
    fresh = tiny_network(2)
    history = learn(fresh, photos, backup_dir=tmp_path / "b")
    assert history.epoch == [2]
    for expected, received in zip(whole.get_weights(), fresh.get_weights()):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)
    assert not (tmp_path / "b").exists()  # nothing is left when it is done


@pytest.mark.slow
def test_other_callbacks_join_in(photos):
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    learn(tiny_network(1), photos, steps=3, callbacks=[callback])
    assert seen == [0, 1, 2]


@pytest.mark.slow
def test_a_kill_while_the_backup_is_written_leaves_the_one_before(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(recipes, "STEPS_PER_EPOCH", 4)
    save = keras.Model.save_weights

    def torn_save(model, path):
        if int(model.optimizer.iterations) == 8:
            pathlib.Path(path).write_bytes(b"half a fi")
            raise KeyboardInterrupt
        save(model, path)

    whole, fresh = tiny_network(1), tiny_network(2)
    learn(whole, photos)
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save_weights", torn_save)
        with pytest.raises(KeyboardInterrupt):
            learn(tiny_network(1), photos, backup_dir=tmp_path / "b")
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["latest.weights.h5"]
    assert learn(fresh, photos, backup_dir=tmp_path / "b").epoch == [1, 2]
    for expected, received in zip(whole.get_weights(), fresh.get_weights()):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_backup_of_another_training_is_refused(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(recipes, "STEPS_PER_EPOCH", 4)
    with pytest.raises(KeyboardInterrupt):
        learn(tiny_network(1), photos, backup_dir=tmp_path, callbacks=[Stop(1)])
    other = SmallStyleTransferNetwork.build(None, alpha=0.2)
    with pytest.raises(ValueError, match="backup of another training"):
        learn(other, photos, backup_dir=tmp_path)


@pytest.mark.slow
def test_a_teacher_can_learn_again_afterwards(photos):
    teacher, student = tiny_network(0), tiny_network(1)
    teacher.layers[1].trainable = False
    distill(teacher, student, photos, 1, crop_size=16)
    assert teacher.trainable and not teacher.layers[1].trainable
    assert all(layer.trainable for layer in teacher.layers[2:])


@pytest.fixture(name="extractor", scope="module")
def small_features():
    """Random features that see edges, in place of VGG16."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    features = []
    for filters in (4, 8, 8):
        x = keras.layers.Conv2D(filters, 3, activation="relu")(x)
        features.append(x)
    model = keras.Model(inputs, features)
    model.trainable = False
    return model


def paint(model, photos, extractor, **arguments):
    painting = np.random.default_rng(9).uniform(0, 255, (32, 32, 3))
    return train_perceptual(
        model,
        extractor,
        painting,
        photos,
        crop_size=16,
        **{"steps": 60, "learning_rate": 1e-2, **arguments},
    )


@pytest.mark.slow
@pytest.mark.parametrize("weight", ["content", "style", "variation"])
def test_each_weight_of_perceptual_training_lowers_its_loss(
    photos, extractor, weight
):
    weights = dict.fromkeys(
        ("content_weight", "style_weight", "variation_weight"), 0.0
    )
    weights[f"{weight}_weight"] = 1.0
    painting = np.random.default_rng(9).uniform(0, 255, (32, 32, 3))
    loss = PerceptualLoss(extractor, painting, **weights)
    crops = next(iter(photos.batches(16, 8, seed=5))).numpy()
    model = tiny_network(1)
    before = float(loss(crops, model(crops)))
    paint(model, photos, extractor, **weights)
    assert 0 <= float(loss(crops, model(crops))) < 0.8 * before


@pytest.mark.slow
def test_the_users_model_is_not_compiled_by_training(
    photos, extractor, tmp_path
):
    model = tiny_network(1)
    model.compile("sgd", "mae")
    paint(model, photos, extractor, steps=2)
    assert model.loss == "mae"
    model.save(tmp_path / "trained.keras")
    again = keras.saving.load_model(tmp_path / "trained.keras")
    np.testing.assert_array_equal(
        again.get_weights()[0], model.get_weights()[0]
    )


def frozen_network():
    model = tiny_network(1)
    model.trainable = False
    return model


@pytest.mark.parametrize(
    "student, arguments, message",
    [
        (tiny_network, {"steps": 0}, "at least 1. Received: steps=0"),
        (tiny_network, {"crop_size": 18}, "multiple of 4.*crop_size=18"),
        (tiny_network, {"crop_size": 8}, "at least 16.*crop_size=8"),
        (tiny_network, {"seed": -1}, "seed=-1"),
        (tiny_network, {"batch_size": 0}, "batch_size=0"),
        (lambda seed: frozen_network(), {}, "has no trainable weights"),
    ],
)
def test_bad_arguments_are_errors(photos, student, arguments, message):
    arguments = {"steps": 1, "crop_size": 16, **arguments}
    with pytest.raises(ValueError, match=message):
        distill(tiny_network(0), student(1), photos, **arguments)


KILLED = """
import sys
from test_recipes import tiny_network, learn, recipes
from fritz_compress.training import Photos
recipes.STEPS_PER_EPOCH = 4
student = tiny_network(1)
learn(student, Photos(sys.argv[1]), steps=int(sys.argv[3]),
      backup_dir=sys.argv[2])
student.save_weights(sys.argv[4])
"""


@pytest.mark.slow
def test_sigkill_in_the_middle_changes_nothing(photos, tmp_path):
    here = str(pathlib.Path(__file__).parent)
    arguments = [str(tmp_path / "photos"), str(tmp_path / "backup"), "400"]
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    run = [sys.executable, "-c", KILLED, *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    target = str(tmp_path / "torn.weights.h5")
    with subprocess.Popen([*run, target], env=environment) as process:
        while not (tmp_path / "backup" / "latest.weights.h5").exists():
            time.sleep(0.05)
            assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    assert not pathlib.Path(target).exists()
    subprocess.run([*run, target], env=environment, check=True)

    expected, received = tiny_network(1), tiny_network(2)
    subprocess.run(
        [
            *[*run[:-2], str(tmp_path / "other"), "400"],
            str(tmp_path / "whole.weights.h5"),
        ],
        env=environment,
        check=True,
    )
    expected.load_weights(tmp_path / "whole.weights.h5")
    received.load_weights(target)
    for old, new in zip(expected.get_weights(), received.get_weights()):
        np.testing.assert_allclose(new, old, rtol=1e-3, atol=1e-4)
