"""`fritz-compress calibrate`, and `convert` with the ranges it wrote."""

import keras
import numpy as np
import pytest
from commands import run
from helpers import distinct_weights

from fritz_compress.convert.samples import (
    calibration_pictures,
    sample_pictures,
)
from fritz_compress.quantization import Ranges

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="conversion is TensorFlow's"
)


@pytest.fixture(name="network", scope="module")
def saved_network(tmp_path_factory):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))
    path = tmp_path_factory.mktemp("network") / "small.keras"
    distinct_weights(model).save(path)
    return path


@pytest.fixture(name="data", scope="module")
def saved_data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.npz"
    photos = calibration_pictures(8, 8), sample_pictures(8, 8)
    np.savez(path, x=np.concatenate(photos))
    return path


def test_ranges_are_written_and_used(network, data, tmp_path, capsys):
    ranges, file = tmp_path / "ranges.json", tmp_path / "small.tflite"
    assert run("calibrate", network, data, ranges, "--samples", 8) == 0
    out = capsys.readouterr().out
    found = Ranges.from_json(ranges.read_text())
    assert found.samples == 8 and "conv_range" in found.ends
    assert all(name in out for name in found.ends)
    with np.load(data) as arrays:
        model = keras.saving.load_model(network)
        outputs = model.predict(arrays["x"][:8], verbose=0)
    low, high = found.ends["logits_range"]
    assert low == pytest.approx(min(outputs.min(), 0), rel=1e-3)
    assert high == pytest.approx(max(outputs.max(), 0), rel=1e-3)
    arguments = ("--quantization", "int8", "--ranges", ranges)
    assert run("convert", network, file, *arguments) == 0
    assert file.stat().st_size < 6000


def test_what_is_typed_wrong_is_one_line(network, data, tmp_path, capsys):
    ranges, file = tmp_path / "ranges.json", tmp_path / "a.tflite"
    other = tmp_path / "other.npz"
    np.savez(other, images=np.ones(3))
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    for arguments, message in [
        (("calibrate", network, data, tmp_path / "a.txt"), "ends with .json"),
        (("calibrate", network, other, ranges), "an array x. Received"),
        (("calibrate", network, tmp_path / "no.npz", ranges), "No data at"),
        (
            ("calibrate", network, data, ranges, "--method", "median"),
            "`method` must be one of",
        ),
        (
            ("convert", network, file, "--ranges", broken),
            "--ranges are for --quantization int8",
        ),
        (
            ("convert", network, file, "--quantization", "int8")
            + ("--ranges", broken),
            "Expected",
        ),
    ]:
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, arguments
    assert not ranges.exists() and not file.exists()
