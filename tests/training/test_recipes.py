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

from fritz_compress.models import SmallStyleTransferNetwork, VGG16Features
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


def test_the_teacher_does_not_learn(photos):
    teacher = tiny_network(0)
    before = teacher.get_weights()
    distill(teacher, tiny_network(1), photos, 2, crop_size=16)
    for old, new in zip(before, teacher.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_one_seed_gives_one_result(photos):
    results = []
    for seed in (3, 3, 4):
        student = tiny_network(1)
        learn(student, photos, seed=seed)
        results.append(student.get_weights()[0])
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(recipes, "STEPS_PER_EPOCH", 4)
    whole, torn = tiny_network(1), tiny_network(1)
    learn(whole, photos)
    with pytest.raises(KeyboardInterrupt):
        learn(torn, photos, backup_dir=tmp_path / "b", callbacks=[Stop(1)])
    fresh = tiny_network(2)
    history = learn(fresh, photos, backup_dir=tmp_path / "b")
    assert history.epoch == [2]
    for expected, received in zip(whole.get_weights(), fresh.get_weights()):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)
    assert not (tmp_path / "b").exists()  # nothing is left when it is done


def test_other_callbacks_join_in(photos):
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    learn(tiny_network(1), photos, steps=3, callbacks=[callback])
    assert seen == [0, 1, 2]


def test_perceptual_training_lowers_its_loss(photos):
    extractor = VGG16Features.build(weights=None)
    painting = np.random.default_rng(9).uniform(0, 255, (32, 32, 3))
    history = train_perceptual(
        tiny_network(1),
        extractor,
        painting,
        photos,
        steps=6,
        crop_size=32,
        batch_size=1,
        learning_rate=1e-2,
    )
    assert np.isfinite(history.history["loss"]).all()


def test_no_steps_is_an_error(photos):
    with pytest.raises(ValueError, match="at least 1. Received: steps=0"):
        learn(tiny_network(1), photos, steps=0)


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
        while not (tmp_path / "backup" / "training_metadata.json").exists():
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
