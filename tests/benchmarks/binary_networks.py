"""Accuracy against bits, on Fashion-MNIST.

    python tests/benchmarks/binary_networks.py [--data FOLDER]
        [--networks resnet mlp mlp_unnormalized] [--ways float bwn ...]
        [--seeds 0 1 2] [--images 55000]

Trains a small `BinaryResNet` (8 layers, 24, 48 and 96 filters at 14x14, 7x7
and 4x4, a stem that halves the picture, a shortcut around each convolution)
and a `BinaryConnectMLP` of 512 units in each way of `binary_ways.WAYS`, and
adds a row to `binary_networks.csv` for each: rows that are there are not
trained again. All train alike, from the same kernels and on the same batches
for each seed: Adam with a warm-up and a cosine, batches of 128, no
augmentation; epochs and learning rates as in `SETTINGS`. The test accuracy is
looked at once, after the last epoch. Then prints means and standard deviations
over the seeds and draws `binary_networks.png`; `--plot` does only that.

`mlp_unnormalized` is the MLP without its normalizations, to see what scales
are worth where nothing takes them out again.

    python tests/benchmarks/binary_networks.py --networks resnet --seeds 0
        --ways float bwn xnor --rates 0.01 0.03 0.1

is how the learning rates were chosen, the MLP's from 0.001 on: it trains
`SEARCH` epochs with each and adds the accuracy on the images held out to
`binary_networks_rates.csv`. All ways have the rate that is the best for these
three on average. No test image is looked at.
"""

import argparse
import pathlib
import time

import keras
import numpy as np
from binary_ways import LIMIT, NETWORKS, STOCHASTIC, WAYS, build
from fashion_mnist_data import load
from fashion_mnist_results import accuracies, accuracy
from result_tables import append, made_with, read

from fritz_compress.files import whole_file
from fritz_compress.training import warmup_cosine

TABLE = pathlib.Path(__file__).with_suffix(".csv")
RATES = TABLE.with_name("binary_networks_rates.csv")
BATCH = 128
SEARCH = 2
# Epochs, and the highest learning rate.
SETTINGS = {
    "resnet": (6, 3e-2),
    "mlp": (6, 3e-3),
    "mlp_unnormalized": (6, 3e-3),
}
KEYS = "network way seed epochs images rate".split()
FOUND = (
    "parameters validation_accuracy test_accuracy "
    "test_accuracy_of_latent_weights seconds date versions"
).split()


def train(data, network, way, seed, epochs, images, rate):
    """The model after training; the same batches for the same seed."""
    keras.utils.set_random_seed(seed)
    model = build(network, way)
    model.compile(
        keras.optimizers.Adam(warmup_cosine(rate, epochs * (images // BATCH))),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    data.fit(model, images, epochs, BATCH, seed)
    return model


def measured(data, wanted, searching=False):
    """A row of the table, or of that of learning rates."""
    started = time.time()
    model = train(data, **wanted)
    row = {
        **wanted,
        "parameters": model.count_params(),
        "seconds": round(time.time() - started),
        **made_with(),
    }
    if searching:
        found = accuracy(model, data.validation, data.validation_labels)
        return row | {"validation_accuracy": round(found, 4)}
    row |= accuracies(model, data)
    if wanted["way"] == STOCHASTIC:
        row["test_accuracy_of_latent_weights"] = of_latent_weights(model, data)
    return row


def of_latent_weights(model, data):
    """Test accuracy with the means of the signs, as the paper has it."""
    for layer in model.layers:
        if getattr(layer, "kernel_quantizer", None) is not None:
            layer.kernel.assign(layer.kernel / LIMIT)
            layer.kernel_quantizer = None
    model.make_predict_function(force=True)
    return accuracies(model, data)["test_accuracy"]


def all_wanted(args):
    """What tells the rows apart that the arguments ask for."""
    for seed in args.seeds:
        for network in args.networks:
            settings = [SETTINGS[network]]
            if args.rates:
                settings = [(SEARCH, rate) for rate in args.rates]
            for way in NETWORKS[network]:
                if way in args.ways:
                    for epochs, rate in settings:
                        values = network, way, seed, epochs, args.images, rate
                        yield dict(zip(KEYS, values))


def is_there(path, wanted):
    wanted = {name: str(value) for name, value in wanted.items()}
    return any(wanted.items() <= row.items() for row in read(path))


def fill(path, data, args):
    """Trains what is not in the table, and adds it."""
    columns = KEYS + FOUND
    if args.rates:
        columns = [name for name in columns if not name.startswith("test")]
    for wanted in all_wanted(args):
        if not is_there(path, wanted):
            row = measured(data, wanted, searching=bool(args.rates))
            append(path, row, columns)


def spread(network, way):
    """Test accuracies of all seeds, in percent."""
    return [
        100 * float(row["test_accuracy"])
        for row in read(TABLE)
        if (row["network"], row["way"]) == (network, way)
    ]


def summary(networks):
    """A line for each way: mean, deviation, distance to float."""
    for network in networks:
        floats = spread(network, "float")
        for way in NETWORKS[network]:
            found = spread(network, way)
            if found:
                deviation = np.std(found, ddof=1) if len(found) > 1 else np.nan
                line = f"{network:17}{way:31}{np.mean(found):6.2f}% "
                line += f"+-{deviation:5.2f} ({len(found)} seeds)"
                if floats:
                    line += f" {np.mean(found) - np.mean(floats):+6.2f}"
                yield line


def plot():
    """Each way as a point per seed, from many bits to few."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    titles = {"resnet": "ResNet-8", "mlp": "MLP"}
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5))
    for panel, network in zip(panels, titles):
        found = {way: spread(network, way) for way in NETWORKS[network]}
        names = [way for way in found if found[way]]
        for place, way in enumerate(names):
            panel.plot([place] * len(found[way]), found[way], "o", alpha=0.6)
            panel.plot(place, np.mean(found[way]), "k_", markersize=16)
        panel.set_xticks(range(len(names)))
        panel.set_xticklabels(
            [name.replace("_", " ") for name in names],
            rotation=40,
            ha="right",
        )
        panel.set_title(titles[network])
        panel.set_ylabel("test accuracy, %")
        panel.grid(axis="y", alpha=0.3)
    figure.tight_layout()
    with whole_file(TABLE.with_suffix(".png")) as unfinished:
        figure.savefig(unfinished, dpi=110, format="png")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path)
    for name, choices in ("--networks", NETWORKS), ("--ways", WAYS):
        choices = list(choices)
        parser.add_argument(name, nargs="+", choices=choices, default=choices)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=55000)
    parser.add_argument("--rates", type=float, nargs="+")
    parser.add_argument("--plot", action="store_true")
    args = parser.parse_args()
    if args.rates:
        fill(RATES, load(args.data), args)
        return
    if not args.plot:
        fill(TABLE, load(args.data), args)
    print(*summary(args.networks), sep="\n")
    plot()


if __name__ == "__main__":
    main()
