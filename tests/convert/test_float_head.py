"""Photos are standardized in floats; integers begin behind that."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress import graph
from fritz_compress.convert import float_head, to_tflite
from fritz_compress.convert.flatbuffer import read
from fritz_compress.layers import StandardizeImage

FLOAT, INT8 = 0, 9  # TensorType in the schema


def network(read_twice=False, nested=False, empty=False):
    inputs = keras.Input((16, 16, 3), name="photo")
    x = StandardizeImage(name="standardize")(inputs)
    outputs = x
    if not empty:
        outputs = keras.layers.Conv2D(3, 3, padding="same", name="conv")(x)
    if read_twice:
        outputs = keras.layers.Add()([outputs, inputs])
    model = distinct_weights(keras.Model(inputs, outputs))
    if nested:
        outer = keras.Input((16, 16, 3), name="outer")
        model = keras.Model(outer, model(outer))
    return model


@pytest.fixture(name="photos")
def photos_of_different_brightness():
    rng = np.random.default_rng(0)
    gains = np.array([0.1, 0.3, 1])[:, None, None, None]
    photos = rng.uniform(0, 255, (3, 16, 16, 3)) * gains
    return np.round(photos).astype("float32")


@pytest.mark.parametrize("nested", [False, True])
def test_the_graph_is_cut_behind_the_layer(photos, nested):
    model = network(nested=nested)
    head, body = float_head.split(graph.trace(model, [(1, 16, 16, 3)]))
    assert [node.kind for node in head.nodes] == ["StandardizeImage"]
    assert [node.kind for node in body.nodes] == ["Conv2D"]
    seen = float_head.standardized(head, photos)
    np.testing.assert_allclose(
        seen, StandardizeImage()(photos), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("arguments", [{"read_twice": True}, {"empty": True}])
def test_other_graphs_stay_whole(arguments):
    traced = graph.trace(network(**arguments))
    assert float_head.split(traced) == (None, traced)


@pytest.mark.parametrize("quantization", ["int8", "int16x8"])
def test_the_file_is_one_network(tmp_path, photos, quantization):
    path = tmp_path / "model.tflite"
    report = to_tflite(
        network(),
        path,
        quantization=quantization,
        representative_data=photos,
        samples=photos,
    )
    # Rounding to 8 bits over the clipped range of five deviations.
    assert report.psnr > 40
    assert [(row.name, row.bits) for row in report.layers] == [("conv", 8)]
    part = read(path.read_bytes()).subgraphs[0]
    assert part.tensors[part.inputs[0]].name == b"photo"
    assert part.tensors[part.outputs[0]].name == b"conv"
    kinds = [part.tensors[o.outputs[0]].type for o in part.operators]
    first = next(i for i, kind in enumerate(kinds) if kind != FLOAT)
    assert first > 4  # Mean, deviation, difference, product, clipping.
    assert FLOAT not in kinds[first:-1] and kinds[-1] == FLOAT
    if quantization == "int8":
        assert set(kinds[first:-1]) == {INT8}


def test_a_float_file_needs_no_cut(tmp_path, photos):
    report = to_tflite(network(), tmp_path / "model.tflite", samples=photos)
    assert report.psnr > 100
