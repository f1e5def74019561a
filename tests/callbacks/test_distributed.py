"""Pruning with two devices, and after the process was killed.

Devices are set up before the first tensor is made, and a kill ends all, so
each case runs in a process of its own.
"""

import signal

import keras
import numpy as np
import pytest
from processes import TWO_DEVICES, run, run_on_two_devices

pytestmark = pytest.mark.slow

NETWORK = """
import keras, numpy as np
from keras import layers


def network():
    model = keras.Sequential([
        keras.Input((8, 8, 3)),
        layers.Conv2D(8, 3, name="first"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.Conv2D(8, 3, name="second"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    ])
    jit = keras.backend.backend() == "jax"
    model.compile("adam", "mse", jit_compile=jit)
    return model
"""

FIT = NETWORK + """
from fritz_compress.callbacks import FilterPruning, MagnitudePruning

keras.utils.set_random_seed(0)
with scope:
    model = network()
rng = np.random.default_rng(0)
inputs, targets = rng.normal(size=(32, 8, 8, 3)), rng.normal(size=(32, 2))


class Zeros(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model
        kernel = model.get_layer("second").kernel
        found = [int((copy == 0).sum()) for copy in copies(kernel)]
        print("zeros", *found)


def fit(pruning):
    model.fit(inputs, targets, batch_size=8, shuffle=False, verbose=0,
              callbacks=[pruning, Zeros()])
    # Moving statistics differ between the copies under a MirroredStrategy.
    for weight in model.trainable_weights:
        first, second = copies(weight)
        assert np.array_equal(first, second), weight.path


fit(MagnitudePruning(0.75, end_step=2, frequency=1))
gone = [copy == 0 for copy in copies(model.get_layer("first").kernel)]
assert [int(copy.sum()) for copy in gone] == [162, 162]
fit(FilterPruning(0.5, begin_step=4, end_step=6, frequency=2, round_to=1))
for name in ("first", "second"):
    for copy in copies(model.get_layer(name).kernel):
        assert (~copy.any(axis=(0, 1, 2))).sum() == 4, name
for copy in copies(model.get_layer("norm").moving_mean):
    assert (copy == 0).sum() == 4
print("done")
"""


@pytest.mark.parametrize("backend", TWO_DEVICES)
def test_both_devices_hold_the_same_zeros(backend):
    result = run_on_two_devices(FIT, backend)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.split("\n")
    assert lines[-2] == "done"
    # 576 weights: 504 * 0.75 = 378 of 504 zeros after one step of two.
    counts = [line.split()[1:] for line in lines if line.startswith("zeros")]
    assert counts[:4] == [["378"] * 2] + [["432"] * 2] * 3


KILLED = NETWORK + """
import os, signal, sys
from fritz_compress import callbacks

folder, kind, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
keras.utils.set_random_seed(int(sys.argv[4]))
model = network()
rng = np.random.default_rng(0)
inputs, targets = rng.normal(size=(96, 8, 8, 3)), rng.normal(size=(96, 2))
pruning = {
    "layer": lambda: callbacks.MagnitudePruning(0.8, 2, 20, 3),
    "global": lambda: callbacks.MagnitudePruning(0.8, 2, 20, 3, "global"),
    "pattern": lambda: callbacks.MagnitudePruning(
        callbacks.ConstantSparsity(0.5, 6), sparsity_m_by_n=(2, 4)
    ),
    "filters": lambda: callbacks.FilterPruning(0.5, 2, 20, 3, round_to=1),
}[kind]()


class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


backup = keras.callbacks.BackupAndRestore(folder + "/backup", save_freq=5)
done = 0
if os.path.exists(folder + "/backup/latest.weights.h5"):
    # Data go on where they were; weights would be restored without this.
    model.optimizer.build(model.trainable_variables)
    model.load_weights(folder + "/backup/latest.weights.h5")
    done = int(model.optimizer.iterations)
print(done)
model.fit(inputs[4 * done:], targets[4 * done:], batch_size=4, shuffle=False,
          verbose=0, callbacks=[pruning, backup, Kill()])
np.savez(folder + "/end.npz", *model.get_weights())
"""


@pytest.mark.parametrize("kind", ["layer", "global", "pattern", "filters"])
def test_killed_and_resumed_ends_with_the_same_zeros(kind, tmp_path):
    def train(name, kill_at, seed):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        arguments = [folder, kind, kill_at, seed]
        return run(KILLED, keras.backend.backend(), arguments)

    whole = train("whole", kill_at=0, seed=0)
    assert whole.returncode == 0, whole.stderr
    killed = train("resumed", kill_at=13, seed=0)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # Another process, other initial weights: saved after 10 steps.
    resumed = train("resumed", kill_at=0, seed=1)
    assert resumed.returncode == 0, resumed.stderr
    assert (whole.stdout, resumed.stdout) == ("0\n", "10\n")
    with (
        np.load(tmp_path / "whole" / "end.npz") as expected,
        np.load(tmp_path / "resumed" / "end.npz") as found,
    ):
        zeros = 0
        for name in expected:
            gone = expected[name] == 0
            np.testing.assert_array_equal(found[name] == 0, gone)
            zeros += gone.sum()
    assert zeros > 300
