"""How much faster than the full network is the student, and why not more?

    python tests/benchmarks/speed.py [--size 640x480] [--runs 15]

Converts the large network (alpha 1.0), the teacher, the students and the
folded student to float `.tflite`, all but the first two also to 8-bit ones,
times them in LiteRT on one thread in turns, and prints ratios to the large
network and to the student. `folded_ranges` is 8-bit, too, with ranges by
percentile. What the two 9x9 layers cost is the time that goes away when the
student's 9x9 kernels are 1x1 (`student_1x1`).
"""

import argparse
import pathlib
import tempfile

import keras

from fritz_compress import models
from fritz_compress.analysis import profile
from fritz_compress.convert import latency, to_tflite
from fritz_compress.convert.samples import calibration_pictures
from fritz_compress.quantization import calibrate


class SmallEnds(models.SmallStyleTransferNetwork):
    """The small network with 1x1 in place of 9x9 kernels."""

    @classmethod
    def convolution(cls, x, filters, kernel_size, **arguments):
        size = 1 if kernel_size == 9 else kernel_size
        return super().convolution(x, filters, size, **arguments)


def networks(size):
    keras.utils.set_random_seed(0)
    return {
        "large": models.StyleTransferNetwork.build(size),
        "teacher": models.load_pretrained("starry_night_teacher", size),
        "student": models.load_pretrained("starry_night_student", size),
        "student_1x1": SmallEnds.build(size, alpha=0.3),
        "folded": models.load_pretrained("starry_night_folded", size),
        "flat": models.load_pretrained("starry_night_flat", size),
        "flat_wide": models.load_pretrained("starry_night_flat_wide", size),
        "flat_tiny": models.load_pretrained("starry_night_flat_tiny", size),
    }


QUANTIZED = (
    ("student", "dynamic"),
    ("student", "int8"),
    ("folded", "dynamic"),
    ("folded", "int8"),
    ("flat", "dynamic"),
    ("flat_wide", "dynamic"),
    ("flat_tiny", "dynamic"),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    size = tuple(map(int, args.size.split("x")))
    built = networks(size)
    with tempfile.TemporaryDirectory() as folder:
        cases = {name: (name, None) for name in built}
        cases |= {f"{n}_{kind}": (n, kind) for n, kind in QUANTIZED}
        cases["folded_ranges"] = "folded", "int8"
        photos = calibration_pictures(*size)
        ranges = calibrate(built["folded"], photos, method="percentile")
        measured = {"folded_ranges": ranges}
        paths, sizes = {}, {}
        for case, (name, kind) in cases.items():
            paths[case] = pathlib.Path(folder) / f"{case}.tflite"
            report = to_tflite(
                built[name],
                paths[case],
                kind,
                min_psnr=0,
                ranges=measured.get(case),
            )
            sizes[case] = report.bytes
        times = latency(list(paths.values()), runs=args.runs)
        large, student = (
            times[paths[case]].milliseconds for case in ("large", "student")
        )
        for case, path in paths.items():
            ms = times[path].milliseconds
            macs = profile(built[cases[case][0]], size).macs
            print(
                f"{case:18} {ms:7.1f} ms  {large / ms:6.1f} times as fast as "
                f"large, {student / ms:5.1f} as student  {macs:>15,} MACs  "
                f"{sizes[case]:>9,} bytes"
            )
    ends = 1 - times[paths["student_1x1"]].milliseconds / student
    rows = profile(built["student"], size)
    macs = sum(
        row.macs
        for row in rows.layers
        if row.name.startswith(("encode_full_conv", "decode_rgb_conv"))
    )
    print(
        f"The two 9x9 layers: {ends:.0%} of the student's time, "
        f"{macs / rows.macs:.0%} of its MACs"
    )


if __name__ == "__main__":
    main()
