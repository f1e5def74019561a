"""Bytes and agreement of a student in every format and at every width.

    python tests/benchmarks/conversions.py [--size 256x256]
        [--network starry_night_folded] [--formats tflite] > conversions.csv

Each file is run and compared with Keras on the two held-out photos; the
limits of agreement are lowered to zero, since what falls short is the point.
"int8, percentile" has ranges that `calibrate` measured on other photos, if the
student has no instance normalization.
The last columns are the picture's PSNR and SSIM to the teacher's.
"""

import argparse
import csv
import pathlib
import sys
import tempfile

import numpy as np

from fritz_compress import models
from fritz_compress.convert import load, sample_pictures, to_coreml, to_tflite
from fritz_compress.convert.pictures import to_pixels
from fritz_compress.convert.samples import calibration_pictures
from fritz_compress.layers import InstanceNormalization
from fritz_compress.ops import fidelity
from fritz_compress.quantization import calibrate

TFLITE = (None, "float16", "dynamic", "int8", "int16x8")
BITS = (None, 16, 8, 6, 4, 2, 1)
MODES = ("linear", "kmeans")
FORMATS = ("tflite", "mlmodel", "mlpackage")
HEADER = (
    "format",
    "weights",
    "bytes",
    "PSNR to Keras",
    "largest difference",
    "PSNR to teacher",
    "SSIM to teacher",
)


def cases(formats, student, size):
    """File name, label, converter and its options."""
    for quantization in TFLITE if "tflite" in formats else ():
        label = quantization or "float32"
        yield f"{label}.tflite", label, to_tflite, {
            "quantization": quantization
        }
    kinds = {type(layer) for layer in student.layers}
    if "tflite" in formats and InstanceNormalization not in kinds:
        photos = calibration_pictures(*size)
        yield "ranges.tflite", "int8, percentile", to_tflite, {
            "quantization": "int8",
            "ranges": calibrate(student, photos, method="percentile"),
        }
    for suffix in [suffix for suffix in FORMATS[1:] if suffix in formats]:
        for nbits in BITS:
            for mode in MODES if nbits in BITS[2:] else MODES[:1]:
                label = f"{nbits} bit {mode}" if nbits else "float32"
                options = {"nbits": nbits, "mode": mode}
                yield f"{nbits}{mode}.{suffix}", label, to_coreml, options


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--network", default="starry_night_student")
    parser.add_argument(
        "--formats", nargs="+", choices=FORMATS, default=FORMATS
    )
    args = parser.parse_args()
    size = tuple(map(int, args.size.split("x")))
    student = models.load_pretrained(args.network, size)
    teacher = models.load_pretrained("starry_night_teacher", size)
    photos = sample_pictures(*size)
    targets = to_pixels(teacher(photos))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        for name, label, convert, options in cases(args.formats, student, size):
            path = pathlib.Path(folder) / name
            report = convert(student, path, min_psnr=0, **options)
            pairs = list(zip(targets, to_pixels(load(path)(photos))))
            writer.writerow(
                [
                    report.format,
                    label,
                    report.bytes,
                    f"{report.psnr:.1f}",
                    f"{report.max_difference:.2g}",
                    f"{np.mean([fidelity.psnr(*pair) for pair in pairs]):.1f}",
                    f"{np.mean([fidelity.ssim(*pair) for pair in pairs]):.3f}",
                ]
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
