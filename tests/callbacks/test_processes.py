"""Callbacks that work by epochs: on two devices, and after a kill."""

import signal

import keras
import numpy as np
import pytest
from processes import TWO_DEVICES, run, run_on_two_devices

pytestmark = pytest.mark.slow

NET = """
import os, signal, sys
import keras, numpy as np
from keras import layers
from fritz_compress import callbacks


def build(seed=0):
    # The inner model is one layer of the outer one.
    keras.utils.set_random_seed(seed)
    inner = keras.Sequential([
        keras.Input((6, 6, 3)),
        layers.Conv2D(8, 3, name="conv"),
        layers.BatchNormalization(name="norm"),
    ], name="inner")
    model = keras.Sequential([
        keras.Input((6, 6, 3)),
        inner,
        layers.ReLU(),
        layers.Conv2D(12, 3, name="last"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    ])
    for layer in (inner.layers[0], model.layers[2]):
        # From small filters, which go first, to large ones.
        scale = np.linspace(0.1, 3, layer.filters, dtype="float32")
        layer.kernel.assign(keras.ops.convert_to_numpy(layer.kernel) * scale)
    model.compile(
        keras.optimizers.Adam(0.01), "mse", metrics=["mae"],
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def fit(model, *given, epochs):
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(24, 6, 6, 3)), rng.normal(size=(24, 2))
    return model.fit(
        inputs, targets, batch_size=8, shuffle=False, verbose=0, epochs=epochs,
        callbacks=list(given),
    ).history


def callback(kind, folder):
    return {
        "regularization": lambda: callbacks.FilterRegularization(0.8),
        "lottery": lambda: callbacks.LotteryTicketRewinding(
            rounds=2, epochs_per_round=2, rewind_step=2,
            checkpoint_file=folder + "/early.weights.h5",
        ),
        "iterative": lambda: callbacks.IterativePruning(
            0.5, floor=100.0, monitor="mae", mode="min",
        ),
    }[kind]()
"""

ON_TWO_DEVICES = """
import tempfile

with scope:
    models = {
        kind: build() for kind in ("regularization", "lottery", "iterative")
    }
for kind, model in models.items():
    with tempfile.TemporaryDirectory() as folder:
        fit(model, callback(kind, folder), epochs=6)
        for weight in model.weights:
            first, second = copies(weight)
            # Keras lets moving statistics of the devices differ.
            if weight.trainable:
                assert np.array_equal(first, second), weight.path
            assert np.array_equal(first == 0, second == 0), weight.path
        weights = model.get_weights()
        model.save(folder + "/model.keras")
        loaded = keras.saving.load_model(folder + "/model.keras")
        for old, new in zip(weights, loaded.get_weights()):
            assert np.array_equal(old, new)
    kernels = [weight for weight in weights if weight.ndim > 1]
    print(
        kind,
        sum(int((kernel == 0).sum()) for kernel in kernels),
        *[int((~k.any(axis=(0, 1, 2))).sum()) for k in kernels[:2]],
    )
"""

KILLED = """
folder, kind, epoch_of_death, seed = sys.argv[1:]


class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        print(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (int(epoch_of_death), 1):
            os.kill(os.getpid(), signal.SIGKILL)


model = build(int(seed))
backup = keras.callbacks.BackupAndRestore(folder + "/backup")
fit(model, callback(kind, folder), backup, Kill(), epochs=6)
np.savez(folder + "/end.npz", *model.get_weights())
"""


@pytest.mark.parametrize("backend", TWO_DEVICES)
def test_both_devices_hold_the_same_weights(backend):
    result = run_on_two_devices(NET + ON_TWO_DEVICES, backend)
    assert result.returncode == 0, result.stderr
    found = {
        kind: [int(number) for number in numbers]
        for kind, *numbers in map(str.split, result.stdout.splitlines())
    }
    # Of 216 + 864 + 24 weights 707 are left after two rounds.
    assert found["lottery"][0] == 397
    # Half of 8 filters; of 12 in multiples of 4 a third.
    assert found["iterative"] == [4 * 27 + 4 * 72, 4, 4]
    zeros, first, last = found["regularization"]
    assert zeros == 27 * first + 72 * last
    assert 0 < last < 12


@pytest.mark.parametrize("kind", ["regularization", "lottery", "iterative"])
def test_killed_and_resumed_ends_as_an_uninterrupted_fit(kind, tmp_path):
    def train(name, epoch_of_death, seed):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        arguments = [folder, kind, epoch_of_death, seed]
        return run(NET + KILLED, keras.backend.backend(), arguments)

    whole = train("whole", epoch_of_death=-1, seed=0)
    assert whole.returncode == 0, whole.stderr
    killed = train("torn", epoch_of_death=3, seed=0)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # Another process, other initial weights.
    resumed = train("torn", epoch_of_death=-1, seed=1)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.split() == ["3", "4", "5"]
    with (
        np.load(tmp_path / "whole" / "end.npz") as expected,
        np.load(tmp_path / "torn" / "end.npz") as found,
    ):
        zeros = 0
        for name in expected:
            gone = expected[name] == 0
            np.testing.assert_array_equal(found[name] == 0, gone)
            np.testing.assert_allclose(
                found[name], expected[name], rtol=1e-3, atol=1e-4
            )
            zeros += gone.sum()
    assert zeros > 100
