"""What does pruning cost on real pictures? ResNet-20 on Fashion-MNIST.

    python tests/benchmarks/fashion_mnist.py baseline --work FOLDER
    python tests/benchmarks/fashion_mnist.py filters  --work FOLDER
    python tests/benchmarks/fashion_mnist.py weights  --work FOLDER
    python tests/benchmarks/fashion_mnist.py filters_longer --work FOLDER
    python tests/benchmarks/fashion_mnist.py weights_longer --work FOLDER
    python tests/benchmarks/fashion_mnist.py control  --work FOLDER
    python tests/benchmarks/fashion_mnist.py plot

`baseline` trains the network. `filters` zeroes filters of it with
`callbacks.FilterPruning`, removes them, checks that no prediction changed and
trains what is left. `weights` zeroes 90% of its kernels' weights with
`callbacks.MagnitudePruning` while it trains on. The `longer` ones train their
results once more. `control` trains the network on as long, unpruned: the
fairer baseline. Each adds a line to
`fashion_mnist.csv` and its epochs to `fashion_mnist_epochs.csv`, from which
`plot` draws `fashion_mnist.png`. A command that was killed goes on where it
was when it is given the same `--work`.

Everything that was chosen was chosen on 5,000 training images that are held
out; a run looks at the test set once, after its last epoch. That the results
were trained once more was decided after the first test accuracies were known.
"""

import argparse
import csv
import pathlib

import keras
import numpy as np
from fashion_mnist_data import load
from fashion_mnist_results import plot, record

from fritz_compress import callbacks, models, surgery
from fritz_compress.files import whole_file
from fritz_compress.ops.schedules import ConstantSparsity
from fritz_compress.training import warmup_cosine
from fritz_compress.training.backup import EpochBackup

BATCH = 128
# Keras takes the decay off the weights, not into the momentum: 1e-4 in the
# gradient adds up to 1e-4 / (1 - 0.9).
WEIGHT_DECAY = 1e-3


class ResNet(models.CifarResNet):
    """It begins as Keras begins, not as the paper does."""

    kernel_initializer = "glorot_uniform"


def resnet20(alpha):
    """He et al. 2016, section 4.2, with 1x1 convolutions as shortcuts."""
    return ResNet.build(
        (28, 28),
        alpha,
        shortcut="B",
        channels=1,
        classifier_activation=None,
    )


