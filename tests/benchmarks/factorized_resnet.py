"""Half the MACs of a ResNet-20 by low rank: what is lost on Fashion-MNIST?

    python tests/benchmarks/factorized_resnet.py --work FOLDER [--data FOLDER]
        [--methods cp separable ...] [--epochs 12] [--alpha 1.0] [--seed 0]

Trains `models.CifarResNet` (depth 20, shortcuts of 1x1 convolutions), then
factorizes it to half of its multiply-accumulates with `surgery.factorize`, by
each method: from its kernels alone; corrected on 1,000 training images, whose
labels are not looked at; and that trained on for two epochs. Adds a row for
each to `factorized_resnet.csv`, in place of an earlier one. A command that was
killed goes on where it was when it is given the same `--work`. One thread.

Settings were chosen on 5,000 training images that are held out.
"""

import argparse
import csv
import pathlib
import time

import keras
import tensorflow as tf
from fashion_mnist import trained
from fashion_mnist_data import load
from fashion_mnist_results import accuracies
from result_tables import made_with, replace

from fritz_compress.analysis import profile
from fritz_compress.models import CifarResNet
from fritz_compress.surgery import factorize

RESULTS = pathlib.Path(__file__).with_suffix(".csv")
METHODS = ("channel", "spatial", "tucker", "cp", "separable")
SAMPLES, MACS = 1000, 0.5
EPOCHS, LEARNING_RATE = 2, 0.001  # Of training on.


def resnet(args):
    return CifarResNet.build(
        (28, 28),
        args.alpha,
        depth=20,
        shortcut="B",
        channels=1,
        classifier_activation=None,
    )


def record(stage, method, model, data, args, seconds=0.0):
    """One line in the table."""
    row = {
        "stage": stage,
        "method": method,
        "alpha": args.alpha,
        "seed": args.seed,
        "epochs": args.epochs,
        "macs": profile(model).macs,
        "parameters": model.count_params(),
        **accuracies(model, data),
        "cpu_seconds": round(seconds, 1),
        **made_with(),
        "command": f"factorized_resnet.py --methods {method or METHODS[0]} "
        f"--epochs {args.epochs} --alpha {args.alpha} --seed {args.seed}",
    }
    print(row, flush=True)
    keys = ("stage", "method", "alpha", "seed")
    replace(RESULTS, [row], **{key: row[key] for key in keys})


def factorized(model, method, samples, args):
    """The smaller network, and the seconds of work that it took."""
    start = time.process_time()
    smaller, report = factorize(
        model,
        {"layer_type_configs": {"Conv2D": {"method": method}}},
        macs=MACS,
        samples=samples,
        seed=args.seed,
    )
    print(report, flush=True)
    return smaller, time.process_time() - start


def stages(model, method, data, args):
    """From kernels alone, corrected, trained on."""
    smaller, seconds = factorized(model, method, None, args)
    record("kernels alone", method, smaller, data, args, seconds)
    path = args.work / f"{method}_corrected.keras"
    corrected, seconds = factorized(model, method, data.train[:SAMPLES], args)
    corrected.save(path)
    record("corrected", method, corrected, data, args, seconds)
    tuned = trained(
        f"{method}_tuned",
        lambda: keras.models.load_model(path, compile=False),
        data,
        args,
        LEARNING_RATE,
        epochs=EPOCHS,
    )
    record("trained on", method, tuned, data, args)


def done(method, args):
    """Whether the table has the last row of a method."""
    if not RESULTS.exists():
        return False
    with RESULTS.open(newline="") as file:
        wanted = ("trained on", method, str(args.alpha), str(args.seed))
        return any(
            (row["stage"], row["method"], row["alpha"], row["seed"]) == wanted
            for row in csv.DictReader(file)
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument(
        "--work", type=pathlib.Path, default="factorized_resnet"
    )
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    data = load(args.data)
    keras.utils.set_random_seed(args.seed)
    model = trained("baseline", lambda: resnet(args), data, args, 0.1)
    record("baseline", "", model, data, args)
    for method in args.methods:
        if not done(method, args):
            stages(model, method, data, args)


if __name__ == "__main__":
    main()
