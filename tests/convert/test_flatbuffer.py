"""Shrinking a file must not change what it computes."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress import graph
from fritz_compress.convert import export, flatbuffer
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.layers import InstanceNormalization
from fritz_compress.silence import silenced


@pytest.fixture(scope="module")
def stock():
    """A file as the converter writes it, and inputs for it."""
    import tensorflow as tf

    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            keras.layers.Conv2D(4, 3, use_bias=False, name="first"),
            InstanceNormalization(name="norm"),
            keras.layers.Conv2D(4, 3, groups=2, name="grouped"),
            keras.layers.Conv2D(2, 3, use_bias=False, name="last"),
        ]
    )
    distinct_weights(model)
    traced = graph.trace(model, [(1, 8, 8, 3)])
    with silenced():
        function = export.frozen_function(traced, export.forms_of(traced))
        content = tf.lite.TFLiteConverter.from_concrete_functions(
            [function]
        ).convert()
    inputs = np.random.default_rng(0).normal(size=(3, 8, 8, 3))
    return content, inputs.astype("float32"), model


def run(content, inputs, folder):
    path = folder / "net.tflite"
    path.write_bytes(content)
    return LiteRTModel(path)(inputs)


def test_a_stripped_file_computes_the_same_bits(stock, tmp_path):
    content, inputs, _ = stock
    model = flatbuffer.read(content)
    flatbuffer.strip(model, "image", "last")
    stripped = flatbuffer.write(model)
    assert len(stripped) < 0.75 * len(content)
    np.testing.assert_array_equal(
        run(stripped, inputs, tmp_path), run(content, inputs, tmp_path)
    )


def test_a_stripped_file_has_two_names(stock):
    model = flatbuffer.read(stock[0])
    flatbuffer.strip(model, "image", "last")
    again = flatbuffer.read(flatbuffer.write(model))
    names = {t.name for t in again.subgraphs[0].tensors}
    assert names == {None, b"image", b"last"}
    assert again.metadata is again.description is None


def test_convolutions_are_quantized_and_grouped_ones_left(stock, tmp_path):
    content, inputs, keras_model = stock
    model = flatbuffer.read(content)
    flatbuffer.quantize_convolutions(model)
    constants = flatbuffer.constants_of_nodes(model, range(4))
    bits = {i: max(c.bits for c in found) for i, found in constants.items()}
    assert bits[1] == bits[2] == 32
    kernels = {i: [c for c in constants[i] if c.bits == 8] for i in (0, 3)}
    assert [(c.size, c.bytes) for c in kernels[0]] == [(108, 108 + 4 * 4)]
    assert [(c.size, c.bytes) for c in kernels[3]] == [(72, 72 + 2 * 4)]
    expected = keras_model.predict(inputs, verbose=0)
    received = run(flatbuffer.write(model), inputs, tmp_path)
    assert 0 < np.abs(received - expected).max() < 0.05 * np.ptp(expected)


def test_node_numbers_are_read_from_names():
    assert export.nodes_in("fcnode12/relu/Relu;fcnode3/add/Add") == [12, 3]
    assert export.nodes_in("arith.constant7") == []
