"""What signs and scales add to the time of a training step.

    python tests/benchmarks/binary_step_cost.py [--rounds 40]

Trains `BinaryResNet` (32x32x3, depth 20, alpha 1, batch 64) on the TensorFlow
backend without XLA: with floats, which is the network of the same shape with
convolutions of Keras and a ReLU where the others have a sign; with signs of
weights, scaled (`bwn`), of inputs too (`binary`), and scaled by the magnitude
of the inputs (`xnor`). Steps take turns, so that other programs slow all of
them down. A ratio is the median over the rounds of a step to the float one of
the same round; `cpu_ratio` counts the work of all threads in place of the
clock. Writes `binary_step_cost.csv`.
"""

import argparse
import csv
import os
import pathlib
import sys
import time

import keras
import numpy as np
from result_tables import made_with, write

from fritz_compress.models import BinaryResNet

TABLE = pathlib.Path(__file__).with_suffix(".csv")
BATCH, STEPS = 64, 3
WARM_UP = 4  # Steps in which functions are traced, and memory is found.
NETWORKS = {
    "float": {"num_bits": None, "kernel_quantizer": None},
    "bwn": {"num_bits": None},
    "binary": {},
    "xnor": {"input_scale": True},
}


def compiled(arguments):
    keras.utils.set_random_seed(0)
    model = BinaryResNet.build(depth=20, **arguments)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def now():
    """Seconds: on the clock, and of work by all threads of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def measure(rounds):
    """Seconds of a step: rounds by clock and work, by network."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(BATCH, 32, 32, 3)).astype("float32")
    labels = rng.integers(0, 10, BATCH)
    models = {name: compiled(each) for name, each in NETWORKS.items()}
    for model in models.values():
        for _ in range(WARM_UP):
            model.train_on_batch(images, labels)
    times = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            start = now()
            for _ in range(STEPS):
                model.train_on_batch(images, labels)
            times[name].append((now() - start) / STEPS)
    return {name: np.array(own) for name, own in times.items()}


def row(name, own, float_):
    step, ratio = np.median(own, axis=0), np.median(own / float_, axis=0)
    return {
        "network": name,
        "step_ms": round(1e3 * step[0], 1),
        "step_cpu_ms": round(1e3 * step[1], 1),
        "ratio": round(ratio[0], 3),
        "cpu_ratio": round(ratio[1], 3),
        "ratio_of_least": round(own[:, 0].min() / float_[:, 0].min(), 3),
        "rounds": len(own),
        "load": round(os.getloadavg()[0], 1),
        **made_with(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    times = measure(parser.parse_args().rounds)
    rows = [row(name, own, times["float"]) for name, own in times.items()]
    write(TABLE, rows)
    csv.DictWriter(sys.stdout, rows[0], lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
