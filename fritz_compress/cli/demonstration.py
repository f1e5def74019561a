"""The journey of `fritz-compress demo`, step by step."""

import csv
import dataclasses
import pathlib
from collections.abc import Callable

import keras
import numpy as np
from PIL import Image

from fritz_compress import models, surgery, training
from fritz_compress.analysis import profile
from fritz_compress.cli import console, fitting
from fritz_compress.convert import (
    latency,
    load,
    sample_pictures,
    to_coreml,
    to_tflite,
)
from fritz_compress.convert.pictures import picture_grid, stylize
from fritz_compress.files import size_in_bytes, whole_file
from fritz_compress.ops import fidelity

SIZE = (256, 256)
FRACTION = 0.25  # of the filters; whole multiples of 4 stay, so 8 of 9

# File, converter and its options, in the order of the picture's columns.
FLAT_FILES = (
    ("flat.tflite", to_tflite, {}),
    ("flat_dynamic.tflite", to_tflite, {"quantization": "dynamic"}),
    ("flat_8bit.mlmodel", to_coreml, {"nbits": 8}),
)
PRUNED_FILES = (
    ("student.tflite", to_tflite, {}),
    ("student_dynamic.tflite", to_tflite, {"quantization": "dynamic"}),
    ("student_8bit.mlmodel", to_coreml, {"nbits": 8}),
    ("student_4bit.mlmodel", to_coreml, {"nbits": 4, "mode": "kmeans"}),
    ("student.mlpackage", to_coreml, {}),
)

HEADER = ("file", "weights", "bytes", "MMACs", "ms", "PSNR", "SSIM", "texture")


@dataclasses.dataclass
class Exhibit:
    """One column of the picture and one row of the table."""

    name: str
    model: keras.Model
    run: Callable
    path: pathlib.Path | None = None
    pictures: list = dataclasses.field(default_factory=list)


class Demonstration:
    """Converts, fine-tunes, prunes, checks, measures and draws.

    Args:
        folder: Existing folder for the files.
        seed: Seed of the crops.
    """

    def __init__(self, folder: pathlib.Path, seed: int = 0):
        self.folder = folder
        self.seed = seed
        self.photos = sample_pictures(*SIZE)
        self.teacher = models.load_pretrained("starry_night_teacher", SIZE)
        path = folder / "teacher.tflite"
        to_tflite(self.teacher, path)
        self.exhibits = [Exhibit("teacher", self.teacher, self.teacher, path)]

    def convert_flat(self) -> None:
        """The fastest network, as files."""
        flat = models.load_pretrained("starry_night_flat", SIZE)
        self.exhibits.append(Exhibit("flat", flat, flat))
        self._convert(flat, FLAT_FILES)

    def fine_tune_and_prune(self, steps: int) -> None:
        """Zeroes filters of a student that learns on; converts the rest."""
        before = models.load_pretrained("starry_night_student", SIZE)
        self.exhibits.append(Exhibit("student", before, before))
        student = models.load_pretrained("starry_night_student")
        training.distill(
            models.load_pretrained("starry_night_teacher"),
            student,
            training.Photos(),
            steps=steps,
            learning_rate=1e-2,
            seed=self.seed,
            callbacks=fitting.callbacks(
                "fine-tuning and pruning", steps, FRACTION
            ),
        )
        pruned = surgery.remove_pruned_filters(student)
        path = self.folder / "student_pruned.keras"
        with whole_file(path) as unfinished:
            pruned.save(unfinished)
        self.exhibits.append(Exhibit("pruned", pruned, pruned, path))
        self._convert(pruned, PRUNED_FILES)

    def measure(self) -> list[tuple]:
        """Stylizes the held-out photos; returns and saves the table."""
        for exhibit in console.tracked(
            "stylizing held-out photos", self.exhibits
        ):
            exhibit.pictures = [
                stylize(exhibit.run, photo, SIZE) for photo in self.photos
            ]
        files = [e.path for e in self.exhibits if e.path is not None]
        times = latency([p for p in files if p.suffix == ".tflite"])
        rows = [HEADER, *(self._row(e, times) for e in self.exhibits)]
        with whole_file(self.folder / "demo.csv") as unfinished:
            with open(unfinished, "w", newline="") as file:
                csv.writer(file).writerows(rows)
        return rows

    def draw(self) -> None:
        """One PNG: photos, teacher, and each file's pictures."""
        columns = {"photo": list(self.photos)}
        columns |= {e.name: e.pictures for e in self.exhibits}
        with whole_file(self.folder / "demo.png") as unfinished:
            Image.fromarray(picture_grid(columns)).save(unfinished)

    def _convert(self, model, files):
        """Writes every file; each is run and compared with Keras."""
        for name, converter, options in console.tracked(
            "converting and checking", files
        ):
            path = self.folder / name
            converter(model, path, image_size=SIZE, **options)
            self.exhibits.append(Exhibit(name, model, load(path), path))

    def _row(self, exhibit, times):
        pairs = list(zip(self.exhibits[0].pictures, exhibit.pictures))
        timing = times.get(exhibit.path)
        psnr = np.mean([fidelity.psnr(*pair) for pair in pairs])
        ssim = np.mean([fidelity.ssim(*pair) for pair in pairs])
        variation = np.mean([fidelity.variation(p) for p in exhibit.pictures])
        return (
            exhibit.name,
            f"{exhibit.model.count_params():,}",
            f"{size_in_bytes(exhibit.path):,}" if exhibit.path else "",
            f"{profile(exhibit.model, SIZE).macs / 1e6:.0f}",
            f"{timing.milliseconds:.1f}" if timing else "",
            f"{psnr:.1f}",
            f"{ssim:.3f}",
            f"{variation:.1f}",
        )
