"""Photos from a folder, as random crops in `tf.data`."""

import copy
import functools
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
CACHE_BYTES = 500_000_000  # Decoded photos kept in memory, at most.


class Photos:
    """The photos of a folder, or the ones that come with installed packages.

    Every file is decoded once when the object is made, so that a broken one
    is known before training starts and not in the middle of it.

    Args:
        folder: Folder with JPEG, PNG or WebP files, searched with its
            subfolders. `None` (the default) means the color photos inside
            scikit-image and scikit-learn, without `china` and `chelsea`,
            which are kept for judging.
        skip_broken: Whether to leave out files that can not be decoded, with
            a warning that counts them, rather than to raise. Defaults to
            `False`.
        exclude: File names without ending to leave out, such as held-out
            photos.
        progress: Called with the list of files, returns them one by one, such
            as a progress bar for a large folder. Defaults to `iter`.

    Attributes:
        names: Name of each photo.
        broken: Paths of the files skipped.

    Raises:
        ValueError: for a folder that does not exist or holds no photo, or a
            file that can not be decoded; the error names it.
    """

    def __init__(
        self,
        folder: str | os.PathLike | None = None,
        skip_broken: bool = False,
        exclude: Sequence[str] = (),
        progress: Callable[[list], Iterable] = iter,
    ):
        if isinstance(exclude, str):
            raise ValueError(
                "`exclude` must be a list of file names. Received: the string "
                f"'{exclude}'. Pass ['{exclude}']."
            )
        self.broken: list[pathlib.Path] = []
        if folder is None:
            sources = _installed_photos()
        else:
            files = photo_files(folder)
            sources = _readable(files, skip_broken, self.broken, progress)
        self._sources = {
            name: source
            for name, source in sources.items()
            if pathlib.PurePath(name).stem not in exclude
        }
        if not self._sources:
            raise ValueError(
                f"No photo was found in '{folder}'. Expected files ending in "
                f"{', '.join(SUFFIXES)}; {len(self.broken)} were broken and "
                f"{len(exclude)} names excluded."
            )
        self._index()

    def __add__(self, other: "Photos") -> "Photos":
        """The photos of both; a name that both have gets a number."""
        both = copy.copy(self)
        both.broken = self.broken + other.broken
        both._sources = dict(self._sources)
        for name, source in other._sources.items():
            both._sources[_unused(name, both._sources)] = source
        both._index()
        return both

    def _index(self):
        self.names = tuple(self._sources)
        largest = max(map(_decoded_bytes, self._sources.values()))
        count = max(1, CACHE_BYTES // largest)
        self._decoded = functools.lru_cache(maxsize=count)(self._decode)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        return self._decoded(index)

    def _decode(self, index):
        source = self._sources[self.names[index]]
        return source() if callable(source) else read_photo(source)

    def crop(self, index: int, size: int, seed: int) -> np.ndarray:
        """A random crop, fixed by its arguments, of shape `(size, size, 3)`.

        `index` counts crops from the start of training: every photo is used
        once before any is used again, in another order each time.

        The side of the square cut out is drawn log-uniformly between `size`
        and the short side of the photo, its place uniformly, and it is
        flipped left to right half of the times.
        """
        epoch, position = divmod(index, len(self))
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        photo = self[int(order[position])]
        rng = np.random.default_rng([seed, index, 1])
        longest = min(photo.size)
        shortest = min(size, longest)
        side = shortest * (longest / shortest) ** rng.uniform()
        left = rng.uniform(0, photo.width - side)
        top = rng.uniform(0, photo.height - side)
        crop = photo.resize(
            (size, size),
            Image.Resampling.BICUBIC,
            box=(left, top, left + side, top + side),
        )
        pixels = np.asarray(crop)
        return pixels[:, ::-1] if rng.uniform() < 0.5 else pixels

    def batches(
        self, size: int, batch_size: int, seed: int = 0, first_batch: int = 0
    ) -> tf.data.Dataset:
        """An endless dataset of random crops.

        Batch `n` depends on `seed` and `n` alone: a training that was
        interrupted goes on with the crops it would have seen.

        Args:
            size: Side of a crop in pixels.
            batch_size: Crops per batch.
            seed: Seed of order, place, scale and flips. Defaults to 0.
            first_batch: Number of batches to pass over. Defaults to 0.

        Returns: batches of shape `(batch_size, size, size, 3)`, float32
            values in `[0, 255]`.

        Raises:
            ValueError: if `size` or `batch_size` is below 1, or `seed` or
                `first_batch` below 0.
        """
        if size < 1 or batch_size < 1 or seed < 0 or first_batch < 0:
            raise ValueError(
                "Expected `size` and `batch_size` of at least 1, `seed` and "
                f"`first_batch` of at least 0. Received: size={size}, "
                f"batch_size={batch_size}, seed={seed}, "
                f"first_batch={first_batch}."
            )

        def load(index):
            pixels = tf.numpy_function(
                lambda i: self.crop(int(i), size, seed), [index], tf.uint8
            )
            return tf.cast(tf.ensure_shape(pixels, (size, size, 3)), tf.float32)

        first = first_batch * batch_size
        indices = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
        crops = indices.map(load, num_parallel_calls=2, deterministic=True)
        return crops.batch(batch_size, drop_remainder=True).prefetch(2)


def read_photo(path: str | os.PathLike) -> Image.Image:
    """Decodes a picture file to RGB, turned upright as its camera says.

    Gray pictures of 16 bits are scaled to 8; of an animation the first
    picture is taken.

    Raises:
        ValueError: naming the file, if it is missing or can not be decoded.
    """
    try:
        with Image.open(path) as image:
            return _rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise ValueError(f"No picture file at '{path}'.") from error
    except (OSError, SyntaxError, ValueError, *_PILLOW_ERRORS) as error:
        raise ValueError(
            f"'{path}' is not a picture that can be decoded: {error}. Remove "
            "it, or skip broken files."
        ) from error


_PILLOW_ERRORS = (UnidentifiedImageError, Image.DecompressionBombError)


def _rgb(image):
    if image.mode.startswith("I"):  # Pillow would clip 16 bits to white.
        values = np.asarray(image).astype("uint32") // 257
        image = Image.fromarray(values.clip(0, 255).astype("uint8"))
    return image.convert("RGB")


def _unused(name, names):
    path, number = pathlib.PurePath(name), 1
    while name in names:
        number += 1
        name = str(path.with_stem(f"{path.stem} ({number})"))
    return name


def _decoded_bytes(source):
    """3 bytes per pixel; installed photos are small."""
    if callable(source):
        return 3_000_000
    with Image.open(source) as image:
        return 3 * image.width * image.height


def photo_files(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Files of a folder and its subfolders that are named like photos.

    Returns: the files, in order, by their names inside the folder.

    Raises:
        ValueError: if there is no such folder.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ValueError(f"No folder of photos at '{folder}'.")
    return {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    }


def _readable(files, skip_broken, broken, progress):
    readable = {}
    for name, path in progress(list(files.items())):
        try:
            read_photo(path)
        except ValueError:
            if not skip_broken:
                raise
            broken.append(path)
        else:
            readable[name] = path
    if broken:
        warnings.warn(
            f"{len(broken)} of {len(files)} picture files are broken and were "
            f"skipped, the first of them '{broken[0]}'.",
            stacklevel=3,
        )
    return readable


def _installed_photos():
    from skimage import data
    from sklearn.datasets import load_sample_image

    arrays = {
        "astronaut": data.astronaut,
        "coffee": data.coffee,
        "flower": lambda: load_sample_image("flower.jpg"),
        "hubble_deep_field": data.hubble_deep_field,
        "motorcycle": lambda: data.stereo_motorcycle()[0],
        "rocket": data.rocket,
    }
    return {
        name: functools.partial(_from_array, load)
        for name, load in arrays.items()
    }


def _from_array(load):
    return Image.fromarray(load())
