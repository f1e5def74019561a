"""Every model of keras.applications, pruned and compared with the oracle.

    python tests/benchmarks/applications.py [--models ResNet50 VGG16] \
        [--csv tests/benchmarks/applications.csv] [--timeout 3600]

A quarter of the channels of every group that may shrink, drawn at random, is
removed. The smaller model's outputs are compared with the original's whose
layers are deaf to these channels (`silencing_oracle`); the negative control
is the same comparison with the oracle of another draw. Then the model is
saved, and a fresh process that knows only Keras loads it, compares its
outputs again and takes a training step.

Inputs are the smallest that each model accepts. Weights are distinct, and
normalization statistics come from a batch and are then jittered. Each model
has a process of its own; one that fails is a row that says why. Rows of other
models and of the other backend (KERAS_BACKEND) stay in the file.
"""

import argparse
import collections
import json
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import result_tables

TESTS = pathlib.Path(__file__).resolve().parents[1]
FRACTION = 0.25
TOLERANCE = 1e-4
COLUMNS = (
    "backend model input passed parameters_before parameters_after groups "
    "shrunk frozen difference negative_control input_sensitivity "
    "loaded_difference weights_moved prune_seconds seconds peak_gb note"
).split()
# The smallest that a model accepts where it is not 32.
SIZES = {
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "Xception": 71,
    "NASNetMobile": 224,
    "NASNetLarge": 331,
}
# Run by a process that imports nothing of ours.
USE = """
import json, sys, keras, numpy as np
path, data = sys.argv[1:]
data = np.load(data)
model = keras.saving.load_model(path)
out = keras.ops.convert_to_numpy(model(data["inputs"], training=False))
before = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
model.compile(keras.optimizers.SGD(1e-2), "mse", run_eagerly=True)
loss = float(model.train_on_batch(data["inputs"], 0 * out))
moved = [
    bool((keras.ops.convert_to_numpy(w) != b).any())
    for w, b in zip(model.trainable_weights, before)
]
print(json.dumps({
    "difference": float(np.abs(out - data["outputs"]).max() / out.std()),
    "loss": loss, "moved": sum(moved) / len(moved),
}))
"""


def names():
    """All builders of keras.applications."""
    import keras

    return sorted(
        name
        for name in dir(keras.applications)
        if name[0].isupper() and callable(getattr(keras.applications, name))
    )


def build(name, samples=8):
    """The model with weights that keep signals alive, and inputs for it."""
    import keras
    from helpers import distinct_weights

    size = SIZES.get(name, 32)
    model = getattr(keras.applications, name)(
        weights=None,
        classes=10,
        classifier_activation=None,
        input_shape=(size, size, 3),
    )
    distinct_weights(model)
    rng = np.random.default_rng(0)
    # As large as pixels, beside which biases do not drown the inputs.
    inputs = rng.normal(0, 60, (samples, size, size, 3)).astype("float32")
    kinds = {type(layer).__name__ for layer in model.layers}
    if kinds & {"Rescaling", "Normalization"}:
        inputs += 127.5
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # It computes with copies of its weights.
    settle_statistics(model, inputs, rng)
    return model, inputs


