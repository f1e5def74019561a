"""The style student in 4 and 2 bits, its codebooks trained on.

    python tests/benchmarks/student_codebooks.py --photos DATA/photos \
        --work WORK [--steps 1500] [--bits 4 2] [--csv FILE] \
        [--sheet FILE.png] [--card FILE.jpg]

The student's kernels get an optimal codebook each (`quantize_weights`), and
are then distilled on the float student's pictures by `CodebookFineTuning`.
Both are written as `.mlmodel`, read by the package's interpreter, and compared
with the float student on eight photos that no training saw, at 256x256. "2,
some 3" gives the 3x3 kernels three bits, but for the one that bears two best,
on these very photos: with it the file would take more than 6,000 bytes. Seed 0
throughout. The sheet has four of the photos; the card has what was made of the
one in the public domain. A finished training is not repeated with the same
WORK.
"""

import argparse
import pathlib
import time

import judge
import keras
import numpy as np
from PIL import Image
from result_tables import made_with, write

import fritz_compress as fc
from fritz_compress.convert.pictures import picture_grid, to_pixels
from fritz_compress.ops import fidelity

HELD_OUT = ("autumn", "dog", "freshflower", "garden", "kite", "path")
CAT = 1  # Of `sample_pictures`, in the public domain.
BITS = {
    "4": {"nbits": 4, "mode": "kmeans"},
    "2": {"nbits": 2, "mode": "kmeans"},
    "2, some 3": {
        "global_config": {"nbits": 3, "mode": "kmeans"},
        "layer_name_configs": {
            "encode_full*": {"nbits": 2, "mode": "kmeans"},
            "decode_rgb*": {"nbits": 2, "mode": "kmeans"},
            "residual_2_second*": {"nbits": 2, "mode": "kmeans"},
        },
    },
}
COLUMNS = (
    *("bits", "codebooks", "bytes", "PSNR to float student"),
    *("PSNR to teacher", "SSIM to teacher", "steps", "seconds"),
    *("date", "versions"),
)


class Progress(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print(f"epoch {epoch + 1} {logs}", flush=True)


def measured(model, path, nbits, photos, float_pictures, targets):
    """Bytes, pictures and agreement of the file of a model."""
    size = photos.shape[1:3]
    report = fc.to_coreml(model, path, nbits=nbits, image_size=size, min_psnr=0)
    pictures = to_pixels(fc.convert.load(path)(photos))
    teacher_psnr, teacher_ssim, _ = judge.scores(pictures, targets)
    psnr = np.mean(
        [fidelity.psnr(*pair) for pair in zip(float_pictures, pictures)]
    )
    row = {
        "bytes": report.bytes,
        "PSNR to float student": f"{psnr:.2f}",
        "PSNR to teacher": f"{teacher_psnr:.2f}",
        "SSIM to teacher": f"{teacher_ssim:.3f}",
    }
    return row, pictures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--bits", nargs="+", default=list(BITS))
    parser.add_argument("--csv", type=pathlib.Path)
    parser.add_argument("--sheet", type=pathlib.Path)
    parser.add_argument("--card", type=pathlib.Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    photos = judge.held_out([args.photos, *HELD_OUT])
    student = fc.models.load_pretrained("starry_night_student")
    float_pictures = judge.run(student, photos)
    targets = judge.run(
        fc.models.load_pretrained("starry_night_teacher"), photos
    )
    columns = {"photo": photos, "float student": float_pictures}
    rows = []
    for name in args.bits:
        found = quantized(args, name, student, photos, float_pictures, targets)
        for row, pictures in found:
            rows.append(row)
            columns[f"{row['bits']} bits, {row['codebooks']}"] = pictures
            print(row, flush=True)
    if args.csv:
        write(args.csv, rows, COLUMNS)
    if args.sheet:
        grid = {name: list(some[:4]) for name, some in columns.items()}
        Image.fromarray(picture_grid(grid)).save(args.sheet)
    if args.card:
        del columns["photo"]
        grid = {name: [some[CAT]] for name, some in columns.items()}
        Image.fromarray(picture_grid(grid)).save(args.card, quality=85)


def quantized(args, name, student, photos, float_pictures, targets):
    """A row and pictures after clustering, and after fine-tuning."""
    nbits = 2 if name == "2" else 4  # Codes of fewer bits are kept.
    model, _ = fc.quantize_weights(student, BITS[name])
    slug = name.replace(", ", "_").replace(" ", "_")
    common = {
        "bits": name,
        **made_with("keras", "tensorflow", "coremltools"),
    }
    compared = (photos, float_pictures, targets)
    path = args.work / f"student_{slug}_clustered.mlmodel"
    row, pictures = measured(model, path, nbits, *compared)
    yield {**common, "codebooks": "clustered", "steps": 0, **row}, pictures
    model, seconds = trained(args, slug, student, model)
    path = args.work / f"student_{slug}.mlmodel"
    row, pictures = measured(model, path, nbits, *compared)
    steps = {"steps": args.steps, "seconds": seconds, **row}
    yield {**common, "codebooks": "trained on", **steps}, pictures


def trained(args, slug, student, model):
    """The fine-tuned model, and how many seconds that took."""
    path = args.work / f"student_{slug}.keras"
    took = path.with_suffix(".seconds")
    if path.exists() and took.exists():
        return keras.saving.load_model(path), int(took.read_text())
    training = fc.training.Photos(args.photos, exclude=HELD_OUT)
    started = time.time()
    fc.training.distill(
        student,
        model,
        training + fc.training.Photos(),
        args.steps,
        learning_rate=args.rate,
        texture_weight=0.0,
        backup_dir=args.work / f"{slug}.backup",
        callbacks=[fc.callbacks.CodebookFineTuning(), Progress()],
    )
    seconds = round(time.time() - started)
    model.save(path)
    took.write_text(str(seconds))
    return model, seconds


if __name__ == "__main__":
    main()
