import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress import graph
from fritz_compress.convert import (
    ConversionError,
    export,
    load,
    sample_pictures,
    to_tflite,
)
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.layers import DeprocessStylizedImage
from fritz_compress.silence import silenced


def model(size=(8, 12)):
    inputs = keras.Input((*size, 3))
    x = keras.layers.Conv2D(3, 3, padding="same")(inputs)
    outputs = DeprocessStylizedImage()(x)  # Leaves [0, 255] without a tanh.
    return distinct_weights(keras.Model(inputs, outputs))


def test_a_keras_file_of_any_size(tmp_path):
    net = model((None, None))
    path = tmp_path / "net.keras"
    net.save(path)
    runner = load(path)
    assert (runner.format, runner.image_size) == ("keras", None)
    assert runner.bytes == path.stat().st_size
    for size in ((8, 12), (5, 4)):
        photos = sample_pictures(*size)
        received = runner(photos)
        assert received.dtype == np.float32
        np.testing.assert_allclose(
            received, np.clip(net(photos), 0, 255), atol=0.01
        )


def test_a_tflite_file(tmp_path):
    net = model()
    path = tmp_path / "net.tflite"
    to_tflite(net, path)
    runner = load(str(path))
    assert (runner.format, runner.image_size) == ("tflite", (8, 12))
    assert runner.bytes == path.stat().st_size
    photos = sample_pictures(8, 12)
    expected = np.clip(net(photos), 0, 255)
    assert expected.min() == 0 and expected.max() == 255
    np.testing.assert_allclose(runner(photos), expected, atol=0.01)


def test_an_integer_file_takes_and_returns_floats(tmp_path):
    import tensorflow as tf

    net = model()
    photos = sample_pictures(8, 12)
    with silenced():
        function = export.frozen_function(graph.trace(net, [(1, 8, 12, 3)]), {})
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([p[None]] for p in photos)
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        content = converter.convert()
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    expected = np.asarray(net(photos))
    received = LiteRTModel(path)(photos)
    step = np.ptp(expected) / 255
    np.testing.assert_allclose(received, expected, atol=4 * step)
    assert len(np.unique(received)) <= 256


@pytest.mark.parametrize(
    "shape, message",
    [
        ((8, 12, 3), "Expected pictures of shape"),
        ((0, 8, 12, 3), "Expected pictures of shape"),
        ((1, 8, 12, 4), "Expected pictures of shape"),
        ((1, 12, 8, 3), r"\(height, width\) \(8, 12\). Received: \(12, 8\)"),
    ],
    ids=str,
)
def test_pictures_of_another_shape_are_refused(tmp_path, shape, message):
    to_tflite(model(), tmp_path / "net.tflite")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "net.tflite")(np.zeros(shape))


def test_files_that_cannot_be_run_are_explained(tmp_path):
    with pytest.raises(ValueError, match="No network at"):
        load(tmp_path / "missing.tflite")
    with pytest.raises(ValueError, match="ends with .keras or .tflite or"):
        load("net.onnx")
    for suffix in (".keras", ".tflite"):
        broken = tmp_path / f"net{suffix}"
        broken.write_bytes(b"not a network")
        with pytest.raises(ValueError, match="cannot be loaded"):
            load(broken)
    keras.Sequential([keras.Input((4,)), keras.layers.ReLU()]).save(
        tmp_path / "dense.keras"
    )
    with pytest.raises(ValueError, match="Only networks that take RGB"):
        load(tmp_path / "dense.keras")


def test_the_runtime_names_the_shape_it_takes(tmp_path):
    to_tflite(model(), tmp_path / "net.tflite")
    with pytest.raises(ValueError, match=r"batches of shape \(1, 8, 12, 3\)"):
        LiteRTModel(tmp_path / "net.tflite")(np.zeros((1, 8, 8, 3)))


def test_files_with_several_outputs_are_refused(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 4))])
    def two(x):
        return tf.nn.relu(x), tf.nn.tanh(x)

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [two.get_concrete_function()], tf.Module()
    )
    path = tmp_path / "net.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(ValueError, match="one input and one output"):
        LiteRTModel(path)


def test_a_conversion_error_is_a_value_error():
    assert issubclass(ConversionError, ValueError)
