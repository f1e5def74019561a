"""Palettes of MobileNetV2 in a `.mlpackage`, beside coremltools' own.

    python tests/benchmarks/palettes.py [--bits 8 6 4 2] \
        [--csv tests/benchmarks/palettes.csv]

The architecture is that of keras.applications, 224 x 224 with 1000 classes,
its kernels random numbers of Student's distribution (3 to 10 degrees of
freedom, a deviation of sqrt(2 / inputs)), its normalizations random too, so
that folding them gives channels of different size. Both compress the same
float16 program in one run: ours with `nbits` and mode="kmeans", coremltools
with `palettize_weights(mode="kmeans")`, once with its default that leaves
kernels of up to 2048 numbers as they are, once with weight_threshold=0.
Columns:

- bytes: of the package, all files.
- ratio: of the float16 package to it. "published" are the ratios of
  https://apple.github.io/coremltools/docs-guides/source/opt-palettization-perf.html
  for trained weights (2 bits: fine-tuned).
- sqnr: signal to quantization noise of all kernels together, in decibels,
  against float32. Kernels that were left out count with their float16.
- seconds: of compressing, ours with the conversion from Keras.

palettes.csv: 2026-11-23, coremltools 9.0, keras 3.15.1, tensorflow 2.21.0.
"""

import argparse
import contextlib
import io
import pathlib
import tempfile
import time

import keras
import numpy as np
from result_tables import write

HERE = pathlib.Path(__file__).resolve().parent
COLUMNS = ("bits", "method", "bytes", "ratio", "sqnr", "seconds")
PUBLISHED = {8: 1.97, 6: 2.54, 4: 3.38, 2: 5.92}
THRESHOLDS = {"coremltools": 2048, "coremltools, all kernels": 0}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", type=int, nargs="*", default=list(PUBLISHED))
    parser.add_argument(
        "--csv", type=pathlib.Path, default=HERE / "palettes.csv"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(pathlib.Path(folder), options.bits))
    write(options.csv, rows, COLUMNS)


def measure(folder, bits):
    """One row per width and method."""
    from fritz_compress.convert.ml_program import write_program
    from fritz_compress.files import size_in_bytes

    model = network()
    exact = folder / "float32.mlpackage"
    write_program(model, exact)
    exact = kernels(exact)
    half = folder / "float16.mlpackage"
    write_program(model, half, compute_precision="float16")

    def row(nbits, method, path, start=None):
        seconds = f"{time.perf_counter() - start:.1f}" if start else ""
        size = size_in_bytes(path)
        found = {
            "bits": nbits,
            "method": method,
            "bytes": size,
            "ratio": f"{size_in_bytes(half) / size:.2f}",
            "sqnr": f"{sqnr(exact, kernels(path)):.2f}",
            "seconds": seconds,
        }
        print(found, flush=True)
        return found

    yield row(16, "float16", half)
    for nbits in bits:
        yield {
            "bits": nbits,
            "method": "published",
            "ratio": PUBLISHED.get(nbits, ""),
        }
        path, start = folder / f"ours_{nbits}.mlpackage", time.perf_counter()
        write_program(model, path, nbits, "kmeans", compute_precision="float16")
        yield row(nbits, "ours", path, start)
        for method, threshold in THRESHOLDS.items():
            path = folder / f"coremltools_{nbits}_{threshold}.mlpackage"
            start = time.perf_counter()
            palettize(half, path, nbits, threshold)
            yield row(nbits, method, path, start)


def network():
    """MobileNetV2 with random weights as trained ones are spread."""
    model = keras.applications.MobileNetV2(weights=None)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(values(rng, weight.path, tuple(weight.shape)))
    return model


def values(rng, path, shape):
    if "variance" in path or "gamma" in path:
        return rng.uniform(0.5, 1.5, shape)
    if len(shape) == 1:
        return rng.normal(0, 0.1, shape)
    freedom = rng.integers(3, 11)
    inputs = np.prod(shape[:-1]) if "depthwise" not in path else 9
    spread = np.sqrt(freedom / (freedom - 2))
    return rng.standard_t(freedom, shape) / spread * np.sqrt(2 / inputs)


def palettize(source, path, nbits, threshold):
    """coremltools' own palettes of a float package."""
    import coremltools
    from coremltools.optimize import coreml as optimize

    config = optimize.OpPalettizerConfig(
        mode="kmeans", nbits=nbits, weight_threshold=threshold
    )
    with contextlib.redirect_stderr(io.StringIO()):  # Progress bars.
        model = coremltools.models.MLModel(str(source), skip_model_load=True)
        model = optimize.palettize_weights(
            model, optimize.OptimizationConfig(config)
        )
        model.save(str(path))


def kernels(path):
    """The decoded kernels of a package, in its order."""
    from fritz_compress.convert import mil_interpreter
    from fritz_compress.convert.mil_constants import constant

    function = mil_interpreter.load(path)._function
    return [
        constant(operation.weight).astype("float64")
        for operation in function.operations
        if operation.op_type in ("conv", "linear")
    ]


def sqnr(exact, received):
    signal = sum(np.square(kernel).sum() for kernel in exact)
    noise = sum(
        np.square(kernel - other).sum()
        for kernel, other in zip(exact, received, strict=True)
    )
    return 10 * np.log10(signal / noise)


if __name__ == "__main__":
    main()
