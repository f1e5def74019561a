"""Fashion-MNIST in batches: cropped and mirrored for training."""

import dataclasses
import gzip
import pathlib

import keras
import numpy as np

DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")
HELD_OUT = 5000
PADDING = 2  # pixels on each side, before a crop of the original size


def load(folder):
    """The images in `folder`, of Debian's package, or of keras.datasets.

    Args:
        folder: Where the four `.gz` files lie. `None` looks for those of the
            package `dataset-fashion-mnist`, then asks Keras to download them.
    """
    if folder is None and not DEBIAN.is_dir():
        return split(*keras.datasets.fashion_mnist.load_data())
    train = _read(folder or DEBIAN, "train")
    return split(train, _read(folder or DEBIAN, "t10k"))


def split(train, test):
    """Holds 5,000 of the training images out, and scales them all.

    Args:
        train, test: Images `(count, 28, 28)` of bytes, and their labels.
    """
    images, labels = train
    # The same images whatever the seed of a training: it is chosen once.
    order = np.random.default_rng(0).permutation(len(images))
    held_out, kept = order[:HELD_OUT], order[HELD_OUT:]
    mean, deviation = images[kept].mean(), images[kept].std()

    def scaled(pictures):
        return ((pictures[..., None] - mean) / deviation).astype("float32")

    return FashionMNIST(
        train=scaled(images[kept]),
        train_labels=labels[kept].astype("int32"),
        validation=scaled(images[held_out]),
        validation_labels=labels[held_out].astype("int32"),
        test=scaled(test[0]),
        test_labels=test[1].astype("int32"),
    )


@dataclasses.dataclass(frozen=True)
class FashionMNIST:
    """Images `(count, 28, 28, 1)` of mean 0 and deviation 1, and labels."""

    train: np.ndarray
    train_labels: np.ndarray
    validation: np.ndarray
    validation_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    def batches(self, size, seed, first_epoch=0):
        """Batches without end, each epoch with its own order and crops."""
        around = ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0))
        padded = np.pad(self.train, around, constant_values=self.train.min())
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, self.train.shape[1:3], axis=(1, 2)
        )  # (count, top, left, 1, 28, 28)
        epoch = first_epoch
        while True:
            random = np.random.default_rng([seed, epoch])
            order = random.permutation(len(self.train))
            for start in range(0, len(order) - size + 1, size):
                chosen = order[start : start + size]
                corners = random.integers(0, 2 * PADDING + 1, (2, size))
                crops = windows[chosen, *corners, 0]
                mirrored = random.random(size) < 0.5
                crops[mirrored] = crops[mirrored, :, ::-1]
                yield crops[..., None], self.train_labels[chosen]
            epoch += 1

    def fit(self, model, images, epochs, batch_size, seed):
        """Trains on the first images, in an order of its own in each epoch.

        The same batches come for the same seed, whatever the model. (`fit`
        shuffles alike in every epoch after `set_random_seed`.)
        """
        orders = np.random.default_rng(seed)
        for _ in range(epochs):
            order = orders.permutation(images)
            order = order[: images // batch_size * batch_size]
            model.fit(
                self.train[order],
                self.train_labels[order],
                batch_size=batch_size,
                shuffle=False,
                verbose=0,
            )


def _read(folder, name):
    parts = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        path = folder / f"{name}-{kind}-ubyte.gz"
        if not path.is_file():
            raise SystemExit(f"There is no '{path}'.")
        with gzip.open(path) as file:
            parts.append(np.frombuffer(file.read(), "uint8", offset=header))
    images, labels = parts
    return images.reshape(-1, 28, 28), labels
