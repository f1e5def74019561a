"""How fast are convolutions of signs, beside those of floats?

    python tests/benchmarks/packed_convolution.py [--rounds 5] [--seconds 0.5]
        [--layers 256@14 ...] [--alphas 1 4] [--threads 1 2] [--table FILE]

Layers: 3x3 convolutions of signs, `256@14` with 256 channels and filters at
14x14, `1024` a dense layer. `packed` starts from words, `packed_floats` packs
floats before; `tensorflow`, `numpy` (patches, then a product of matrices) and
`litert` (XNNPACK) have the same numbers as float32. All make the same sums,
which is checked.

Networks: BinaryResNet-20. `packed` is `PackedModel.predict`, `keras` the
compiled float simulation that training uses, `keras_float` the network of the
same shape with float kernels and ReLU, and `litert` that one, one picture
after the other. That both of each kind agree is checked.

Every library runs in a process of its own that has as many threads, whose
numbers are medians of calls in `--seconds`; processes take turns, and
`milliseconds` is the median over rounds. `faster_than_...` divides theirs by
those of the row. `load` is that of the machine: above the number of threads,
other programs disturb. Rows are written to `packed_convolution.csv`.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

TABLE = pathlib.Path(__file__).with_suffix(".csv")
LAYERS = ("64@56", "128@28", "256@14", "512@7", "1024")
BATCHES = (1, 32)
LIBRARIES = ("packed", "tensorflow", "numpy", "litert")
PEERS = ("tensorflow", "numpy", "litert", "keras")

# Networks agree unless a compiled sum is another side of a sign.
TOLERANCE = 1e-3


def signs(shape, seed):
    return np.random.default_rng(seed).choice(np.float32([-1, 1]), shape)


def layer_arrays(layer):
    """Inputs and kernel of signs, as float32."""
    channels, _, size = layer.partition("@")
    channels, size = int(channels), int(size or 1)
    window = 3 if size > 1 else 1
    inputs = signs((1, size, size, channels), 0)
    return inputs, signs((window, window, channels, channels), 1)


def packed_layer(inputs, kernel, threads):
    from fritz_compress.ops import binary_products as products

    shared = products.Threads(threads)
    kernel = products.pack_kernel(kernel)
    words = products.pack(inputs, 0, np.inf)

    def convolve(words):
        return products.convolve(words, kernel, padding="same", threads=shared)

    def whole():
        return convolve(products.pack(inputs, 0, np.inf, shared))

    return {"packed": lambda: convolve(words), "packed_floats": whole}


def tensorflow_layer(inputs, kernel, threads):
    import tensorflow as tf

    inputs, kernel = tf.constant(inputs), tf.constant(kernel)

    @tf.function
    def convolve(inputs, kernel):
        if inputs.shape[1] == 1:
            return tf.matmul(inputs[:, 0, 0], kernel[0, 0])
        return tf.nn.conv2d(inputs, kernel, 1, "SAME")

    return {"tensorflow": lambda: convolve(inputs, kernel).numpy()}


def numpy_layer(inputs, kernel, threads):
    window, _, channels, filters = kernel.shape
    matrix = kernel.reshape(-1, filters)
    margin = window // 2
    size = inputs.shape[1]

    def convolve():
        padded = np.pad(inputs[0], [(margin, margin)] * 2 + [(0, 0)])
        patches = np.lib.stride_tricks.sliding_window_view(
            padded, (window, window), (0, 1)
        )
        patches = patches.transpose(0, 1, 3, 4, 2)
        return patches.reshape(size * size, -1) @ matrix

    return {"numpy": convolve}


def litert_layer(inputs, kernel, threads):
    import keras

    layer = keras.layers.Conv2D(
        kernel.shape[-1], kernel.shape[0], padding="same", use_bias=False
    )
    if inputs.shape[1] == 1:
        layer = keras.layers.Dense(kernel.shape[-1], use_bias=False)
        inputs, kernel = inputs[:, 0, 0], kernel[0, 0]
    model = keras.Sequential([keras.Input(inputs.shape[1:]), layer])
    layer.kernel.assign(kernel)
    return {"litert": litert(model, inputs, threads)}


def litert(model, inputs, threads):
    """A function that runs a model's file, one sample after the other."""
    from fritz_compress.convert import to_tflite
    from fritz_compress.convert.litert import LiteRTModel

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.tflite"
        to_tflite(model, path, samples=inputs[:1])
        runs = LiteRTModel(path, threads)

    return lambda: runs(inputs)


def network(args, alpha, **options):
    """Distinct statistics of normalizations, so that signs vary."""
    import keras

    from fritz_compress.models import BinaryResNet

    keras.utils.set_random_seed(0)
    model = BinaryResNet.build(alpha=alpha, depth=args.depth, **options)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1 and "variance" not in weight.name:
            weight.assign(rng.uniform(0.1, 0.5, weight.shape))
    return model


