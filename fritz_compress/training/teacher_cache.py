"""What a teacher says, written down."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fritz_compress.checks import check_model
from fritz_compress.distillation import RecordedTeacher
from fritz_compress.distillation.outputs import gives_logits
from fritz_compress.distillation.recorded import LABELS, TEACHER_OUTPUTS
from fritz_compress.training.cache_sources import StreamSource, source_of
from fritz_compress.training.cached_data import CachedDataset
from fritz_compress.training.output_cache import OutputCache

_AT_A_TIME = 1024  # Samples looked up.
_SHUFFLED = 10_000  # Samples of a stream among which the next is drawn.


class TeacherCache:
    """The outputs of a teacher on disk, as data sets. See `cache_teacher`.

    Attributes:
        count: How many samples there are.
        teacher: What stands for the teacher in a distiller.
    """

    def __init__(self, cache: OutputCache, source: Any):
        self._cache = cache
        self._source = source
        self.count = cache.count
        self.teacher = RecordedTeacher(from_logits=cache.notes)

    @property
    def outputs(self) -> np.ndarray | list[np.ndarray]:
        """The teacher's outputs for all samples, in their order."""
        return _one_or_all(self._cache.rows(np.arange(self.count))[0])

    def dataset(
        self,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        first_epoch: int = 0,
    ) -> CachedDataset | tf.data.Dataset:
        """Batches to fit a distiller with a recorded teacher on.

        Each is a pair: the inputs, and a dictionary with `"labels"`, if there
        are some, and `"teacher_outputs"`.

        Args:
            batch_size: Samples per batch. Defaults to 32.
            shuffle: Whether each epoch has an order of its own; of a
                `tf.data.Dataset` 10,000 samples are shuffled at a time.
            seed: Seed of the orders.
            first_epoch: Epochs to pass over, for a training that goes on;
                not for a `tf.data.Dataset`.
        """
        if isinstance(self._source, StreamSource):
            return self._stream(batch_size, shuffle, seed)
        return CachedDataset(
            self._cache, self._rows, batch_size, shuffle, seed, first_epoch
        )

    def _rows(self, indices):
        inputs, labels = self._source.rows(indices)
        return inputs, self._targets(labels, indices)

    def _targets(self, labels, indices):
        outputs, _ = self._cache.rows(indices)
        targets = {TEACHER_OUTPUTS: _one_or_all(outputs)}
        return targets if labels is None else {LABELS: labels, **targets}

    def _stream(self, batch_size, shuffle, seed):
        """The batches of the source, with the outputs beside them."""

        def known():
            for start in range(0, self.count, _AT_A_TIME):
                end = min(start + _AT_A_TIME, self.count)
                yield from zip(*self._cache.rows(np.arange(start, end))[0])

        signature = tuple(
            tf.TensorSpec(output.shape[1:], output.dtype)
            for output in self._cache.rows([0])[0]
        )

        def paired(sample, outputs):
            inputs, labels = sample if len(sample) == 2 else (sample[0], None)
            targets = {TEACHER_OUTPUTS: _one_or_all(list(outputs))}
            if labels is not None:
                targets[LABELS] = labels
            return inputs, targets

        outputs = tf.data.Dataset.from_generator(
            known, output_signature=signature
        )
        samples = self._source.pairs().unbatch()
        pairs = tf.data.Dataset.zip((samples, outputs)).map(paired)
        if shuffle:
            pairs = pairs.shuffle(min(self.count, _SHUFFLED), seed)
        return pairs.batch(batch_size).prefetch(2)


def cache_teacher(
    teacher: keras.Model | None,
    x: Any,
    folder: str | os.PathLike,
    y: Any = None,
    *,
    dtype: str = "float32",
    batch_size: int = 128,
    chunk_size: int = 1024,
    on_chunk: Callable[[int], None] | None = None,
) -> TeacherCache:
    """Computes what a teacher says to all samples once, and keeps it on disk.

    An epoch of distillation then costs the student alone. The outputs are in
    compressed files of `chunk_size` samples. After a kill the same call goes
    on where it was, and makes the same bytes. A folder of another teacher, of
    other data or another type is refused: all inputs and labels are hashed in
    every call, which takes one pass over them.

    Args:
        teacher: The teacher, run as at inference; `None` for a folder that is
            complete, which saves loading it.
        x: Inputs: an array (or several); a finite `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches, without random changes and in
            the same order every time.
        folder: Where to keep the outputs; made if it is missing.
        y: Labels, if `x` are arrays.
        dtype: `"float32"`, or `"float16"` for half the bytes: outputs are
            rounded to 11 bits.
        batch_size: Samples that the teacher gets at a time.
        chunk_size: Samples in a file. A folder that exists keeps the two.
        on_chunk: Called after every file with the number of samples done.

    Raises:
        TypeError, ValueError: for arguments that are not as described, a
            folder of something else, outputs that are not finite, or a
            damaged file.

    Example:

    >>> cache = cache_teacher(teacher, images, "said", labels, dtype="float16")
    >>> taught = distillation.distiller(cache.teacher, student)
    >>> taught.fit(cache.dataset(batch_size=128), epochs=30)
    """
    if teacher is not None:
        check_model(teacher, "teacher")
    source = source_of(x, y)
    cache = OutputCache(
        *(teacher, source, folder, dtype, batch_size, chunk_size, on_chunk),
        notes=_from_logits(teacher),
    )
    return TeacherCache(cache, source)


def _from_logits(teacher):
    """Whether each output is logits, `None` where that does not show."""
    try:
        return gives_logits(teacher)
    except ValueError:
        return None


def _one_or_all(arrays):
    return arrays[0] if len(arrays) == 1 else arrays
