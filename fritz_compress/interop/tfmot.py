"""tensorflow-model-optimization on Keras 3 models, in a process of its own.

It knows Keras 2 only, and importing it switches `tf.keras` to Keras 2. Here a
second Python does so: it gets the model and the data through a temporary
folder, trains the tf_keras twin of the model, and hands the weights back.
"""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from fritz_compress.interop.tfmot_process import (
    Training,
    check,
    run,
)


@dataclasses.dataclass(frozen=True)
class LayerOutcome:
    """What became of one layer.

    Attributes:
        name: Of the layer; `encoder_convolution` where models inside the
            model have layers of one name.
        kind: Its class.
        skipped: Why it was not compressed; empty if it was.
        sparsity: Fraction of zeros in the weights that were pruned.
        distinct: Most distinct values in one of its clustered weights.
    """

    name: str
    kind: str
    skipped: str = ""
    sparsity: float | None = None
    distinct: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """A model that tensorflow-model-optimization trained.

    Attributes:
        model: A new Keras 3 model like the one given, not compiled, with the
            trained weights.
        layers: One entry per layer with weights; after quantization-aware
            training also the layers without weights that stayed float.
        history: Loss of each epoch.
        seconds: Of the work in the other process, its start not counted.
        predictions: Outputs of the other process' model for the first
            eight inputs, flat: `model` gives the same.
        tflite: The `.tflite` file with weights and activations of 8 bits;
            only after quantization-aware training.
    """

    model: keras.Model
    layers: tuple[LayerOutcome, ...]
    history: dict[str, list[float]]
    seconds: float
    predictions: tuple[np.ndarray, ...]
    tflite: bytes | None = None

    def __str__(self):
        rows = [f"{'layer':32} {'kind':20} outcome"]
        for layer in self.layers:
            rows.append(f"{layer.name:32} {layer.kind:20} {_told(layer)}")
        return "\n".join(rows)


