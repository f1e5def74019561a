"""Accuracy against bits, on Fashion-MNIST.

    python tests/benchmarks/binary_networks.py [--data FOLDER] \
        [--networks resnet mlp] [--seeds 0 1 2] [--images 55000]

Trains a small `BinaryResNet` (8 layers, 24, 48 and 96 filters at 14x14, 7x7
and 4x4: a stem that halves the picture) and a `BinaryConnectMLP` of 512 units
in each way of `RUNS`, and adds a row to `binary_networks.csv` for each: rows
that are there are not trained again. All train alike, from the same kernels
and on the same batches for each seed: Adam with a warm-up and a cosine,
batches of 128, no augmentation, epochs and learning rate as in `SETTINGS`. The
rates were chosen of 0.001, 0.003 and 0.01 on the images held out, after 200
steps, for the float network and BinaryNet together. The test accuracy is
looked at once, after the last epoch.

Then prints means and standard deviations over the seeds and draws
`binary_networks.png`; `--plot` does only that.
"""

import argparse
import csv
import pathlib
import time

import keras
import numpy as np
from fashion_mnist_data import load
from fashion_mnist_results import accuracies, made_with
from keras import layers

from fritz_compress import quantizers
from fritz_compress.files import whole_file
from fritz_compress.layers import BinaryConv2D
from fritz_compress.models import BinaryConnectMLP, BinaryResNet
from fritz_compress.training import warmup_cosine

TABLE = pathlib.Path(__file__).with_suffix(".csv")
BATCH = 128
SCALED, SIGN = "magnitude_aware_sign", "ste_sign"
# Of random signs: from this magnitude on a sign is certain. Of 0.02 and 0.1 the
# better one on the images held out, after 200 steps.
LIMIT = 0.02
RUNS = {
    "float": {"num_bits": None, "kernel_quantizer": None},
    "bwn": {"num_bits": None, "kernel_quantizer": SCALED},
    "binaryconnect": {"num_bits": None, "kernel_quantizer": SIGN},
    "binaryconnect_stochastic": {
        "num_bits": None,
        # Written out, so that each layer makes one of its own.
        "kernel_quantizer": quantizers.serialize(
            quantizers.StochasticSign(LIMIT)
        ),
    },
    "activations_4": {"num_bits": 4, "kernel_quantizer": SCALED},
    "activations_2": {"num_bits": 2, "kernel_quantizer": SCALED},
    "activations_1": {"num_bits": 1, "kernel_quantizer": SCALED},
    "xnor": {
        "num_bits": 1,
        "kernel_quantizer": SCALED,
        "input_scale": True,
    },
    "binarynet": {"num_bits": 1, "kernel_quantizer": SIGN},
}
# Epochs and the highest learning rate.
SETTINGS = {"resnet": (4, 1e-2), "mlp": (6, 3e-3)}
ORDER = "convolution_normalization_sign"
COLUMNS = (
    "network run seed epochs images rate parameters validation_accuracy "
    "test_accuracy test_accuracy_of_latent_weights seconds date versions"
).split()
KEYS = COLUMNS[:6]


class SmallResNet(BinaryResNet):
    """For pictures of 28x28 pixels, which it halves at once."""

    @classmethod
    def stem(cls, x, filters):
        return cls.convolution(x, filters, 3, 2, activation=None, name="stem")


class SignAfterNormalization(SmallResNet):
    """Convolution, normalization, sign: a sign where ResNets have a ReLU."""

    @classmethod
    def stem(cls, x, filters):
        return cls.signed(super().stem(x, filters), "stem")

    @classmethod
    def end(cls, x):
        return x

    @classmethod
    def residual_block(cls, x, filters, strides, shortcut, name, **options):
        y = cls.binary(x, filters, strides, f"{name}_first")
        y = cls.signed(y, f"{name}_first")
        y = cls.binary(y, filters, 1, f"{name}_second")
        x = cls.shortened(x, filters, strides, shortcut, name)
        return cls.signed(layers.Add(name=f"{name}_add")([x, y]), name)

    @classmethod
    def binary(cls, x, filters, strides, name):
        x = BinaryConv2D(
            filters,
            3,
            strides,
            "same",
            kernel_quantizer=SCALED,
            input_quantizer=None,
            use_bias=False,
            kernel_initializer=cls.kernel_initializer,
            name=f"{name}_convolution",
        )(x)
        return cls.normalize(x, name, activation=None)

    @classmethod
    def signed(cls, x, name):
        sign = quantizers.SteSign()
        return layers.Activation(sign, name=f"{name}_sign")(x)


