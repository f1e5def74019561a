"""Measures students against their teacher on photos that no training saw.

    python tests/benchmarks/judge.py --teacher NET --student NET [NET ...]
        [--photos FOLDER NAME [NAME ...]] [--sheet OUT.png]

A `NET` is `large:ALPHA:FILE`, `small:ALPHA:FILE`, `flat:ALPHA:FILE` or
`folded:ALPHA:FILE` (the small one with batch normalization), the name of a
network that comes with the package, or a `.tflite` file for 256x256. China and
chelsea are always among the photos; `--photos` adds files of a folder by name.
At 256x256 it prints PSNR, SSIM, variation and the strength of a grid of 4
pixels of each student, of the photo itself and of the best linear color map,
and draws all pictures in one sheet.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

from fritz_compress import models
from fritz_compress.convert import load, sample_pictures
from fritz_compress.convert.pictures import picture_grid, to_pixels
from fritz_compress.ops import fidelity
from fritz_compress.training import read_photo

SIZE = 256


def network(text):
    if text.endswith(".tflite"):
        return load(text)
    if ":" not in text:
        return models.load_pretrained(text)
    builders = {
        "large": (models.StyleTransferNetwork, "instance"),
        "small": (models.SmallStyleTransferNetwork, "instance"),
        "flat": (models.FlatStyleTransferNetwork, "instance"),
        "folded": (models.SmallStyleTransferNetwork, "batch"),
    }
    kind, alpha, path = text.split(":", 2)
    builder, normalization = builders[kind]
    return builder.build(
        None,
        float(alpha),
        checkpoint_file=path,
        normalization=normalization,
    )


def square(path):
    """The middle of a photo, 256x256."""
    photo = read_photo(path)
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(photo.resize((SIZE, SIZE), box=box), "float32")


def held_out(arguments):
    photos = list(sample_pictures(SIZE, SIZE))
    if arguments:
        folder, *names = arguments
        photos += [square(pathlib.Path(folder) / f"{n}.jpg") for n in names]
    return np.stack(photos)


def color_map(photos, targets):
    """The best linear map of each photo's own colors, normalized: it sees
    the mean and the spread of every channel, as instance normalization does,
    and is fitted on the very pictures that it is judged on."""
    mean = photos.mean((1, 2), keepdims=True)
    normal = (photos - mean) / photos.std((1, 2), keepdims=True)
    matrix = fidelity.fit_color_map(normal, targets)
    return fidelity.apply_color_map(normal, matrix)


def scores(pictures, targets):
    pairs = list(zip(targets, pictures))
    return (
        np.mean([fidelity.psnr(*pair) for pair in pairs]),
        np.mean([fidelity.ssim(*pair) for pair in pairs]),
        np.mean([fidelity.variation(picture) for picture in pictures]),
    )


def run(model, photos):
    outputs = [np.asarray(model(photo[None])[0]) for photo in photos]
    return np.stack([to_pixels(output) for output in outputs])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", nargs="*", default=[])
    parser.add_argument("--photos", nargs="+")
    parser.add_argument("--sheet", type=pathlib.Path)
    return parser.parse_args()


def main():
    args = arguments()
    photos = held_out(args.photos)
    targets = run(network(args.teacher), photos)
    columns = {"photo": photos, args.teacher: targets}
    for text in args.student:
        columns[text] = run(network(text), photos)
    columns["color map"] = color_map(photos, targets)
    print(f"{len(photos)} photos of {SIZE}x{SIZE}, against {args.teacher}")
    for name, pictures in columns.items():
        psnr, ssim, variation = scores(pictures, targets)
        grid = fidelity.grid_strength(pictures)
        print(
            f"{psnr:6.2f} dB  SSIM {ssim:.3f}  TV {variation:5.1f}  "
            f"grid {grid:4.2f}  {name}"
        )
    if args.sheet:
        columns = {k.split("/")[-1]: list(v) for k, v in columns.items()}
        Image.fromarray(picture_grid(columns)).save(args.sheet)


if __name__ == "__main__":
    main()