def settle_statistics(model, inputs, rng):
    """Sets normalization statistics by one batch, then moves them a bit.

    With statistics of another data set, signals die or saturate on their way
    and the outputs would not depend on the inputs.
    """
    import keras

    from fritz_compress.graph import flatten_layers

    norms = [
        layer
        for layer in flatten_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(inputs, training=True)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        variance = keras.ops.convert_to_numpy(norm.moving_variance)
        mean = keras.ops.convert_to_numpy(norm.moving_mean)
        spread = np.sqrt(variance)
        norm.moving_mean.assign(mean + spread * rng.normal(0, 0.1, mean.shape))
        norm.moving_variance.assign(
            variance * rng.uniform(0.7, 1.4, variance.shape)
        )


def draw(groups, seed, fraction=FRACTION):
    """Numbers of the channels to remove, for each group that may shrink."""
    rng = np.random.default_rng(seed)
    return {
        place: rng.permutation(group.channels)[: int(group.channels * fraction)]
        for place, group in enumerate(groups)
        if group.frozen is None
    }


def difference(wanted, received):
    """Largest difference, relative to the spread of what is wanted."""
    return float(np.abs(wanted - received).max() / np.std(wanted))


def examine(name):
    """The row of one model."""
    import keras
    from silencing_oracle import removed_channels, silenced_outputs

    from fritz_compress import surgery

    started = time.perf_counter()
    model, batch = build(name, samples=4 if SIZES.get(name, 0) > 200 else 16)
    inputs = batch[:2]
    groups = surgery.channel_groups(model)
    removed, others = (
        removed_channels(groups, draw(groups, seed)) for seed in (1, 2)
    )
    begun = time.perf_counter()
    smaller = surgery.remove_filters(model, removed)
    prune_seconds = time.perf_counter() - begun
    received = keras.ops.convert_to_numpy(smaller(inputs, training=False))
    (wanted,) = silenced_outputs(model, removed, [inputs])
    (control,) = silenced_outputs(model, others, [inputs])
    row = {
        "backend": keras.backend.backend(),
        "model": name,
        "input": model.input_shape[1],
        "parameters_before": model.count_params(),
        "parameters_after": smaller.count_params(),
        "groups": len(groups),
        "shrunk": sum(map(bool, map(len, draw(groups, seed=1).values()))),
        "frozen": reasons(groups),
        "difference": difference(wanted, received),
        "negative_control": difference(control, received),
        "input_sensitivity": difference(wanted[:1], wanted[1:]),
        "prune_seconds": prune_seconds,
    }
    del model
    used = use_elsewhere(smaller, inputs, received)
    row["loaded_difference"] = used["difference"]
    row["weights_moved"] = used["moved"]
    row["passed"] = bool(
        row["difference"] < TOLERANCE
        and row["negative_control"] > 100 * TOLERANCE
        and row["input_sensitivity"] > 100 * TOLERANCE
        and used["difference"] < TOLERANCE
        and np.isfinite(used["loss"])
        and used["moved"] > 0.5
    )
    row["seconds"] = time.perf_counter() - started
    row["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return row


def reasons(groups):
    """How many groups stay whole, by reason; layers by their class."""
    counted = collections.Counter(
        re.sub(r"'[^']*' \((\w+)\)", r"\1", group.frozen)
        for group in groups
        if group.frozen
    )
    return "; ".join(f"{n} {reason}" for reason, n in counted.items())


def use_elsewhere(model, inputs, outputs):
    """Loads, compares and trains the model where only Keras is at hand."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/smaller.keras"
        model.save(path)
        np.savez(f"{folder}/data.npz", inputs=inputs, outputs=outputs)
        done = subprocess.run(
            [sys.executable, "-c", USE, path, f"{folder}/data.npz"],
            capture_output=True,
            text=True,
            cwd=folder,
        )
    if done.returncode:
        raise RuntimeError(f"loaded elsewhere: {last_line(done.stderr)}")
    return json.loads(done.stdout.splitlines()[-1])


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def examine_elsewhere(name, backend, timeout):
    """The row of one model, from a process of its own."""
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
        return {**failed, "note": last_line(done.stderr)}
    return json.loads(done.stdout.splitlines()[-1])


def write(path, row):
    """Puts the row in the file in place of the one of before."""
    rounded = {
        key: f"{value:.3g}" if isinstance(value, float) else str(value)
        for key, value in row.items()
    }
    key = (row["backend"], row["model"])
    rows = [
        row
        for row in result_tables.read(path)
        if (row["backend"], row["model"]) != key
    ]
    rows.append(rounded)
    rows.sort(key=lambda r: (r["backend"] != "tensorflow", r["model"]))
    result_tables.write(path, rows, COLUMNS)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--csv", default=TESTS / "benchmarks/applications.csv")
    parser.add_argument("--timeout", type=int, default=3600)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        sys.path.insert(0, str(TESTS))
        print(json.dumps(examine(args.one)))
        return
    import keras

    rows = []
    for name in args.models or names():
        row = examine_elsewhere(name, keras.backend.backend(), args.timeout)
        write(pathlib.Path(args.csv), row)
        rows.append(row)
        print(json.dumps(row), flush=True)
    passed = sum(row["passed"] for row in rows)
    print(f"{passed} of {len(rows)} models equal the oracle.")


if __name__ == "__main__":
    main()
