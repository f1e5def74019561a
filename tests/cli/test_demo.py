"""The first thing that anyone runs."""

import csv

import numpy as np
import pytest
from PIL import Image

from fritz_compress.cli import main

FILES = {
    "demo.csv",
    "demo.png",
    "flat.tflite",
    "flat_8bit.mlmodel",
    "flat_dynamic.tflite",
    "student.mlpackage",
    "student.tflite",
    "student_4bit.mlmodel",
    "student_8bit.mlmodel",
    "student_dynamic.tflite",
    "student_pruned.keras",
    "teacher.tflite",
}


@pytest.mark.slow
def test_the_demo_leaves_files_a_table_and_a_picture(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--steps", "20", "--output", str(tmp_path / "demo")])
    assert stop.value.code == 0
    folder = tmp_path / "demo"
    assert {path.name for path in folder.iterdir()} == FILES

    with open(folder / "demo.csv", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    # What the table and the picture begin with, behind what both learned from.
    assert list(rows)[:3] == ["teacher", "flat", "flat.tflite"]
    assert rows["flat"]["weights"] == "13,264"
    assert float(rows["flat.tflite"]["PSNR"]) > 24
    assert (folder / "flat_8bit.mlmodel").stat().st_size <= 17_000
    assert rows["student"]["weights"] == "11,868"
    assert rows["pruned"]["weights"] == "9,830"
    for name in FILES & rows.keys():
        path = folder / name
        if path.is_file():
            assert rows[name]["bytes"] == f"{path.stat().st_size:,}"
        # A prune of 20 steps hurts, yet every file paints in the style.
        assert float(rows[name]["PSNR"]) > 18

    with Image.open(folder / "demo.png") as picture:
        pixels = np.asarray(picture)
    columns = 1 + len(rows)  # the photo comes first
    assert pixels.shape[1] == columns * 256 + (columns - 1) * 8
    out = capsys.readouterr().out
    assert "student_dynamic.tflite" in out and "Texture" in out
