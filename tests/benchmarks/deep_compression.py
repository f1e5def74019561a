"""Deep Compression of LeNet-300-100 and LeNet-5, on Fashion-MNIST.

    python tests/benchmarks/deep_compression.py lenet_300_100 --work FOLDER
    python tests/benchmarks/deep_compression.py lenet_5       --work FOLDER
    python tests/benchmarks/deep_compression.py plot

The stages of Han et al. 2015 (https://arxiv.org/abs/1510.00149), each from
the one before:

- `baseline` trains the network.
- `control` trains it on, unpruned, just as `pruned` does: the fairer
  baseline.
- `pruned` zeroes its smallest weights with `callbacks.MagnitudePruning`
  while it trains on.
- `quantized` lets the weights of each kernel share the few numbers of a
  codebook (`quantize_weights`) and trains these numbers
  (`callbacks.CodebookFineTuning`).
- `coded` is what `save_compressed` makes of it.

And, after Choi et al. 2017 (https://arxiv.org/abs/1612.01543), from `pruned`:

- `uniform` rounds all kernels to multiples of one step, which entropy coding
  likes better than the best codebook, and trains the levels.
- `uniform_coded` is what `save_compressed` makes of it.

From `control` on, networks learn the labels together with what the baseline
says, softened (Hinton et al. 2015). Each network's rows go into
`deep_compression.csv`, from which `plot` draws `deep_compression.png`. A
command that was killed goes on where it was when it is given the same
`--work`. Everything that was chosen was chosen on 5,000 training images that
are held out; a run looks at the test set once, at its end.
"""

import argparse
import dataclasses
import math
import pathlib
import sys
import time
from collections.abc import Callable, Mapping

import keras
import numpy as np
from keras import ops

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from benchmarks import deep_compression_results as results  # noqa: E402
from benchmarks.deep_compression_networks import (  # noqa: E402
    CLASSES,
    DATASETS,
    lenet_5,
    lenet_300_100,
    load,
)
from benchmarks.fashion_mnist_results import accuracy  # noqa: E402

import fritz_compress as fc  # noqa: E402
from fritz_compress import callbacks  # noqa: E402
from fritz_compress.files import whole_file  # noqa: E402
from fritz_compress.training import warmup_cosine  # noqa: E402
from fritz_compress.training.backup import EpochBackup  # noqa: E402

