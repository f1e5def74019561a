"""What pruning adds to the time of a training step.

    python tests/benchmarks/step_cost.py [--rounds 60] [--tfmot-python PATH]

Trains MobileNetV2 (96x96x3, alpha 1, 10 classes, batch 16) on the TensorFlow
backend without XLA, which is the fastest way on a CPU. One `fit`, whose steps
take turns: no callback, `MagnitudePruning`, `FilterPruning`, and again. The
ratio is the median over rounds of a step with to the step without before it,
the whole callback included. Choosing anew what is zero, which happens every
100 steps, is timed on its own and its hundredth part added.
`added_cpu_percent` counts the work of all threads in place of the clock:
where other programs use the same cores (see `load`), only that says anything.

With the interpreter of an environment that has tensorflow-model-optimization
and tf-keras, its wrappers are measured in the same way on the tf_keras twin,
afterwards, in a process of its own. Rows are appended to `step_cost.csv`.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import numpy as np
from result_tables import append

INPUT, CLASSES, BATCH, FREQUENCY = (96, 96, 3), 10, 16, 100
WARM_UP = 3  # Rounds in which functions are traced.
TABLE = pathlib.Path(__file__).with_suffix(".csv")


def batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(BATCH, *INPUT)).astype("float32")
    return images, rng.integers(0, CLASSES, BATCH)


def now():
    """Seconds: on the clock, and of work by all threads of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def row(library, subject, plain, pruned, updates):
    """One line of the table from pairs of times (see `now`), by rounds."""
    ratio = np.median(np.divide(pruned, plain), axis=0)
    step, update = np.median(plain, axis=0), np.median(updates, axis=0)
    added = 100 * (ratio - 1 + update / FREQUENCY / step)
    return {
        "date": datetime.date.today().isoformat(),
        "subject": subject,
        "step_ms": round(1e3 * step[0], 1),
        "step_cpu_ms": round(1e3 * step[1], 1),
        "update_cpu_ms": round(1e3 * update[1], 1),
        "added_percent": round(added[0], 2),
        "added_cpu_percent": round(added[1], 2),
        "rounds": len(plain),
        "load": round(os.getloadavg()[0], 1),
        "library": library,
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
    }


def measure(rounds):
    """Our callbacks, which take turns in one fit."""
    import keras
    import tensorflow as tf

    from fritz_compress.callbacks import (
        ConstantSparsity,
        FilterPruning,
        MagnitudePruning,
    )

    class Turns(keras.callbacks.Callback):
        def __init__(self, callbacks):
            super().__init__()
            self.callbacks = callbacks
            self.times = {name: [] for name in callbacks}

        def each(self, hook, *args):
            for callback in self.callbacks.values():
                if callback is not None:
                    getattr(callback, hook)(*args)

        def set_model(self, model):
            super().set_model(model)
            self.each("set_model", model)

        def on_train_begin(self, logs=None):
            self.each("on_train_begin")

        def on_train_batch_begin(self, step, logs=None):
            self.name = list(self.callbacks)[step % len(self.callbacks)]
            self.start = now()
            if self.callbacks[self.name] is not None:
                self.callbacks[self.name].on_train_batch_begin(step)

        def on_train_batch_end(self, step, logs=None):
            if self.callbacks[self.name] is not None:
                self.callbacks[self.name].on_train_batch_end(step)
            self.times[self.name].append(now() - self.start)

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(INPUT, weights=None, classes=CLASSES)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    schedule = ConstantSparsity(0.5, 0, frequency=FREQUENCY)
    turns = Turns(
        {
            "none": None,
            "MagnitudePruning": MagnitudePruning(schedule),
            "FilterPruning": FilterPruning(schedule=schedule),
        }
    )
    steps = (rounds + WARM_UP) * len(turns.callbacks)
    data = tf.data.Dataset.from_tensors(batch()).repeat(steps)
    model.fit(data, shuffle=False, verbose=0, callbacks=[turns])
    library = f"keras {keras.__version__}, tensorflow {tf.__version__}"
    plain = turns.times.pop("none")[WARM_UP:]
    return [
        row(
            library,
            name,
            plain,
            times[WARM_UP:],
            update_times(turns.callbacks[name]),
        )
        for name, times in turns.times.items()
    ]


def update_times(pruning):
    """Times in which ever more is chosen, beginning with what has been."""
    times = []
    for fraction in (0.6, 0.7, 0.8):
        pruning._seen = None
        pruning.schedule = lambda step: (True, fraction)
        start = now()
        pruning.on_train_batch_end(0)
        pruned = now()
        pruning.on_train_batch_end(0)
        times.append(pruned - start - (now() - pruned))
    return times


def measure_peer(rounds):
    """The wrappers of tensorflow-model-optimization on the tf_keras twin."""
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras

    sparsity = tfmot.sparsity.keras
    schedule = sparsity.ConstantSparsity(0.5, 0, frequency=FREQUENCY)
    tf_keras.utils.set_random_seed(0)
    plain, wrapped = (
        tf_keras.applications.MobileNetV2(INPUT, weights=None, classes=CLASSES)
        for _ in range(2)
    )
    wrapped = sparsity.prune_low_magnitude(wrapped, schedule)
    for model in (plain, wrapped):
        model.compile("adam", "sparse_categorical_crossentropy")
    callback = sparsity.UpdatePruningStep()
    callback.set_model(wrapped)
    callback.on_train_begin()
    images, labels = batch()

    def timed(model, *callbacks):
        start = now()
        for each in callbacks:
            each.on_train_batch_begin(0)
        model.train_on_batch(images, labels)
        return now() - start

    times = [
        (timed(plain), timed(wrapped, callback))
        for _ in range(rounds + WARM_UP)
    ][WARM_UP:]
    plain_times, wrapped_times = zip(*times)
    updates = []
    for _ in range(3):
        wrapped.optimizer.iterations.assign(10 * FREQUENCY)
        between = np.median(wrapped_times, axis=0)
        updates.append(timed(wrapped, callback) - between)
    return row(
        f"tensorflow-model-optimization {tfmot.__version__}, tf_keras "
        f"{tf_keras.__version__}, tensorflow {tf.__version__}",
        "prune_low_magnitude",
        plain_times,
        wrapped_times,
        updates,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--tfmot-python")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        print(json.dumps(measure_peer(args.rounds)))
        return
    rows = measure(args.rounds)
    if args.tfmot_python:
        command = [args.tfmot_python, __file__, "--peer"]
        result = subprocess.run(
            [*command, "--rounds", str(args.rounds)],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        rows.append(json.loads(result.stdout.splitlines()[-1]))
    for row in rows:
        append(TABLE, row)
    csv.DictWriter(sys.stdout, rows[0], lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
