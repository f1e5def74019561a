"""How many samples does an integer file need? Weights only, 10 and 1,000.

    python tests/benchmarks/calibration.py --work FOLDER [--seed N]

Takes the float network that `quantization_aware.py --work FOLDER float` left,
writes it with 8-bit weights alone ("dynamic", no samples), and with ranges of
activations measured on 10 and on 1,000 training images by each method, runs
the 10,000 test images through every file, and writes `calibration.csv`. Which
images are seen is drawn by the seed.
"""

import argparse
import pathlib

import keras
import numpy as np
from fashion_mnist_data import load
from result_tables import made_with, write

from fritz_compress import convert, quantization
from fritz_compress.convert.litert import LiteRTModel

RESULTS = pathlib.Path(__file__).with_name("calibration.csv")
METHODS = ("minmax", "average", "percentile", "least_squares")


def row(model, data, args, samples, method, **options):
    path = args.work / "calibrated.tflite"
    report = convert.to_tflite(
        model, path, samples=data.test[:100], min_psnr=0, **options
    )
    logits = LiteRTModel(path)(data.test)
    expected = model.predict(data.test, 500, verbose=0)
    error = np.mean((logits - expected) ** 2)
    alike = logits.argmax(-1) == expected.argmax(-1)
    line = {
        "samples": samples,
        "method": method,
        "accuracy": (logits.argmax(-1) == data.test_labels).mean(),
        "agreement_with_float": alike.mean(),
        "logits_psnr": 10 * np.log10(np.ptp(expected) ** 2 / error),
        "bytes": report.bytes,
    }
    print(line, flush=True)
    return line


def rows(model, data, args):
    accuracy = model.evaluate(data.test, data.test_labels, verbose=0)[1]
    yield {"samples": "", "method": "float", "accuracy": accuracy}
    yield row(model, data, args, 0, "weights", quantization="dynamic")
    order = np.random.default_rng(args.seed).permutation(len(data.train))
    for samples in (10, 1000):
        seen = data.train[order[:samples]]
        for method in METHODS:
            ranges = quantization.calibrate(model, seen, method=method)
            yield row(
                model,
                data,
                args,
                samples,
                method,
                quantization="int8",
                ranges=ranges,
            )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = load(args.data)
    path = args.work / f"float_{args.seed}.keras"
    lines = list(rows(keras.saving.load_model(path), data, args))
    same = {
        "seed": args.seed,
        **made_with("keras", "tensorflow", "ai-edge-litert"),
    }
    lines = [{**rounded(line), **same} for line in lines]
    write(RESULTS, lines, list(lines[-1]))


def rounded(line):
    return {
        key: round(float(v), 4) if isinstance(v, float) else v
        for key, v in line.items()
    }


if __name__ == "__main__":
    main()
