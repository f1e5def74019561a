"""Time and memory to prune a network, beside Torch-Pruning in one run.

    python -m venv peer
    peer/bin/pip install torch==2.13.0 torch-pruning==1.6.1 numpy
    python tests/benchmarks/pruning_speed.py --peer-python peer/bin/python

Keras runs on TensorFlow and, as a third side, on JAX: most of the seconds on
TensorFlow go into making variables (`tf.Variable`), which JAX does not have.

All sides build the same architecture (`torch_networks.py`), untimed, then
remove a quarter of the filters of every group by L1 norm: here
`prune_filters`, which returns a new model, there a dependency graph traced
with one picture, and a step of its `BasePruner`, in place. Repetitions
alternate between processes that stay alive. Memory is the peak of the
process while it prunes, less what it held before, in the first repetition.
The peer's time depends on the size of the picture it is traced with, so a
small one is timed as well.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
NETWORKS = (
    ("ResNet50", 224),
    ("ResNet50", 32),
    ("EfficientNetB7", 600),
    ("EfficientNetB7", 32),
)
FRACTION = 0.25
COLUMNS = (
    "network input side version seconds cpu_seconds first_seconds ratio "
    "extra_mb parameters_before parameters_after repetitions"
).split()


def serve(build, prune, count, version):
    """Prunes once for every line `network size` that comes in.

    Args:
        build: From name and size to whatever `prune` takes.
        prune: Timed; from the network to the smaller network.
        count: Trainable parameters of a network.
        version: Of the libraries.
    """
    for line in sys.stdin:
        name, size = line.split()
        network = build(name, int(size))
        before = count(network)
        held = reset_peak()
        begun, worked = time.perf_counter(), time.process_time()
        smaller = prune(network)
        row = {
            "version": version,
            "seconds": time.perf_counter() - begun,
            "cpu_seconds": time.process_time() - worked,
            "extra_mb": (status("VmHWM") - held) / 1024,
            "parameters_before": before,
            "parameters_after": count(smaller),
        }
        print(json.dumps(row), flush=True)


def reset_peak():
    """Forgets the highest memory use so far; returns the present one, KiB."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(key):
    """A number from the system's account of this process, KiB."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


def serve_here():
    import keras

    from fritz_compress import surgery

    def build(name, size):
        keras.backend.clear_session()
        return getattr(keras.applications, name)(
            weights=None, input_shape=(size, size, 3)
        )

    serve(
        build,
        lambda model: surgery.prune_filters(model, FRACTION, round_to=1),
        lambda model: sum(math.prod(w.shape) for w in model.trainable_weights),
        f"keras {keras.__version__}, {keras.backend.backend()}",
    )


def measure(name, size, peer_python, repetitions):
    """The rows of both sides for one network."""
    here = [sys.executable, __file__, "--serve"]
    workers = {
        "fritz_compress": start(here, KERAS_BACKEND="tensorflow"),
        "fritz_compress on JAX": start(here, KERAS_BACKEND="jax"),
        "torch_pruning": start([peer_python, str(HERE / "torch_networks.py")]),
    }
    runs = {side: [] for side in workers}
    for _ in range(repetitions):
        for side, worker in workers.items():
            runs[side].append(ask(worker, f"{name} {size}"))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    medians = {
        side: {key: median(done, key) for key in ("seconds", "cpu_seconds")}
        for side, done in runs.items()
    }
    peer = medians["torch_pruning"]["seconds"]
    for side, done in runs.items():
        yield {
            **done[0],
            "network": name,
            "input": size,
            "side": side,
            **{key: round(value, 3) for key, value in medians[side].items()},
            "first_seconds": round(done[0]["seconds"], 3),
            "ratio": round(peer / medians[side]["seconds"], 2),
            "extra_mb": round(done[0]["extra_mb"]),
            "repetitions": repetitions,
        }


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def start(command, **environment):
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


def ask(worker, line):
    worker.stdin.write(line + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise RuntimeError(f"{worker.args} ended while pruning {line}.")
    return json.loads(answer)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python")
    parser.add_argument("--networks", nargs="*", help="such as ResNet50/224")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--csv", default=HERE / "pruning_speed.csv")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve_here()
        return
    if not args.peer_python:
        parser.error("--peer-python: the Python that has torch-pruning")
    wanted = [tuple(item.split("/")) for item in args.networks or ()]
    with pathlib.Path(args.csv).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name, size in wanted or NETWORKS:
            for row in measure(name, size, args.peer_python, args.repetitions):
                writer.writerow(row)
                file.flush()
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
