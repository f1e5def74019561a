"""Table, curves and picture of what pruning costs on Fashion-MNIST."""

import csv
import pathlib

import numpy as np
from result_tables import made_with, replace

from fritz_compress.analysis import profile
from fritz_compress.files import whole_file

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "fashion_mnist.csv"
CURVES = HERE / "fashion_mnist_epochs.csv"


def accuracy(model, images, labels):
    scores = model.predict(images, 500, verbose=0)
    return float((scores.argmax(-1) == labels).mean())


def accuracies(model, data):
    """Columns of a table: on the images held out, and on the test set."""
    parts = {
        "validation_accuracy": (data.validation, data.validation_labels),
        "test_accuracy": (data.test, data.test_labels),
    }
    return {name: round(accuracy(model, *p), 4) for name, p in parts.items()}


def kernel_sparsity(model):
    kernels = [w.numpy() for w in model.weights if len(w.shape) > 1]
    size = sum(kernel.size for kernel in kernels)
    return float(1 - sum(map(np.count_nonzero, kernels)) / size)


def record(run, model, data, args):
    """One line in the table, in place of an earlier one of this run."""
    row = {
        "run": run,
        "alpha": args.alpha,
        "seed": args.seed,
        "epochs": args.epochs,
        "macs": profile(model).macs,
        "parameters": model.count_params(),
        "kernel_sparsity": round(kernel_sparsity(model), 4),
        **accuracies(model, data),
        **made_with(),
        "command": f"fashion_mnist.py {args.run} --seed {args.seed} "
        f"--alpha {args.alpha} --epochs {args.epochs}",
    }
    print(row)
    replace(RESULTS, [row], run=run, seed=args.seed, alpha=args.alpha)
    names = [f"{run}_zeroed", run] if run == "filters" else [run]
    lines = [line for name in names for line in curve(name, args)]
    replace(CURVES, lines, run=run, seed=args.seed, alpha=args.alpha)


def curve(name, args):
    """The epochs of a log; the last line counts if a kill repeated one."""
    with (args.work / f"{name}.csv").open(newline="") as file:
        epochs = {line["epoch"]: line for line in csv.DictReader(file)}
    for epoch, line in epochs.items():
        yield {
            "run": name.removesuffix("_zeroed"),
            "alpha": args.alpha,
            "seed": args.seed,
            "stage": name,
            "epoch": epoch,
            "accuracy": line["accuracy"],
            "validation_accuracy": line["val_accuracy"],
            "pruned": line.get("sparsity") or line.get("pruned_fraction", 0),
        }


def plot():
    """Validation accuracy, and what is left, over the epochs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with CURVES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with RESULTS.open(newline="") as file:
        table = {row["run"]: row for row in csv.DictReader(file)}
    figure, (top, below) = plt.subplots(
        2, sharex=True, figsize=(8, 6), height_ratios=(2, 1)
    )
    for run, result in table.items():
        lines = [row for row in rows if row["run"] == run]
        start = _epochs_before(run, table)
        epochs = range(start + 1, start + 1 + len(lines))
        label = f"{run}: test {100 * float(result['test_accuracy']):.2f}%"
        measured = [100 * float(row["validation_accuracy"]) for row in lines]
        (drawn,) = top.plot(epochs, measured, ".-", label=label)
        macs = int(result["macs"]) / int(table["baseline"]["macs"])
        left = [_left(row, macs) for row in lines]
        below.plot(epochs, left, ".-", color=drawn.get_color())
    top.set_ylabel("validation accuracy, %")
    top.set_ylim(80)  # Single epochs at a high learning rate are below.
    top.set_title("ResNet-20 on Fashion-MNIST")
    top.legend()
    below.set_ylabel("MACs or weights left, %")
    below.set_ylim(0)
    below.set_xlabel("epochs")
    with whole_file(HERE / "fashion_mnist.png") as unfinished:
        figure.savefig(unfinished, dpi=120, bbox_inches="tight")


def _epochs_before(run, table):
    """Epochs of the runs that a run goes on from."""
    if run == "baseline":
        return 0
    done = int(table["baseline"]["epochs"])
    if run.endswith("_longer"):
        done += int(table[run.removesuffix("_longer")]["epochs"])
    return done


def _left(row, macs):
    """Percent of the MACs without removed filters, of the weights without
    zeros; a filter that is zero still costs its MACs."""
    if row["run"].startswith("filters"):
        return 100 if row["stage"].endswith("_zeroed") else 100 * macs
    return 100 * (1 - float(row["pruned"]))