def build(network, run):
    if network == "mlp":
        return BinaryConnectMLP.build(alpha=0.5, **RUNS[run])
    own = {"image_size": (28, 28), "alpha": 1.5, "depth": 8, "channels": 1}
    if run == ORDER:
        return SignAfterNormalization.build(**own)
    return SmallResNet.build(**own, **RUNS[run])


def train(data, network, run, seed, args):
    """The model after training; the same batches for the same seed."""
    keras.utils.set_random_seed(seed)
    model = build(network, run)
    epochs, rate = SETTINGS[network]
    steps = epochs * (args.images // BATCH)
    model.compile(
        keras.optimizers.Adam(warmup_cosine(rate, steps)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    data.fit(model, args.images, epochs, BATCH, seed)
    return model


def measured(data, network, run, seed, args):
    """A row of the table."""
    started = time.time()
    model = train(data, network, run, seed, args)
    row = {
        **accuracies(model, data),
        "parameters": model.count_params(),
        "seconds": round(time.time() - started),
    }
    if run == "binaryconnect_stochastic":
        row["test_accuracy_of_latent_weights"] = of_latent_weights(model, data)
    return row | made_with()


def of_latent_weights(model, data):
    """Test accuracy with the means of the signs, as the paper has it."""
    for layer in model.layers:
        if getattr(layer, "kernel_quantizer", None) is not None:
            layer.kernel.assign(layer.kernel / LIMIT)
            layer.kernel_quantizer = None
    model.make_predict_function(force=True)
    return accuracies(model, data)["test_accuracy"]


def rows():
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def add(row):
    new = not TABLE.exists()
    with TABLE.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def key(network, run, seed, args):
    epochs, rate = SETTINGS[network]
    values = (network, run, seed, epochs, args.images, rate)
    return dict(zip(KEYS, map(str, values)))


def is_there(wanted):
    return any(all(row[k] == v for k, v in wanted.items()) for row in rows())


def spread(network, run):
    """Test accuracies of all seeds, in percent."""
    return [
        100 * float(row["test_accuracy"])
        for row in rows()
        if (row["network"], row["run"]) == (network, run)
    ]


def summary(networks):
    """A line for each way: mean, deviation, distance to float."""
    for network in networks:
        floats = np.mean(spread(network, "float") or np.nan)
        for run in [*RUNS, ORDER]:
            found = spread(network, run)
            if found:
                deviation = np.std(found, ddof=1) if len(found) > 1 else np.nan
                yield (
                    f"{network:7}{run:31}{np.mean(found):6.2f} "
                    f"+-{deviation:5.2f}  {np.mean(found) - floats:+6.2f}  "
                    f"({len(found)} seeds)"
                )


def plot(networks):
    """Each way as a point per seed, from many bits to few."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1, len(networks), figsize=(5.5 * len(networks), 4.5), squeeze=False
    )
    for panel, network in zip(panels[0], networks):
        found = {run: spread(network, run) for run in [*RUNS, ORDER]}
        names = [run for run in found if found[run]]
        for place, run in enumerate(names):
            panel.plot([place] * len(found[run]), found[run], "o", alpha=0.6)
            panel.plot(place, np.mean(found[run]), "k_", markersize=16)
        panel.set_xticks(range(len(names)))
        panel.set_xticklabels(
            [name.replace("_", " ") for name in names],
            rotation=40,
            ha="right",
        )
        panel.set_title({"resnet": "ResNet-8", "mlp": "MLP"}[network])
        panel.set_ylabel("test accuracy, %")
        panel.grid(axis="y", alpha=0.3)
    figure.tight_layout()
    with whole_file(TABLE.with_suffix(".png")) as unfinished:
        figure.savefig(unfinished, dpi=110, format="png")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--networks", nargs="+", default=["resnet", "mlp"])
    parser.add_argument("--runs", nargs="+", default=[*RUNS, ORDER])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=55000)
    parser.add_argument("--plot", action="store_true")
    args = parser.parse_args()
    data = None if args.plot else load(args.data)
    for seed in [] if args.plot else args.seeds:
        for network in args.networks:
            for run in args.runs:
                wanted = key(network, run, seed, args)
                if (network, run) != ("mlp", ORDER) and not is_there(wanted):
                    add(wanted | measured(data, network, run, seed, args))
    print(*summary(args.networks), sep="\n")
    plot(args.networks)


if __name__ == "__main__":
    main()