def networks(args, alpha, inputs, library, threads):
    from fritz_compress.binarization import PackedModel

    floats = {"num_bits": None, "kernel_quantizer": None}
    if library == "packed":
        packed = PackedModel(network(args, alpha), threads)
        return {"packed": lambda: packed.predict(inputs)}
    if library == "litert":
        model = network(args, alpha, **floats)
        return {"litert": litert(model, inputs, threads)}
    binary, plain = network(args, alpha), network(args, alpha, **floats)
    return {
        "keras": lambda: binary.predict_on_batch(inputs),
        "keras_float": lambda: plain.predict_on_batch(inputs),
    }


def milliseconds(function, seconds):
    """Median of calls, at least three, after two that are not timed."""
    function(), function()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def some(values):
    """Numbers from everywhere in an array, at most 1000."""
    values = np.ravel(values)
    return values[:: -(-len(values) // 1000)].tolist()


def measured(args):
    """What one library needs, in this process, and what it computes."""
    layers = {
        "packed": packed_layer,
        "tensorflow": tensorflow_layer,
        "numpy": numpy_layer,
        "litert": litert_layer,
    }[args.library]
    subjects = {}
    for layer in args.layers:
        subjects[layer, 1] = layers(*layer_arrays(layer), args.threads[0])
    if args.library != "numpy":
        for alpha in args.alphas:
            for batch in BATCHES:
                rng = np.random.default_rng(0)
                inputs = rng.normal(size=(batch, 32, 32, 3)).astype("float32")
                subjects[f"BinaryResNet-{args.depth} x{alpha:g}", batch] = (
                    networks(args, alpha, inputs, args.library, args.threads[0])
                )
    return [
        {
            "subject": subject,
            "batch": batch,
            "how": how,
            "milliseconds": milliseconds(function, args.seconds),
            "values": some(function()),
        }
        for (subject, batch), functions in subjects.items()
        for how, function in functions.items()
    ]


def in_a_process(args, library, threads):
    count = str(threads)
    options = ["--child", library, "--threads", count]
    for name in "seconds", "depth":
        options += [f"--{name}", str(getattr(args, name))]
    for name in "layers", "alphas":
        options += [f"--{name}", *map(str, getattr(args, name))]
    result = subprocess.run(
        [sys.executable, __file__, *options],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_NUM_INTRAOP_THREADS": count,
            "TF_NUM_INTEROP_THREADS": "1",
            "OMP_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count,
        },
    )
    return json.loads(result.stdout.splitlines()[-1])


def check_equal(found):
    """Sums of all libraries, and outputs of both ways to run a network."""
    for (subject, batch, how, _), results in found.items():
        first, atol = "packed", 0
        if "ResNet" in subject:
            plain = how in ("keras_float", "litert")
            first, atol = "keras_float" if plain else "packed", TOLERANCE
        want = next(
            others[0]["values"]
            for key, others in found.items()
            if key[:3] == (subject, batch, first)
        )
        for result in results:
            np.testing.assert_allclose(
                result["values"],
                want,
                rtol=0,
                atol=atol,
                err_msg=f"{how} on {subject}, batch {batch}",
            )


def rows(args):
    """Measures all in turns, and yields the lines of the table."""
    found = {}
    for _ in range(args.rounds):
        for threads in args.threads:
            for library in LIBRARIES:
                for result in in_a_process(args, library, threads):
                    key = (*(result[x] for x in ("subject", "batch", "how")),)
                    found.setdefault((*key, threads), []).append(result)
    check_equal(found)
    times = {
        key: statistics.median(result["milliseconds"] for result in results)
        for key, results in found.items()
    }
    for (subject, batch, how, threads), own in sorted(times.items()):
        peers = {
            peer: times.get((subject, batch, peer, threads), math.nan)
            for peer in PEERS
        }
        yield {
            "subject": subject,
            "batch": batch,
            "threads": threads,
            "how": how,
            "milliseconds": f"{own:.4g}",
            **{
                f"faster_than_{peer}": (
                    "" if math.isnan(ms) else f"{ms / own:.2f}"
                )
                for peer, ms in peers.items()
            },
            "rounds": args.rounds,
            "load": round(os.getloadavg()[0], 1),
        }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--layers", nargs="*", default=LAYERS)
    parser.add_argument("--alphas", type=float, nargs="*", default=(1.0, 4.0))
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--table", type=pathlib.Path, default=TABLE)
    parser.add_argument(
        "--child", dest="library", choices=LIBRARIES, help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.library:
        print(json.dumps(measured(args)))
        return
    from result_tables import made_with, write

    lines = [{**row, **made_with()} for row in rows(args)]
    write(args.table, lines)
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
