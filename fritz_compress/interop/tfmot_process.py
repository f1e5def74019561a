"""The process in which tensorflow-model-optimization runs, from outside."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from fritz_compress.graph import is_graph
from fritz_compress.interop.plans import plan_to_tf_keras
from fritz_compress.surgery.names import find_layer

SAMPLES = 8  # Inputs whose outputs the other process reports.
_NEEDED = "tensorflow_model_optimization"
_REMEDY = (
    "Install it with `pip install fritz_compress[tfmot]`, or name an "
    "interpreter that has it and tf_keras with `python=`."
)
_LAST_LINES = 12
_PACKAGE = pathlib.Path(__file__).parents[1]
# Runs this very package, whatever the other interpreter has installed.
_START = """
import importlib.util, sys
path, folder = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "fritz_compress", path + "/__init__.py", submodule_search_locations=[path]
)
package = importlib.util.module_from_spec(spec)
sys.modules["fritz_compress"] = package
spec.loader.exec_module(package)
from fritz_compress.interop import tfmot_child
tfmot_child.main(folder)
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How the other process trains.

    Attributes:
        loss: Name or object of a Keras loss, or a list or dict of names, one
            per output.
        optimizer: Name or object of a Keras optimizer.
        epochs: Passes over the data.
        batch_size: Samples of a step.
        seed: For the order of the data and dropout; None for any.
        ignored_layers: Names of layers to leave as they are.
        python: The interpreter; None for the one that runs.
    """

    loss: Any
    optimizer: Any = "adam"
    epochs: int = 1
    batch_size: int = 32
    seed: int | None = None
    ignored_layers: Sequence[str] = ()
    python: str | os.PathLike | None = None

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a whole number of at least 1. "
                    f"Received: {value!r}."
                )
        if isinstance(self.ignored_layers, str):
            raise TypeError(
                "`ignored_layers` must be a sequence of names. Received: the "
                f"string '{self.ignored_layers}'. Write "
                f"['{self.ignored_layers}']."
            )

    def job(self) -> dict[str, Any]:
        """What the other process reads of it.

        Raises:
            TypeError: for a loss or an optimizer that it cannot read.
        """
        return {
            "loss": _described(self.loss, "loss"),
            "optimizer": _described(self.optimizer, "optimizer"),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "ignored_layers": list(self.ignored_layers),
        }


def check(model: keras.Model, data: Any, training: Training) -> int:
    """What must hold before another process is started.

    Returns: the number of samples.

    Raises:
        TypeError: for data that is not a pair of arrays.
        ValueError: for a model that tf_keras does not have, an unknown layer,
            or arrays that do not go together.
        ImportError: if this interpreter is to be used and lacks a package.
    """
    graph, _ = plan_to_tf_keras(model)
    for node in graph.nodes:
        if is_graph(getattr(node.operation, "layer", None)):
            raise ValueError(
                f"Layer '{node.operation.name}' ({node.kind}) must not hold a "
                "model, as tensorflow-model-optimization cannot look inside. "
                "Received: one. Distribute its layers one by one."
            )
    for name in training.ignored_layers:
        find_layer(model, name)
    x, y = _arrays(data)
    lengths = {len(array) for array in tree.flatten((x, y))}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "`data` must have as many targets as inputs, at least one. "
            f"Received: arrays of {sorted(lengths)} samples."
        )
    if training.python is None and importlib.util.find_spec(_NEEDED) is None:
        raise ImportError(
            f"This needs tensorflow-model-optimization. {_REMEDY}"
        )
    return lengths.pop()


def run(
    model: keras.Model, data: Any, training: Training, task: dict[str, Any]
) -> dict[str, Any]:
    """Hands a checked job to another process and reads its results.

    Returns: `model`, `report` (as it was written), `predictions` and
    `tflite`.

    Raises:
        ImportError: if the other interpreter lacks a package.
        RuntimeError: if the process fails.
    """
    job = training.job() | task
    parts = dict(zip("xy", _arrays(data)))
    parts["sample"] = tree.map_structure(lambda a: a[:SAMPLES], parts["x"])
    arrays = {}
    for part, structure in parts.items():
        flat = tree.flatten(structure)
        keys = [f"{part}{index}" for index in range(len(flat))]
        arrays |= dict(zip(keys, flat))
        job[part] = tree.pack_sequence_as(structure, keys)
    with tempfile.TemporaryDirectory(prefix="fritz_compress-") as folder:
        folder = pathlib.Path(folder)
        model.save(folder / "model.keras", include_optimizer=False)
        np.savez(folder / "data.npz", **arrays)
        (folder / "job.json").write_text(json.dumps(job))
        _start(training.python or sys.executable, folder)
        return _read(folder / "result")


def _start(python, folder):
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "TF_USE_LEGACY_KERAS": "1",
    }
    try:
        done = subprocess.run(
            [python, "-P", "-c", _START, str(_PACKAGE), str(folder)],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise RuntimeError(
            f"'{python}' cannot be started: {error}. `python=` must name a "
            "Python interpreter."
        ) from error
    if done.returncode == 0 and (folder / "result").is_dir():
        return
    lines = done.stderr.rstrip().splitlines()
    if lines and lines[-1].startswith("ModuleNotFoundError"):
        raise ImportError(f"'{python}' has {lines[-1]}. {_REMEDY}")
    raise RuntimeError(
        "tensorflow-model-optimization failed in its process, which ended "
        f"with {done.returncode}. Its last lines:\n"
        + "\n".join(lines[-_LAST_LINES:])
    )


def _read(result):
    with np.load(result / "predictions.npz") as arrays:
        predictions = tuple(arrays.values())
    tflite = result / "model.tflite"
    return {
        "model": keras.saving.load_model(result / "model.keras"),
        "report": json.loads((result / "report.json").read_text()),
        "predictions": predictions,
        "tflite": tflite.read_bytes() if tflite.exists() else None,
    }


def _arrays(data):
    """The pair of data, with arrays at its leaves."""
    if not isinstance(data, (list, tuple)) or len(data) != 2:
        raise TypeError(
            "`data` must be a pair of inputs and targets, each an array or a "
            f"list or dict of arrays. Received: {type(data).__name__}. Read "
            "datasets and generators into arrays first."
        )
    pair = tuple(tree.map_structure(np.asarray, part) for part in data)
    for array in tree.flatten(pair):
        if array.dtype == object or not array.ndim:
            raise TypeError(
                "`data` must hold arrays of numbers, samples along the first "
                f"axis. Received: dtype {array.dtype}, shape {array.shape}."
            )
    return pair


def _described(value, name):
    """A loss or an optimizer in JSON."""
    if isinstance(value, (list, tuple)):
        return [_described(entry, name) for entry in value]
    if isinstance(value, dict):
        return {key: _described(entry, name) for key, entry in value.items()}
    if isinstance(value, str):
        return value
    kinds = (keras.losses.Loss, keras.optimizers.Optimizer)
    own = type(value).__module__.split(".")[0] != "keras"
    if own or not isinstance(value, kinds):
        raise TypeError(
            f"`{name}` must be the name or an object of a {name} of Keras, "
            "which another process can read. Received: "
            f"{type(value).__name__}. Pass a string such as 'mse' or 'adam'."
        )
    config = {
        key: entry
        for key, entry in value.get_config().items()
        if key not in _ONLY_KERAS
    }
    return {"class_name": type(value).__name__, "config": config}


# Arguments that tf_keras does not have; the defaults change nothing.
_ONLY_KERAS = ("dtype", "gradient_accumulation_steps", "loss_scale_factor")
