"""Every backbone of KerasHub, pruned and compared with the oracle.

    python tests/benchmarks/hub_backbones.py [--models BertBackbone] \
        [--csv tests/benchmarks/hub_backbones.csv]

Needs the extra `hub`; nothing is downloaded. The backbones are built from
the small configurations of `hub_configurations`. As in `applications`, a
quarter of the channels of every group that may shrink, drawn at random, is
removed; the outputs are compared with those of the original whose layers are
deaf to these channels, and with another draw as the negative control; a
second process that knows only Keras and KerasHub loads the saved model,
compares its outputs again and takes a training step. A backbone of which
nothing may shrink does not pass; one that fails is a row that says why.

Rows of other backbones and of the other backend (KERAS_BACKEND) stay.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import applications  # noqa: E402
from applications import TOLERANCE  # noqa: E402

# Run by a process that imports nothing of ours: one folder per line.
USE = """
import json, sys, keras, keras_hub, numpy as np
from keras import ops

def use(folder):
    data = np.load(f"{folder}/data.npz")
    inputs = [data[key] for key in data if key.startswith("in")]
    wanted = [data[key] for key in data if key.startswith("out")]
    model = keras.saving.load_model(f"{folder}/smaller.keras")
    packed = keras.tree.pack_sequence_as(model.input, inputs)
    outputs = [
        ops.convert_to_numpy(ops.cast(output, "float32"))
        for output in keras.tree.flatten(model(packed, training=False))
    ]
    # The model inside another: its operations keep their names to themselves.
    symbols = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype)
        for tensor in model.inputs
    ]
    squares = [
        ops.mean(ops.cast(o, "float32") ** 2, axis=range(1, len(o.shape)))
        for o in keras.tree.flatten(
            model(keras.tree.pack_sequence_as(model.input, symbols))
        )
    ]
    trained = keras.Model(symbols, sum(squares[1:], squares[0]))
    before = [ops.convert_to_numpy(w) for w in model.trainable_weights]
    trained.compile(keras.optimizers.SGD(1e-2), "mae", run_eagerly=True)
    loss = float(trained.train_on_batch(inputs, np.zeros(len(inputs[0]))))
    moved = [
        bool((ops.convert_to_numpy(w) != b).any())
        for w, b in zip(model.trainable_weights, before)
    ]
    apart = [
        np.abs(w - o).max() / (w.std() or 1) for w, o in zip(wanted, outputs)
    ]
    return {
        "difference": float(max(apart)),
        "loss": loss,
        "moved": sum(moved) / len(moved),
    }

for folder in sys.stdin:
    try:
        result = use(folder.strip())
    except Exception as error:
        result = {"error": str(error)}
    print(json.dumps(result), flush=True)
    keras.backend.clear_session()
"""


def build(name):
    """The backbone with weights that keep signals alive, and inputs."""
    import keras
    from helpers import distinct_weights
    from hub_configurations import SEQUENCE, SOUND, backbone

    model = distinct_weights(backbone(name))
    rng = np.random.default_rng(0)
    inputs = [
        sample(rng, tensor, SOUND.get((name, tensor.name), SEQUENCE))
        for tensor in model.inputs
    ]
    packed = keras.tree.pack_sequence_as(model.input, inputs)
    applications.settle_statistics(model, packed, rng)
    return model, [array[:2] for array in inputs]


def sample(rng, tensor, length, count=8):
    """Random data for an input, of the kind that its name tells."""
    import keras
    from hub_configurations import VOCABULARY

    shape = (count, *(size or length for size in tensor.shape[1:]))
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
    return [as_floats(output) for output in outputs]


def as_floats(output):
    """Of masks as well."""
    import keras

    return keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))


def difference(wanted, received):
    """The largest of all outputs, each relative to its own spread."""
    return max(
        float(np.abs(w - r).max() / (np.std(w) or 1))
        for w, r in zip(wanted, received, strict=True)
    )


def examine(name, use):
    """The row of one backbone.

    Args:
        use: From a smaller model, its inputs and outputs to what another
            process makes of them.
    """
    import keras

    from fritz_compress import surgery

    started = time.perf_counter()
    model, inputs = build(name)
    groups = surgery.channel_groups(model)
    drawn = [applications.draw(groups, seed) for seed in (1, 2)]
    row = {
        "backend": keras.backend.backend(),
        "model": name,
        "passed": False,
        "parameters_before": model.count_params(),
        "groups": len(groups),
        "shrunk": sum(map(bool, map(len, drawn[0].values()))),
        "frozen": applications.reasons(groups),
    }
    if not row["shrunk"]:
        kinds = sorted(set(groups.whole.values()))
        row["note"] = "nothing may shrink: " + "; ".join(kinds)
    elif difference(*(outputs_of(model, inputs) for _ in range(2))):
        row["note"] = "its outputs differ from call to call"
    else:
        row |= compare(model, inputs, groups, drawn, use)
    row["seconds"] = time.perf_counter() - started
    return row


def compare(model, inputs, groups, drawn, use):
    """What a removal makes of a model, beside the oracle."""
    from silencing_oracle import removed_channels, silenced_outputs

    from fritz_compress import surgery

    removed, others = (removed_channels(groups, each) for each in drawn)
    smaller = surgery.remove_filters(model, removed)
    received = outputs_of(smaller, inputs)
    wanted, control = (
        [as_floats(output) for output in silenced_outputs(model, each, inputs)]
        for each in (removed, others)
    )
    used = use(smaller, inputs, received)
    if "error" in used:
        raise RuntimeError(f"loaded elsewhere: {used['error']}")
    row = {
        "parameters_after": smaller.count_params(),
        "difference": difference(wanted, received),
        "negative_control": difference(control, received),
        "loaded_difference": used["difference"],
        "weights_moved": used["moved"],
    }
    row["passed"] = bool(
        row["difference"] < TOLERANCE
        and row["negative_control"] > 100 * TOLERANCE
        and used["difference"] < TOLERANCE
        and np.isfinite(used["loss"])
        and used["moved"] > 0.5
    )
    return row


class Elsewhere:
    """A process in which only Keras and KerasHub are at hand."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", USE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=tempfile.gettempdir(),
        )

    def __call__(self, model, inputs, outputs):
        """Loads, compares and trains a model."""
        arrays = {f"in{i}": array for i, array in enumerate(inputs)}
        arrays |= {f"out{i}": array for i, array in enumerate(outputs)}
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/smaller.keras")
            np.savez(f"{folder}/data.npz", **arrays)
            self.process.stdin.write(folder + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--csv", default=TESTS / "benchmarks/hub_backbones.csv")
    args = parser.parse_args()
    import keras
    from hub_configurations import names

    rows, use = [], Elsewhere()
    for name in args.models or names():
        try:
            row = examine(name, use)
        except Exception as error:  # A table of what works and what does not.
            row = {
                "backend": keras.backend.backend(),
                "model": name,
                "passed": False,
                "note": applications.last_line(str(error)),
            }
        applications.write(pathlib.Path(args.csv), row)
        rows.append(row)
        print(json.dumps(row), flush=True)
        keras.backend.clear_session()
    passed = sum(row["passed"] for row in rows)
    print(f"{passed} of {len(rows)} backbones equal the oracle.")


if __name__ == "__main__":
    main()
