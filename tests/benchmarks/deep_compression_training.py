"""Trainings that can be killed, soft targets, and the step of a grid."""

import dataclasses
import pathlib
import time

import keras
import numpy as np
from deep_compression_networks import CLASSES, Recipe
from keras import ops

from fritz_compress.files import whole_file
from fritz_compress.training import warmup_cosine
from fritz_compress.training.backup import EpochBackup

BATCH = 250
WEIGHT_DECAY = 1e-3
TEMPERATURE = 2  # That the baseline's outputs are divided by.
SOFT = 0.8  # Weight of the baseline's outputs, beside the labels'.
MIXUP = 0.3  # Of `control` and `pruned`.
# Steps of `uniform`, in standard deviations of the kept weights, and how far
# its outputs may be from those of `pruned`, in nats, before levels are trained.
STEPS = (1, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)
DIVERGENCE = 0.004


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

    def train(
        self, stage, start, targets, epochs, optimizer, mixup=0, extra=()
    ):
        """Trains what `start` returns, unless that was done before.

        Args:
            stage: Name of the files.
            start: Returns a model; called where there is no result yet.
            targets: Probabilities `(images, classes)` to learn.
            epochs: How many.
            optimizer: Called with the number of steps.
            mixup: See `batches`.
            extra: Callbacks.
        """
        done = self.work / f"{stage}.keras"
        if done.exists():
            return
        print(f"{stage}:", flush=True)
        keras.utils.set_random_seed(self.seed)
        model = start()
        model.compile(
            optimizer(epochs * self.steps_per_epoch),
            keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False,  # XLA takes four times as long on a CPU here.
        )
        backup = EpochBackup(self.work / stage, self.steps_per_epoch)
        first_epoch = backup.restore(model)
        model.fit(
            batches(self.data.train, targets, self.seed, first_epoch, mixup),
            initial_epoch=first_epoch,
            epochs=epochs,
            steps_per_epoch=self.steps_per_epoch,
            validation_data=(
                self.data.validation,
                one_hot(self.data.validation_labels),
            ),
            validation_batch_size=500,
            shuffle=False,  # The batches are shuffled already.
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
        return len(self.data.train) // BATCH


def batches(images, targets, seed, first_epoch=0, mixup=0):
    """Batches without end, each epoch in an order of its own.

    With `mixup` they are mixed with themselves in another order, images and
    targets alike, by a share from Beta(mixup, mixup) for each batch (Zhang et
    al. 2017, https://arxiv.org/abs/1710.09412).

    `fit` on arrays takes the same order in every epoch once Keras has a seed
    (TensorFlow backend): that costs these networks half a point.
    """
    epoch = first_epoch
    while True:
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(images))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            others = random.permutation(chosen)
            share = np.float32(random.beta(mixup, mixup) if mixup else 1)
            yield tuple(
                share * array[chosen] + (1 - share) * array[others]
                for array in (images, targets)
            )
        epoch += 1


def momentum(rate):
    """For single weights: makes the optimizer for so many steps."""
    return lambda steps: keras.optimizers.SGD(
        warmup_cosine(rate, steps),
        momentum=0.9,
        nesterov=True,
        weight_decay=WEIGHT_DECAY,
    )


def adaptive(rate):
    """For shared values, whose gradients are sums of up to thousands."""
    return lambda steps: keras.optimizers.Adam(warmup_cosine(rate, steps))


def one_hot(labels):
    return np.eye(CLASSES, dtype="float32")[labels]


def softened(teacher, data):
    """The labels, mixed with what a network says about the images."""
    logits = teacher.predict(data.train, batch_size=500, verbose=0)
    soft = ops.convert_to_numpy(ops.softmax(logits / TEMPERATURE))
    return (1 - SOFT) * one_hot(data.train_labels) + SOFT * soft


def rounded(model, step):
    """The model given, its kernels at the nearest multiples of a step."""
    for weight in model.weights:
        if len(weight.shape) > 1:
            levels = np.rint(ops.convert_to_numpy(weight) / step)
            weight.assign(levels * np.float32(step))
    return model


def choose_step(model, images):
    """The largest step of a grid that hardly changes what a model says.

    One for all kernels: with entropy coding that is best where errors of all
    weights matter alike.

    Args:
        model: A pruned model. Its weights are put back.
        images: Some that it was not trained on.
    """
    weights = model.get_weights()
    kept = np.concatenate([w[w != 0] for w in weights if w.ndim > 1])
    before = log_probabilities(model, images)
    for share in STEPS:
        step = short(share * kept.std())
        after = log_probabilities(rounded(model, step), images)
        model.set_weights(weights)
        apart = (np.exp(before) * (before - after)).sum(axis=1).mean()
        print(f"step {step:.4f}: {apart:.5f} nats apart", flush=True)
        if apart <= DIVERGENCE:
            break
    return step


def short(number):
    """The nearest float of 8 bits: its small multiples are exact."""
    mantissa, exponent = np.frexp(number)
    return float(np.ldexp(np.rint(mantissa * 256), exponent - 8))


def log_probabilities(model, images):
    scores = model.predict(images, batch_size=500, verbose=0)
    return ops.convert_to_numpy(ops.log_softmax(scores))
