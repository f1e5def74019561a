"""The two small networks of Deep Compression, and pictures to train them on."""

import keras
from benchmarks import fashion_mnist_data
from keras import layers

CLASSES = 10
DATASETS = ("fashion_mnist", "mnist")


def lenet_300_100():
    """Two hidden dense layers: 266,200 weights and 410 biases."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(300, activation="relu", name="ip1"),
            layers.Dense(100, activation="relu", name="ip2"),
            layers.Dense(CLASSES, name="ip3"),
        ],
        name="lenet_300_100",
    )


def lenet_5():
    """Caffe's LeNet-5: 430,500 weights and 580 biases.

    As there, only the first dense layer has an activation: a convolution is
    followed by the maximum over 2x2 positions alone.
    """
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5, name="conv1"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu", name="ip1"),
            layers.Dense(CLASSES, name="ip2"),
        ],
        name="lenet_5",
    )


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
