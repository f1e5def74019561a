"""Every backbone of KerasHub, pruned and compared with the oracle.

    python tests/benchmarks/hub_backbones.py [--models BertBackbone] \
        [--csv tests/benchmarks/hub_backbones.csv] [--timeout 900]

Needs the extra `hub`; nothing is downloaded. The backbones are built from
the small configurations of `hub_configurations`. As in `applications`, a
quarter of the channels of every group that may shrink, drawn at random, is
removed; the outputs are compared with those of the original whose layers are
deaf to these channels, and with another draw as the negative control; a
fresh process that knows only Keras and KerasHub loads the saved model,
compares its outputs again and takes a training step. A backbone of which
nothing may shrink does not pass.

Each backbone has a process of its own; one that fails is a row that says why.
Rows of other backbones and of the other backend (KERAS_BACKEND) stay.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import applications
import numpy as np
from applications import TESTS, TOLERANCE

SEQUENCE = 6
VOCABULARY = 20
# Run by a process that imports nothing of ours.
USE = """
import json, sys, keras, keras_hub, numpy as np
from keras import ops
path, data = sys.argv[1:]
data = np.load(data)
inputs = [data[f"input{i}"] for i in range(sum("in" in k for k in data))]
wanted = [data[k] for k in data if "out" in k]
model = keras.saving.load_model(path)
packed = keras.tree.pack_sequence_as(model.input, inputs)
outputs = keras.tree.flatten(model(packed, training=False))
apart = max(
    float(np.abs(w - ops.convert_to_numpy(o)).max() / (w.std() or 1))
    for w, o in zip(wanted, outputs, strict=True)
)
squares = [
    ops.mean(ops.square(ops.cast(o, "float32")), axis=range(1, len(o.shape)))
    for o in keras.tree.flatten(model.output)
]
trained = keras.Model(model.inputs, sum(squares[1:], squares[0]))
before = [ops.convert_to_numpy(w) for w in model.trainable_weights]
trained.compile(keras.optimizers.SGD(1e-2), "mae", run_eagerly=True)
loss = float(trained.train_on_batch(inputs, np.zeros(len(inputs[0]))))
moved = [
    bool((ops.convert_to_numpy(w) != b).any())
    for w, b in zip(model.trainable_weights, before)
]
print(json.dumps({
    "difference": apart, "loss": loss, "moved": sum(moved) / len(moved),
}))
"""


def build(name):
    """The backbone with weights that keep signals alive, and inputs."""
    import keras
    from helpers import distinct_weights
    from hub_configurations import backbone

    model = distinct_weights(backbone(name))
    rng = np.random.default_rng(0)
    inputs = [sample(rng, tensor) for tensor in model.inputs]
    packed = keras.tree.pack_sequence_as(model.input, inputs)
    applications.settle_statistics(model, packed, rng)
    return model, [array[:2] for array in inputs]


def sample(rng, tensor, count=8):
    """Random data for an input, of the kind that its name tells."""
    import keras

    shape = (count, *(size or SEQUENCE for size in tensor.shape[1:]))
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "mask" in tensor.name:
        mask = np.ones(shape, dtype)
        mask[1, ..., -1:] = "vision" in tensor.name
        return mask
    if "float" in dtype:
        return rng.normal(size=shape).astype(dtype)
    high = 2 if "segment" in tensor.name else VOCABULARY
    return rng.integers(0, high, shape).astype(dtype)


def outputs_of(model, inputs):
    import keras

    packed = keras.tree.pack_sequence_as(model.input, inputs)
    outputs = keras.tree.flatten(model(packed, training=False))
    return [keras.ops.convert_to_numpy(output) for output in outputs]


def difference(wanted, received):
    """The largest of all outputs, each relative to its own spread."""
    return max(
        float(np.abs(w - r).max() / (np.std(w) or 1))
        for w, r in zip(wanted, received, strict=True)
    )


def examine(name):
    """The row of one backbone."""
    import keras
    from silencing_oracle import removed_channels, silenced_outputs

    from fritz_compress import surgery

    started = time.perf_counter()
    model, inputs = build(name)
    groups = surgery.channel_groups(model)
    drawn = [applications.draw(groups, seed) for seed in (1, 2)]
    row = {
        "backend": keras.backend.backend(),
        "model": name,
        "parameters_before": model.count_params(),
        "groups": len(groups),
        "shrunk": sum(map(bool, map(len, drawn[0].values()))),
        "frozen": applications.reasons(groups),
        "passed": False,
    }
    if not row["shrunk"]:
        kinds = sorted(set(groups.whole.values()))
        return {**row, "note": "nothing may shrink: " + "; ".join(kinds)}
    removed, others = (removed_channels(groups, each) for each in drawn)
    smaller = surgery.remove_filters(model, removed)
    received = outputs_of(smaller, inputs)
    wanted = silenced_outputs(model, removed, inputs)
    control = silenced_outputs(model, others, inputs)
    used = use_elsewhere(smaller, inputs, received)
    row |= {
        "parameters_after": smaller.count_params(),
        "difference": difference(wanted, received),
        "negative_control": difference(control, received),
        "loaded_difference": used["difference"],
        "weights_moved": used["moved"],
        "seconds": time.perf_counter() - started,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    row["passed"] = bool(
        row["difference"] < TOLERANCE
        and row["negative_control"] > 100 * TOLERANCE
        and used["difference"] < TOLERANCE
        and np.isfinite(used["loss"])
        and used["moved"] > 0.5
    )
    return row


def use_elsewhere(model, inputs, outputs):
    """Loads, compares and trains the model where only Keras is at hand."""
    arrays = {f"input{i}": array for i, array in enumerate(inputs)}
    arrays |= {f"out{i}": array for i, array in enumerate(outputs)}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/smaller.keras"
        model.save(path)
        np.savez(f"{folder}/data.npz", **arrays)
        done = subprocess.run(
            [sys.executable, "-c", USE, path, f"{folder}/data.npz"],
            capture_output=True,
            text=True,
            cwd=folder,
        )
    if done.returncode:
        message = applications.last_line(done.stderr)
        raise RuntimeError(f"loaded elsewhere: {message}")
    return json.loads(done.stdout.splitlines()[-1])


def examine_elsewhere(name, backend, timeout):
    """The row of one backbone, from a process of its own."""
    failed = {"backend": backend, "model": name, "passed": False}
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--one", name],
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return {**failed, "note": f"not done after {timeout} s"}
    if done.returncode:
        return {**failed, "note": applications.last_line(done.stderr)}
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*")
    parser.add_argument(
        "--csv", default=TESTS / "benchmarks/hub_backbones.csv"
    )
    parser.add_argument("--timeout", type=int, default=900)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    if args.one:
        print(json.dumps(examine(args.one)))
        return
    import keras
    from hub_configurations import names

    rows = []
    for name in args.models or names():
        row = examine_elsewhere(name, keras.backend.backend(), args.timeout)
        applications.write(pathlib.Path(args.csv), row)
        rows.append(row)
        print(json.dumps(row), flush=True)
    passed = sum(row["passed"] for row in rows)
    print(f"{passed} of {len(rows)} backbones equal the oracle.")


if __name__ == "__main__":
    main()