class EpochLog(keras.callbacks.Callback):
    """Writes each epoch's numbers down as soon as they are there."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        new = not self.path.exists()
        numbers = {k: round(float(v), 5) for k, v in sorted(logs.items())}
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(["epoch", *numbers])
            writer.writerow([epoch + 1, *numbers.values()])


def compiled(model, learning_rate, steps):
    model.compile(
        keras.optimizers.SGD(
            warmup_cosine(learning_rate, steps),
            momentum=0.9,
            nesterov=True,
            weight_decay=WEIGHT_DECAY,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # On a CPU, XLA takes 1.5 times as long here.
    )
    return model


def trained(
    name, make_model, data, args, learning_rate, prunings=(), epochs=None
):
    """The model after its epochs, or what an earlier call left of it."""
    epochs = epochs or args.epochs
    done = args.work / f"{name}.keras"
    if done.exists():
        return keras.models.load_model(done)
    steps_per_epoch = len(data.train) // BATCH
    model = compiled(make_model(), learning_rate, epochs * steps_per_epoch)
    backup = EpochBackup(args.work / f"{name}.backup", steps_per_epoch)
    first_epoch = backup.restore(model)
    model.fit(
        data.batches(BATCH, args.seed, first_epoch),
        validation_data=(data.validation, data.validation_labels),
        initial_epoch=first_epoch,
        epochs=epochs,
        validation_batch_size=500,
        steps_per_epoch=steps_per_epoch,
        callbacks=[*prunings, EpochLog(args.work / f"{name}.csv"), backup],
        shuffle=False,  # The batches are shuffled already.
        verbose=2,
    )
    with whole_file(done) as unfinished:
        model.save(unfinished)
    return model


def baseline(data, args):
    keras.utils.set_random_seed(args.seed)
    model = trained("baseline", lambda: resnet20(args.alpha), data, args, 0.1)
    record("baseline", model, data, args)


def filters(data, args):
    """One epoch in which filters go, the rest with what is left."""
    epochs = args.epochs - 1
    steps = len(data.train) // BATCH
    pruning = callbacks.FilterPruning(
        0.5625,  # 8, 16, 32 filters become 4, 7, 14: 2.14 times fewer MACs
        end_step=int(0.8 * steps),
        frequency=max(1, steps // 20),
        round_to=1,
        # Only the first convolution of each block: what is added stays.
        ignored_layers=[
            "stem_convolution",
            "stage_2_1_shortcut_convolution",
            "stage_3_1_shortcut_convolution",
        ],
    )
    zeroed = trained(
        "filters_zeroed",
        result_of("baseline", args),
        data,
        args,
        0.02,
        [pruning],
        epochs=1,
    )
    smaller = surgery.remove_pruned_filters(zeroed)
    check_equal(zeroed, smaller, data.test)
    smaller = trained(
        "filters", lambda: smaller, data, args, 0.05, epochs=epochs
    )
    record("filters", smaller, data, args)


def weights(data, args):
    """Zeros appear over 6 tenths of the epochs, then stay where they are."""
    steps = len(data.train) // BATCH
    pruning = callbacks.MagnitudePruning(
        0.9,
        end_step=int(0.6 * args.epochs * steps),
        frequency=max(1, steps // 10),
        scope="global",
    )
    model = trained(
        "weights", result_of("baseline", args), data, args, 0.05, [pruning]
    )
    record("weights", model, data, args)


def filters_longer(data, args):
    """Another cosine for what `filters` left."""
    model = trained(
        "filters_longer", result_of("filters", args), data, args, 0.05
    )
    record("filters_longer", model, data, args)


def weights_longer(data, args):
    """Another cosine for the weights that `weights` left."""
    pruning = callbacks.MagnitudePruning(
        ConstantSparsity(0.9, 0), scope="global"
    )
    model = trained(
        "weights_longer",
        result_of("weights", args),
        data,
        args,
        0.05,
        [pruning],
    )
    record("weights_longer", model, data, args)


def control(data, args):
    """The unpruned network trained on as long as the pruned ones."""
    model = trained("control", result_of("baseline", args), data, args, 0.05)
    record("control", model, data, args)


def result_of(run, args):
    path = args.work / f"{run}.keras"
    if not path.is_file():
        raise SystemExit(f"There is no '{path}': run `{run}` first.")
    return lambda: keras.models.load_model(path)


def check_equal(before, after, images):
    """Removal of filters that are zero must change no prediction."""
    old, new = (m.predict(images, 500, verbose=0) for m in (before, after))
    difference = np.abs(old - new).max() / np.abs(old).max()
    if difference > 1e-4 or (old.argmax(-1) != new.argmax(-1)).any():
        raise SystemExit(f"Removal changed predictions by {difference:.1e}.")
    print(f"predictions before and after removal: {difference:.1e} apart")


RUNS = {
    "baseline": (baseline, 14),
    "filters": (filters, 8),
    "weights": (weights, 8),
    "filters_longer": (filters_longer, 7),
    "weights_longer": (weights_longer, 6),
    "control": (control, 8),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", choices=[*RUNS, "plot"])
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default="fashion_mnist")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args()
    if args.run == "plot":
        plot()
        return
    run, epochs = RUNS[args.run]
    args.epochs = args.epochs or epochs
    args.work.mkdir(parents=True, exist_ok=True)
    run(load(args.data), args)


if __name__ == "__main__":
    main()
