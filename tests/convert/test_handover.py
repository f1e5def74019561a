"""What holds for the files of every format."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress.convert import to_coreml, to_tflite

CONVERTERS = {
    ".tflite": to_tflite,
    ".mlmodel": to_coreml,
    ".mlpackage": to_coreml,
}
SAMPLES = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3))


@pytest.fixture(params=CONVERTERS)
def convert(request, tmp_path):
    """Converts to one of the formats, on samples of this file."""
    path = tmp_path / f"net{request.param}"

    def run(model, **options):
        options.setdefault("samples", SAMPLES)
        return CONVERTERS[request.param](model, path, **options)

    run.suffix = request.param
    run.path = path
    return run


def model_of(*parts):
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts], name="net")
    return distinct_weights(model)


@pytest.mark.parametrize("name", ["my conv", "a:b", "conv@1", "ünï"])
def test_layers_of_any_name(convert, name):
    report = convert(model_of(layers.Conv2D(4, 3, name=name)))
    assert [row.name for row in report.layers] == [name]
    later = layers.Dense(2, name="later")
    later.build((None, 3))
    assert later.kernel.path == "later/kernel"


def rows_of(report):
    return {row.name: row for row in report.layers}


def test_the_report_counts_a_shared_layer_once(convert):
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    report = convert(model_of(shared, layers.ReLU(), shared))
    (row,) = report.layers
    assert (row.parameters, row.bits) == (84, 32)
    assert row.bytes >= 4 * 84


def test_the_report_tells_layers_of_the_same_name_apart(convert):
    def part(name):
        conv = layers.Conv2D(3, 3, padding="same", name="conv")
        return keras.Sequential([keras.Input((8, 8, 3)), conv], name=name)

    report = convert(model_of(part("a"), part("b")))
    assert [row.parameters for row in report.layers] == [84, 84]


def test_the_report_counts_folded_normalizations(convert):
    model = model_of(
        layers.Conv2D(4, 3, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.Conv2D(3, 3, name="last"),
        layers.ActivityRegularization(),
    )
    rows = rows_of(convert(model))
    assert {n: r.parameters for n, r in rows.items()} == {
        "conv": 112,
        "norm": 16,
        "last": 111,
    }
    assert rows["last"].bytes >= 4 * 111 and rows["last"].bits == 32


@pytest.mark.parametrize("layer", [layers.BatchNormalization, layers.Dense])
def test_the_report_has_a_single_layer(convert, layer):
    arguments = {"units": 5} if layer is layers.Dense else {}
    report = convert(model_of(layers.Flatten(), layer(**arguments, name="one")))
    assert list(rows_of(report)) == ["one"]
    assert report.layers[0].bytes > 0
