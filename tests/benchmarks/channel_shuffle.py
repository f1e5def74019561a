"""What is the channel shuffle worth? ShuffleNet v1 on Fashion-MNIST.

    python tests/benchmarks/channel_shuffle.py [--data FOLDER] \
        [--groups 3 8] [--seeds 0 1 2] [--images 12000] [--epochs 5]

Trains a small ShuffleNetV1 (alpha 0.25, 1, 3 and 1 units per stage, a stem
that halves the picture once) with and without `shuffle`, from the same
weights and on the same batches for each seed, and adds a row to
`channel_shuffle.csv` for each: rows that are there are not trained again. Then
prints the mean and the standard deviation over the seeds. The test accuracy is
looked at once, after the last epoch; nothing was chosen by it.

Zhang et al., https://arxiv.org/abs/1707.01083, table 3, see at a quarter of
the width 1.3 (3 groups) and 3.8 points (8 groups) less error on ImageNet.
"""

import argparse
import datetime
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from fashion_mnist_data import load
from result_tables import append, read

from fritz_compress.models import ShuffleNetV1
from fritz_compress.training import warmup_cosine

TABLE = pathlib.Path(__file__).with_suffix(".csv")
COLUMNS = (
    "groups shuffle seed images epochs parameters accuracy seconds date "
    "tensorflow keras"
).split()
BATCH = 64


class SmallShuffleNet(ShuffleNetV1):
    """For pictures of 28x28 pixels."""

    repeats = (1, 3, 1)

    @classmethod
    def entrance(cls, x, filters):
        return cls.convolution(x, filters, 3, 2, name="stem")


def accuracy(data, groups, shuffle, seed, args):
    """Test accuracy after training, and how many parameters it took."""
    keras.utils.set_random_seed(seed)
    model = SmallShuffleNet.build(
        (28, 28), 0.25, groups, shuffle, classes=10, channels=1
    )
    steps = args.epochs * (args.images // BATCH)
    model.compile(
        keras.optimizers.Adam(warmup_cosine(1e-2, steps)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    data.fit(model, args.images, args.epochs, BATCH, seed)
    _, found = model.evaluate(
        data.test, data.test_labels, batch_size=500, verbose=0
    )
    return found, model.count_params()


def is_there(groups, shuffle, seed, args):
    wanted = (groups, shuffle, seed, args.images, args.epochs)
    wanted = tuple(map(str, wanted))
    return any(tuple(r[c] for c in COLUMNS[:5]) == wanted for r in read(TABLE))


def run(data, groups, shuffle, seed, args):
    started = time.time()
    found, parameters = accuracy(data, groups, shuffle, seed, args)
    row = {
        "groups": groups,
        "shuffle": shuffle,
        "seed": seed,
        "images": args.images,
        "epochs": args.epochs,
        "parameters": parameters,
        "accuracy": f"{found:.4f}",
        "seconds": round(time.time() - started),
        "date": datetime.date.today().isoformat(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    append(TABLE, row)


def summary(args):
    """One line for each network: mean and spread over the seeds."""
    for groups in args.groups:
        for shuffle in (False, True):
            wanted = str(groups), str(shuffle)
            found = [
                100 * float(row["accuracy"])
                for row in read(TABLE)
                if (row["groups"], row["shuffle"]) == wanted
                and int(row["seed"]) in args.seeds
            ]
            yield (
                f"{groups} groups, {'shuffle' if shuffle else 'no shuffle'}: "
                f"{np.mean(found):.2f}% +- {np.std(found, ddof=1):.2f} "
                f"({', '.join(f'{x:.2f}' for x in found)})"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--groups", type=int, nargs="+", default=[3, 8])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=12000)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    data = load(args.data)
    for groups in args.groups:
        for seed in args.seeds:
            for shuffle in (False, True):
                if not is_there(groups, shuffle, seed, args):
                    run(data, groups, shuffle, seed, args)
    print(*summary(args), sep="\n")


if __name__ == "__main__":
    main()