BATCH = 250
WEIGHT_DECAY = 1e-3
TEMPERATURE = 3  # That the baseline's outputs are divided by.
SOFT = 0.9  # Weight of the baseline's outputs, beside the labels'.
# Of `uniform`, in standard deviations of the kept weights; how much the loss
# may rise before the levels are trained.
STEPS = (1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
LOSS_RISE = 0.02


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is compressed.

    Attributes:
        build: Makes it.
        learning_rate, pruning_rate, tuning_rate: Peaks of the learning rate
            of `baseline`; of `control` and `pruned`, low enough to stay near
            the baseline; and of shared weights.
        baseline_epochs, pruned_epochs, tuned_epochs: Of `baseline`; of
            `control` and `pruned`; of `quantized` and `uniform`.
        sparsity: Zeros among the weights of all kernels.
        codebooks: The config of `quantize_weights`.
    """

    build: Callable[[], keras.Model]
    learning_rate: float
    pruning_rate: float
    tuning_rate: float
    baseline_epochs: int
    pruned_epochs: int
    tuned_epochs: int
    sparsity: float
    codebooks: Mapping[str, Mapping]


RECIPES = {
    "lenet_300_100": Recipe(
        build=lenet_300_100,
        learning_rate=0.1,
        pruning_rate=0.03,
        tuning_rate=1e-3,
        baseline_epochs=30,
        pruned_epochs=30,
        tuned_epochs=8,
        sparsity=0.92,
        codebooks={"nbits": 5, "mode": "kmeans"},
    ),
    "lenet_5": Recipe(
        build=lenet_5,
        learning_rate=0.05,
        pruning_rate=0.02,
        tuning_rate=1e-3,
        baseline_epochs=14,
        pruned_epochs=14,
        tuned_epochs=3,
        sparsity=0.93,
        codebooks={
            "global_config": {"nbits": 5, "mode": "kmeans"},
            "layer_type_configs": {"Conv2D": {"nbits": 6, "mode": "kmeans"}},
        },
    ),
}


class Stopwatch(keras.callbacks.Callback):
    """Adds up the seconds of all epochs in a file, past a kill too."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        seconds = self.read(self.path) + time.monotonic() - self.begin
        self.path.write_text(f"{seconds:.1f}")

    @staticmethod
    def read(path):
        return float(path.read_text()) if path.exists() else 0.0


@dataclasses.dataclass(frozen=True)
class Run:
    """One network on its way through the stages."""

    network: str
    recipe: Recipe
    data: object
    work: pathlib.Path
    seed: int

    def model(self, stage):
        """What a stage has left in the folder."""
        return keras.models.load_model(self.work / f"{stage}.keras")

    def seconds(self, stage):
        """How long it has trained."""
        return Stopwatch.read(self.work / f"{stage}.seconds")

    def train(self, stage, start, targets, epochs, rate, decay=0, extra=()):
        """Trains what `start` returns, unless that was done before.

        Args:
            stage: Name of the files.
            start: Returns a model; called where there is no result yet.
            targets: Probabilities `(images, classes)` to learn.
            epochs: How many, along one cosine.
            rate: Peak of the learning rate.
            decay: Weight decay.
            extra: Callbacks.
        """
        done = self.work / f"{stage}.keras"
        if done.exists():
            return
        print(f"{stage}:", flush=True)
        keras.utils.set_random_seed(self.seed)
        model = compiled(start(), rate, epochs * self.steps_per_epoch, decay)
        backup = EpochBackup(self.work / stage, self.steps_per_epoch)
        model.fit(
            self.data.train,
            targets,
            batch_size=BATCH,
            initial_epoch=backup.restore(model),
            epochs=epochs,
            validation_data=(
                self.data.validation,
                one_hot(self.data.validation_labels),
            ),
            validation_batch_size=500,
            callbacks=[
                *extra,
                Stopwatch(self.work / f"{stage}.seconds"),
                backup,
            ],
            verbose=2,
        )
        with whole_file(done) as unfinished:
            model.save(unfinished)

    @property
    def steps_per_epoch(self):
        return math.ceil(len(self.data.train) / BATCH)


def compiled(model, rate, steps, decay):
    model.compile(
        keras.optimizers.SGD(
            warmup_cosine(rate, steps),
            momentum=0.9,
            nesterov=True,
            weight_decay=decay,
        ),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # On a CPU, XLA takes four times as long here.
    )
    return model


def one_hot(labels):
    return np.eye(CLASSES, dtype="float32")[labels]


def softened(teacher, data):
    """The labels, mixed with what a network says about the images."""
    logits = teacher.predict(data.train, batch_size=500, verbose=0)
    soft = ops.convert_to_numpy(ops.softmax(logits / TEMPERATURE))
    return (1 - SOFT) * one_hot(data.train_labels) + SOFT * soft


def pruning(run):
    """Zeros appear over the first half of the epochs, then stay."""
    steps = run.steps_per_epoch
    return callbacks.MagnitudePruning(
        run.recipe.sparsity,
        end_step=max(run.recipe.pruned_epochs // 2, 1) * steps,
        frequency=max(steps // 4, 1),
        scope="global",
    )


def rounded(model, step):
    """The model given, its kernels at the nearest multiples of a step."""
    for weight in model.weights:
        if len(weight.shape) > 1:
            levels = np.rint(ops.convert_to_numpy(weight) / step)
            weight.assign(levels * np.float32(step))
    return model


def choose_step(model, data):
    """The largest step that hardly raises the loss on held-out images.

    One for all kernels: with entropy coding that is best where errors of all
    weights matter alike.
    """
    weights = model.get_weights()
    kept = np.concatenate([w[w != 0] for w in weights if w.ndim > 1])
    limit = (1 + LOSS_RISE) * held_out_loss(model, data)
    for share in STEPS:
        step = float(share * kept.std())
        loss = held_out_loss(rounded(model, step), data)
        model.set_weights(weights)
        if loss <= limit:
            break
    print(f"step {step:.4f}: {share} deviations of the weights", flush=True)
    return step


def held_out_loss(model, data):
    scores = model.predict(data.validation, batch_size=500, verbose=0)
    losses = keras.losses.sparse_categorical_crossentropy(
        data.validation_labels, scores, from_logits=True
    )
    return float(ops.mean(losses))


def compress(run):
    """Trains all stages that are not there yet."""
    recipe = run.recipe
    labels = one_hot(run.data.train_labels)
    run.train(
        "baseline",
        recipe.build,
        labels,
        recipe.baseline_epochs,
        recipe.learning_rate,
        WEIGHT_DECAY,
    )
    soft = softened(run.model("baseline"), run.data)

    def baseline():
        return run.model("baseline")

    def quantized():
        model = run.model("pruned")
        return fc.quantize_weights(model, recipe.codebooks)[0]

    def uniform():
        model = run.model("pruned")
        return rounded(model, choose_step(model, run.data))

    longer = (soft, recipe.pruned_epochs, recipe.pruning_rate, WEIGHT_DECAY)
    run.train("pruned", baseline, *longer, extra=[pruning(run)])
    tuned = (soft, recipe.tuned_epochs, recipe.tuning_rate)
    for start in (quantized, uniform):
        tuning = callbacks.CodebookFineTuning()
        run.train(start.__name__, start, *tuned, extra=[tuning])
    run.train("control", baseline, *longer)


def packed(run, stage):
    """What a stage's file holds once it is read back; its size; seconds."""
    begin = time.monotonic()
    model = run.model(stage)
    path = run.work / f"{stage}.fc"
    report = fc.save_compressed(model, path)
    loaded = fc.load_compressed(path)
    seconds = time.monotonic() - begin
    for weight, other in zip(model.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(weight, other)
    print(report, flush=True)
    return loaded, results.coded_size(loaded, report), seconds


def measured(run):
    """Stage, model, size and seconds, for all stages."""
    for stage, size in results.UNCODED.items():
        model = run.model(stage)
        yield stage, model, size(model), run.seconds(stage)
        if stage in results.CODED:
            yield results.CODED[stage], *packed(run, stage)


def table(run, dataset):
    """The rows of all stages. Looks at the test set."""
    data, rows = run.data, []
    for stage, model, size, seconds in measured(run):
        held_out = accuracy(model, data.validation, data.validation_labels)
        rows.append(
            {
                "network": run.network,
                "dataset": dataset,
                "stage": stage,
                **results.columns(model, size),
                "validation_accuracy": round(held_out, 4),
                "test_accuracy": accuracy(model, data.test, data.test_labels),
                "seconds": round(seconds),
                "seed": run.seed,
            }
        )
    return results.with_losses(rows)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", choices=[*RECIPES, "plot"])
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default="deep_compression")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    if args.run == "plot":
        results.plot()
        return
    work = pathlib.Path(args.work) / args.dataset / args.run
    work.mkdir(parents=True, exist_ok=True)
    data = load(args.dataset, args.data)
    run = Run(args.run, RECIPES[args.run], data, work, args.seed)
    compress(run)
    results.record(table(run, args.dataset))


if __name__ == "__main__":
    main()
