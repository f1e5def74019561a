"""Does the file compute what training simulated? Fashion-MNIST.

    python tests/benchmarks/quantization_aware.py --work FOLDER float
    python tests/benchmarks/quantization_aware.py --work FOLDER longer
    python tests/benchmarks/quantization_aware.py --work FOLDER train 8
    python tests/benchmarks/quantization_aware.py --work FOLDER train 4
    python tests/benchmarks/quantization_aware.py --work FOLDER files
    python tests/benchmarks/quantization_aware.py --work FOLDER speed

`float` trains a small network of the MobileNet kind, `longer` trains it on as
long as `train` does, the fairer comparison. `train` trains it on with
simulated integers, weights of 8 or 4 bits: two thirds of the steps on the
statistics of the batches, then frozen. With KERAS_BACKEND=jax it trains the
same network on JAX. `files` writes each result, of all seeds, to a `.tflite`
file, runs the 10,000 test images through it, compares every prediction,
logit, integer, scale and zero point with the simulated ones, and writes
`quantization_aware.csv`; so it does with files that were quantized after
training. `speed` times training steps of the float and the simulated network
in turn and writes `quantization_aware_speed.csv`.
"""

import argparse
import pathlib
import sys
import time

import keras
import numpy as np
import result_tables
from fashion_mnist_data import load
from keras import layers

from fritz_compress import convert, quantization
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.files import whole_file

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import tflite_integers  # noqa: E402

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

    model.fit(
        batches(), steps_per_epoch=steps, epochs=1, shuffle=False, verbose=2
    )


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


def files(data, args):
    """One line for each result there is, and for files made afterwards."""
    rows = []
    for path in sorted(args.work.glob("*_?.keras")):
        name, seed = path.stem.rsplit("_", 1)
        args = argparse.Namespace(work=args.work, seed=int(seed))
        model = keras.saving.load_model(path)
        if name.startswith("aware"):
            rows.append(compared(name, model, {}, data, args))
            continue
        rows.append(float_row(name, model, data, args))
        photos = {
            "quantization": "int8",
            "representative_data": data.train[:500],
        }
        rows.append(compared(f"{name}, int8 after", model, photos, data, args))
        ranges = quantization.calibrate(model, data.train, 1000)
        rows += [
            compared(
                f"{name}, {bits}-bit weights after",
                quantization.apply_ranges(model, ranges, {"weight_bits": bits}),
                {},
                data,
                args,
            )
            for bits in (8, 4)
        ]
    write(RESULTS, rows)


def float_row(name, model, data, args):
    logits = model.predict(data.test, 500, verbose=0)
    correct = accuracy(logits, data)
    return {"run": name, "seed": args.seed, "simulated": correct}


def compared(name, model, options, data, args):
    """Writes a file and compares all that it computes and holds."""
    title = name.replace(", ", "_").replace(" ", "_")
    path = args.work / f"{title}_{args.seed}.tflite"
    report = convert.to_tflite(
        model, path, samples=data.test[:100], min_psnr=0, **options
    )
    file = LiteRTModel(path)
    simulated = model.predict(data.test, 500, verbose=0)
    logits = file(data.test)
    row = {
        "run": name,
        "seed": args.seed,
        "file": accuracy(logits, data),
        "bytes": report.bytes,
    }
    if options:  # What was quantized by the converter simulates nothing.
        return row
    own = quantization.integers(model)
    *_, output = own.activations.values()
    difference = np.abs(simulated - logits) / output.scale
    alike = simulated.argmax(-1) == logits.argmax(-1)
    return {
        **row,
        "simulated": accuracy(simulated, data),
        "agreement": round(float(alike.mean()), 5),
        "mean_steps": round(float(difference.mean()), 4),
        "max_steps": round(float(difference.max()), 2),
        "equal_logits": round(float((difference < 0.5).mean()), 5),
        **tflite_integers.equal(own, path.read_bytes()),
    }


def accuracy(logits, data):
    return round(float((logits.argmax(-1) == data.test_labels).mean()), 4)


def speed(data, args):
    """Steps of the float network, of training and of frozen training."""
    float_ = read(args, "float")
    models = {"float": float_}
    for bits in (8, 4):
        config = {"weight_bits": bits}
        models[f"aware_{bits}"] = quantization.quantization_aware(
            float_, config
        )
        frozen = quantization.quantization_aware(float_, config)
        quantization.freeze(frozen)
        models[f"aware_{bits}_frozen"] = frozen
    batch = data.train[:BATCH], data.train_labels[:BATCH]
    times = {name: [] for name in models}
    for model in models.values():
        compiled(model, 1e-6, 1000)
        for _ in range(5):
            model.train_on_batch(*batch)
    for _ in range(args.rounds):  # In turn, as the machine has other work.
        for name, model in models.items():
            start = time.perf_counter()
            for _ in range(5):
                model.train_on_batch(*batch)
            times[name].append((time.perf_counter() - start) / 5)
    base = np.median(times["float"])
    rows = [
        {
            "model": name,
            "seed": args.seed,
            "backend": keras.backend.backend(),
            "median_ms": round(1000 * float(np.median(own)), 1),
            "least_ms": round(1000 * min(own), 1),
            "ratio_of_medians": round(float(np.median(own) / base), 3),
            "ratio_of_least": round(min(own) / min(times["float"]), 3),
        }
        for name, own in times.items()
    ]
    write(SPEED, rows)


def write(path, rows):
    """All rows at once; numbers that there are not stay empty."""
    same = result_tables.made_with("keras", "tensorflow", "ai-edge-litert")
    fields = dict.fromkeys(key for row in rows for key in row)
    print(*rows, sep="\n")
    lines = [{**row, **same} for row in rows]
    result_tables.write(path, lines, [*fields, *same])


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
        command.add_argument("--more-epochs", type=float, default=4)
        command.add_argument("--rate", type=float, default=1e-3)
    commands.add_parser("files").set_defaults(run=files)
    timed = commands.add_parser("speed")
    timed.set_defaults(run=speed)
    timed.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.run(load(args.data), args)


if __name__ == "__main__":
    main()
