"""The two small networks of Deep Compression, their recipes and pictures."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import fashion_mnist_data
import keras

from fritz_compress.models import LeNet5, LeNet300100

CLASSES = 10
DATASETS = ("fashion_mnist", "mnist")
# They end with logits.
lenet_300_100, lenet_5 = (
    functools.partial(
        builder.build, classes=CLASSES, classifier_activation=None
    )
    for builder in (LeNet300100, LeNet5)
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is compressed.

    Attributes:
        build: Makes it.
        learning_rate, pruning_rate, tuning_rate: Peaks of the learning rate
            of `baseline`; of `control` and `pruned`, which start from it; and
            of shared weights.
        baseline_epochs, pruned_epochs, tuned_epochs: Of `baseline`; of
            `control` and `pruned`; of `quantized` and `uniform`.
        sparsity: Zeros among the weights of all kernels.
        codebooks: The config of `quantize_weights`. From a linear start codes
            are used less evenly than those of the optimal codebook: entropy
            coded they take 5% less, for the same accuracy.
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
        pruning_rate=0.05,
        tuning_rate=3e-4,
        baseline_epochs=30,
        pruned_epochs=100,
        tuned_epochs=6,
        sparsity=0.915,
        codebooks={"nbits": 5, "mode": "kmeans", "start": "linear"},
    ),
    "lenet_5": Recipe(
        build=lenet_5,
        learning_rate=0.05,
        pruning_rate=0.03,
        tuning_rate=3e-4,
        baseline_epochs=16,
        pruned_epochs=16,
        tuned_epochs=3,
        sparsity=0.92,
        codebooks={"nbits": 5, "mode": "kmeans", "start": "linear"},
    ),
}


def load(dataset, folder):
    """The pictures of one of `DATASETS`.

    Args:
        dataset: Which.
        folder: Of Fashion-MNIST, as in `fashion_mnist_data.load`.
    """
    if dataset == "fashion_mnist":
        return fashion_mnist_data.load(folder)
    try:
        pictures = keras.datasets.mnist.load_data()
    except Exception as error:  # What Keras raises has no class of its own.
        raise SystemExit(
            f"keras.datasets cannot load MNIST: {error}. Run this where it "
            "can be downloaded, or pass --dataset fashion_mnist."
        ) from None
    return fashion_mnist_data.split(*pictures)