def prune(
    model: keras.Model,
    data: tuple[Any, Any],
    *,
    final_sparsity: float = 0.5,
    begin_step: int = 0,
    end_step: int | None = None,
    frequency: int | None = None,
    **training: Any,
) -> Outcome:
    """Zeroes the smallest weights while training, by its `PolynomialDecay`.

    Args:
        model: A Functional or a built Sequential model that
            `interop.to_tf_keras` can translate; it is not changed.
        data: Inputs and targets: arrays, or lists or dicts of them as `fit`
            takes them.
        final_sparsity: Fraction of zeros to reach in each layer, in (0, 1).
        begin_step: Optimizer steps before pruning starts.
        end_step: Step at which `final_sparsity` is reached; None for the last
            one that `frequency` meets.
        frequency: Steps between two prunings; None for about a tenth of
            them all, at most 100.
        **training: How to train: `loss` (name or object of a Keras loss, or
            names in the structure of the outputs), `optimizer="adam"`,
            `epochs=1`, `batch_size=32`, `seed=None`, `ignored_layers=()`
            (names), and `python=None`: another interpreter, one that has
            tensorflow-model-optimization and tf_keras.

    Returns: an `Outcome` whose layers say their `sparsity`.

    Raises:
        ValueError: for a model or an argument that it cannot work with,
            before anything is started; among them steps at which the final
            sparsity would never be applied.
        ImportError: without tensorflow-model-optimization.
        RuntimeError: if the other process fails, with its last lines.

    What it does not do: depthwise kernels are left dense, and `Bidirectional`
    and `TimeDistributed` layers, too; the outcome names them.
    `fritz_compress.callbacks` prunes in this process, and all of them.

    Reference: Zhu and Gupta, "To prune, or not to prune",
    https://arxiv.org/abs/1710.01878.

    Example:

    >>> outcome = prune(model, (x, y), final_sparsity=0.8, loss="mse")
    >>> outcome.model.predict(x)
    """
    settings = Training(**training)
    if not 0 < final_sparsity < 1:
        raise ValueError(
            "`final_sparsity` must be a fraction in (0, 1). Received: "
            f"{final_sparsity}."
        )
    samples = check(model, data, settings)
    steps = settings.epochs * -(-samples // settings.batch_size)
    begin, end, every = _steps(begin_step, end_step, frequency, steps)
    schedule = {
        "initial_sparsity": 0.0,
        "final_sparsity": float(final_sparsity),
        "begin_step": begin,
        "end_step": end,
        "frequency": every,
    }
    return _outcome(
        model, data, settings, {"task": "prune", "schedule": schedule}
    )


def cluster(
    model: keras.Model,
    data: tuple[Any, Any],
    *,
    number_of_clusters: int = 16,
    initialization: str = "linear",
    **training: Any,
) -> Outcome:
    """Trains weights that have few distinct values in each tensor.

    Args:
        model, data, **training: As for `prune`.
        number_of_clusters: Distinct values per tensor, at least 2.
        initialization: How its first centroids are chosen: "linear",
            "random", "density_based" or "kmeans_plus_plus".

    Returns: an `Outcome` whose layers say how many `distinct` values they
    have.

    Raises:
        As `prune`.

    What it does not do: depthwise kernels and tensors of fewer weights than
    clusters are left as they are; the outcome names them.
    """
    settings = Training(**training)
    known = ("linear", "random", "density_based", "kmeans_plus_plus")
    if initialization not in known:
        raise ValueError(
            f"`initialization` must be one of {', '.join(known)}. Received: "
            f"{initialization!r}."
        )
    if not isinstance(number_of_clusters, int) or number_of_clusters < 2:
        raise ValueError(
            "`number_of_clusters` must be a whole number of at least 2. "
            f"Received: {number_of_clusters!r}."
        )
    job = {
        "task": "cluster",
        "number_of_clusters": number_of_clusters,
        "initialization": initialization.upper(),
    }
    check(model, data, settings)
    return _outcome(model, data, settings, job)


def quantization_aware(
    model: keras.Model, data: tuple[Any, Any], **training: Any
) -> Outcome:
    """Trains with the rounding of 8 bits simulated, and converts.

    Args:
        model, data, **training: As for `prune`.

    Returns: an `Outcome` with the bytes of a `.tflite` file: int8 weights and
    activations, float inputs and outputs. Its `predictions` are those of the
    training graph with simulated rounding. Its `model` has the trained
    weights in float, without the rounding, which Keras 3 has no layers for:
    its outputs differ from both by the error of quantization.

    Raises:
        As `prune`.

    What it does not do: layers that it does not support stay float, also in
    the file; the outcome names them.

    Reference: Jacob et al., "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference",
    https://arxiv.org/abs/1712.05877.
    """
    settings = Training(**training)
    check(model, data, settings)
    return _outcome(model, data, settings, {"task": "quantize"})


def _outcome(model, data, training, task):
    result = run(model, data, training, task)
    report = result.pop("report")
    layers = tuple(LayerOutcome(**layer) for layer in report.pop("layers"))
    return Outcome(layers=layers, **report, **result)


def _steps(begin, end, frequency, steps):
    """A schedule whose last pruning is at its end, within the training."""
    if end is None:
        span = steps - begin
        frequency = frequency or max(1, min(100, span // 10))
        end = begin + max(span, 0) // frequency * frequency
    elif frequency is None:
        frequency = math.gcd(end - begin, 100)
    if not 0 <= begin < end <= steps or (end - begin) % frequency:
        raise ValueError(
            "The schedule must reach `final_sparsity` within the training: "
            f"0 <= begin_step < end_step <= {steps}, a multiple of "
            f"`frequency` apart. Received: begin_step={begin}, "
            f"end_step={end}, frequency={frequency}. Train for more steps or "
            "prune more often."
        )
    return begin, end, frequency


def _told(layer):
    if layer.skipped:
        return f"left as it was: {layer.skipped}"
    if layer.sparsity is not None:
        return f"{layer.sparsity:.1%} zeros"
    if layer.distinct is not None:
        return f"{layer.distinct} distinct values"
    return "8 bits"
