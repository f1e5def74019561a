"""Features of a frozen network, computed once per image."""

import os
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fritz_compress.checks import check_built, check_model
from fritz_compress.distillation.pairing import symbolic_ends
from fritz_compress.graph import flatten_layers
from fritz_compress.training.cache_sources import PictureSource, source_of
from fritz_compress.training.cached_data import CachedDataset
from fritz_compress.training.output_cache import OutputCache

_TRIED = 2  # Samples that tell whether training changes a base.


class FeatureCache:
    """The features of all images on disk, as data sets. See `cache_features`.

    Attributes:
        count: How many images there are.
        class_names: Names of the classes by their number, for a folder.
    """

    def __init__(self, cache: OutputCache, class_names: tuple[str, ...] = ()):
        self._cache = cache
        self.count = cache.count
        self.class_names = class_names

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of the features of one image, for the `Input` of a head."""
        (features,), _ = self._cache.rows([0])
        return features.shape[1:]

    @property
    def features(self) -> np.ndarray:
        """The features of all images, in their order."""
        return self._rows(np.arange(self.count))[0]

    @property
    def labels(self) -> np.ndarray | None:
        """The labels of all images, `None` if there are none."""
        rows = self._rows(np.arange(self.count))
        return rows[1] if len(rows) > 1 else None

    def dataset(
        self,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        first_epoch: int = 0,
        indices: Any = None,
    ) -> CachedDataset:
        """Batches of features, and labels if there are some, for a head.

        Args:
            batch_size: Images per batch. Defaults to 32.
            shuffle: Whether each epoch has an order of its own.
            seed: Seed of the orders.
            first_epoch: Epochs to pass over, for a training that goes on.
            indices: Numbers of the images, such as those to train on; all by
                default.
        """
        return CachedDataset(
            *(self._cache, self._rows, batch_size, shuffle, seed, first_epoch),
            indices=indices,
        )

    def _rows(self, indices):
        (features,), labels = self._cache.rows(indices)
        return (features, *labels)


def cache_features(
    base: keras.Model,
    images: Any,
    folder: str | os.PathLike,
    labels: Any = None,
    *,
    preprocess: Callable[[np.ndarray], np.ndarray] | None = None,
    image_size: tuple[int, int] | None = None,
    dtype: str = "float32",
    batch_size: int = 32,
    chunk_size: int = 256,
    on_chunk: Callable[[int], None] | None = None,
) -> FeatureCache:
    """Computes the features of a frozen network once, and keeps them on disk.

    A new head is then trained on them, at the cost of the head alone:
    bottleneck features, as in the retraining of flowers that Google published
    with TensorFlow. `join_head` makes one model of both.

    Files are written, resumed and refused as by `cache_teacher`.

    Args:
        base: A model with one output, which computes in training what it
            computes at inference: batch normalizations frozen, no dropout.
        images: An array, or a data set as in `cache_teacher`; or a folder of
            photos with a folder for each class.
        folder: Where to keep the features; made if it is missing.
        labels: Labels, if `images` is an array.
        preprocess: For a folder: called with batches of pixels in `[0, 255]`,
            returns what the base takes, such as
            `keras.applications.mobilenet_v2.preprocess_input`.
        image_size: For a folder: `(height, width)` in pixels. Defaults to
            that of the base.
        dtype, batch_size, chunk_size, on_chunk: As of `cache_teacher`.

    Raises:
        TypeError, ValueError: as `cache_teacher`; for a base that computes
            something else in training, with the layers that may be why; for a
            photo that is not one.

    Reference: Donahue et al., "DeCAF: A Deep Convolutional Activation Feature
    for Generic Visual Recognition", https://arxiv.org/abs/1310.1531.

    Example:

    >>> cache = cache_features(base, "flower_photos", "features")
    >>> head = keras.Sequential([keras.Input(cache.feature_shape),
    ...                          keras.layers.Dense(len(cache.class_names))])
    >>> head.compile("adam", SparseCategoricalCrossentropy(from_logits=True))
    >>> head.fit(cache.dataset(), epochs=20)
    >>> join_head(base, head).save("flowers.keras")
    """
    check_model(base, "base")
    check_built(base)
    if len(base.outputs) != 1:
        raise ValueError(
            f"`base` must have one output. Received: '{base.name}' with "
            f"{len(base.outputs)}. Choose one with `keras.Model`."
        )
    source = _source(base, images, labels, preprocess, image_size)
    _check_same_in_training(base, source)
    cache = OutputCache(
        base, source, folder, dtype, batch_size, chunk_size, on_chunk
    )
    return FeatureCache(cache, getattr(source, "class_names", ()))


def join_head(
    base: keras.Model, head: keras.Model, name: str | None = None
) -> keras.Model:
    """One model of a frozen base and the head that was trained on it.

    It shares the layers of both. As long as the base is frozen, the model can
    be trained on: what it makes of an image is what was cached.

    Args:
        base: The model whose features were cached.
        head: A model from features to outputs.
        name: Name of the model.

    Raises:
        TypeError: for what is no model.
        ValueError: if the head takes features of another shape.
    """
    check_model(base, "base")
    check_model(head, "head")
    made, taken = base.output_shape[1:], head.input_shape[1:]
    if len(made) != len(taken) or any(
        None not in sizes and sizes[0] != sizes[1] for sizes in zip(made, taken)
    ):
        raise ValueError(
            f"Head '{head.name}' must take what base '{base.name}' makes, "
            f"features of shape {made}. Received: a head for {taken}."
        )
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype
        ),
        symbolic_ends(base)[0],
    )
    return keras.Model(inputs, head(base(inputs)), name=name)


def _source(base, images, labels, preprocess, image_size):
    if not isinstance(images, (str, os.PathLike)):
        if preprocess is not None or image_size is not None:
            raise ValueError(
                "`preprocess` and `image_size` are for a folder of photos. "
                "Received: images that are read already. Preprocess them."
            )
        return source_of(images, labels)
    if labels is not None:
        raise ValueError(
            "Labels of a folder are the folders inside. Received: `labels` "
            f"beside '{pathlib.Path(images)}'."
        )
    size = image_size or tuple(base.input_shape[1:3])
    if len(size) != 2 or None in size:
        raise ValueError(
            f"Base '{base.name}' takes images of any size. Pass "
            "`image_size=(height, width)`."
        )
    return PictureSource(images, size, preprocess)


def _check_same_in_training(base, source):
    """Whether features are those that a whole model would train on.

    Raises:
        ValueError: if they are not, with the layers that may be why.
    """
    chunk = next(iter(source.chunks(_TRIED)), None)
    if chunk is None:
        return
    inputs, _ = chunk.load()
    with keras.StatelessScope():  # Nothing that moves is kept.
        fixed, moved = (
            keras.ops.convert_to_numpy(base(inputs, training=training))
            for training in (False, True)
        )
    if np.allclose(fixed, moved, rtol=1e-4, atol=1e-5):
        return
    names = [layer.name for layer in flatten_layers(base) if _moves(layer)]
    raise ValueError(
        f"Base '{base.name}' computes something else in training, so that "
        "cached features are not what it would make. Received: "
        f"{', '.join(names[:5]) or 'layers of its own'}. Freeze it with "
        "`base.trainable = False`, and build it without dropout and random "
        "layers."
    )


def _moves(layer):
    """Whether a layer is likely to do something else in training."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.trainable
    return hasattr(layer, "seed_generator") or hasattr(layer, "generator")
