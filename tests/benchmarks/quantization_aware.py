"""Does the file compute what training simulated? Fashion-MNIST.

    python tests/benchmarks/quantization_aware.py float --work FOLDER
    python tests/benchmarks/quantization_aware.py longer --work FOLDER
    python tests/benchmarks/quantization_aware.py train 8 --work FOLDER
    python tests/benchmarks/quantization_aware.py train 4 --work FOLDER
    python tests/benchmarks/quantization_aware.py files --work FOLDER
    python tests/benchmarks/quantization_aware.py speed --work FOLDER

`float` trains a small network of the MobileNet kind, `longer` trains it on as
long as `train` does, the fairer comparison. `train` trains it on with
simulated integers, weights of 8 or 4 bits: two thirds of the steps on the
statistics of the batches, then frozen. With KERAS_BACKEND=jax it trains the
same network on JAX. `files` writes each result to a `.tflite` file, runs the
10,000 test images through it, compares every prediction, logit, integer,
scale and zero point with the simulated ones, and writes
`quantization_aware.csv`; so it does with files that were quantized after
training. `speed` times training steps of the float and the simulated network
in turn and writes `quantization_aware_speed.csv`.
"""

import argparse
import csv
import datetime
import importlib.metadata
import pathlib
import time

import keras
import numpy as np
from fashion_mnist_data import load
from keras import layers

from fritz_compress import convert, quantization
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.files import whole_file

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "quantization_aware.csv"
SPEED = HERE / "quantization_aware_speed.csv"
BATCH = 128
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network():
    """Depthwise separable convolutions, two sums and a concatenation."""
    image = keras.Input((28, 28, 1), name="image")
    x = convolution(image, 16, 3)
    x = separable(x, 32, stride=2)
    x = early = separable(x, 32, residual=True)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = separable(x, 64, stride=2, padding="valid")
    x = layers.Concatenate()([x, layers.AveragePooling2D(2)(early)])
    x = convolution(x, 64, 1)
    x = separable(x, 64, residual=True)
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = convolution(x, 96, 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, name="logits")(x))


def convolution(x, filters, size, activation=True):
    x = layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU(6)(x) if activation else x


def separable(x, filters, stride=1, padding="same", residual=False):
    y = layers.DepthwiseConv2D(3, stride, padding, use_bias=False)(x)
    y = layers.ReLU(6)(layers.BatchNormalization()(y))
    y = convolution(y, filters, 1, activation=not residual)
    return layers.Add()([x, y]) if residual else y


def compiled(model, learning_rate, steps):
    """On a CPU without XLA, which takes longer here."""
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(
        keras.optimizers.Adam(schedule),
        LOSS,
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def fitted(model, data, steps, seed):
    """Goes on for so many steps on batches in an order of its own."""
    rng = np.random.default_rng(seed)
    order = np.concatenate(
        [rng.permutation(len(data.train)) for _ in range(20)]
    )[: steps * BATCH]

    def batches():
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            yield data.train[chosen], data.train_labels[chosen]

    model.fit(batches(), steps_per_epoch=steps, epochs=1, verbose=2)


def trained_float(data, args):
    keras.utils.set_random_seed(args.seed)
    steps = int(args.epochs * len(data.train) / BATCH)
    model = compiled(network(), 3e-3, steps)
    fitted(model, data, steps, args.seed)
    saved(model, args, "float")


def trained_longer(data, args):
    steps = int(args.more_epochs * len(data.train) / BATCH)
    model = compiled(read(args, "float"), args.rate, steps)
    fitted(model, data, steps, args.seed + 1)
    saved(model, args, "longer")


def trained_aware(data, args):
    steps = int(args.more_epochs * len(data.train) / BATCH)
    model = quantization.quantization_aware(
        read(args, "float"), {"weight_bits": args.bits}
    )
    compiled(model, args.rate, steps)
    fitted(model, data, 2 * steps // 3, args.seed + 1)
    quantization.freeze(model)
    fitted(model, data, steps - 2 * steps // 3, args.seed + 2)
    saved(model, args, f"aware_{args.bits}_{keras.backend.backend()}")


def saved(model, args, name):
    with whole_file(args.work / f"{name}_{args.seed}.keras") as unfinished:
        model.save(unfinished)


def read(args, name):
    return keras.saving.load_model(args.work / f"{name}_{args.seed}.keras")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(required=True)
    float_ = commands.add_parser("float")
    float_.set_defaults(run=trained_float)
    float_.add_argument("--epochs", type=float, default=5)
    for name, run in (("longer", trained_longer), ("train", trained_aware)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        if run is trained_aware:
            command.add_argument("bits", type=int)
        command.add_argument("--more-epochs", type=float, default=2)
        command.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.run(load(args.data), args)


if __name__ == "__main__":
    main()
