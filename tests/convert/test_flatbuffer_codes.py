"""Codes that kernels hold, read back from `.tflite` files."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

import fritz_compress as fc
from fritz_compress.convert import flatbuffer
from fritz_compress.ops.codes import expand_groups

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="conversion is TensorFlow's"
)


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(12, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2DTranspose(6, 3, 2, padding="same", name="transposed")(x)
    x = layers.Conv2D(8, 3, 2, groups=2, name="grouped")(x)
    x = layers.Dense(10, name="dense")(layers.Flatten()(x))
    return distinct_weights(keras.Model(inputs, x))


# From Keras' kernel to that of the file, and the axis of its channels.
LAYOUTS = {
    "conv": lambda a: (a.transpose(3, 0, 1, 2), 0),
    "grouped": lambda a: (a.transpose(3, 0, 1, 2), 0),
    "transposed": lambda a: (a.transpose(2, 0, 1, 3), 0),
    "depthwise": lambda a: (a.reshape(1, *a.shape[:2], -1), 3),
    "dense": lambda a: (a.T, 0),
}


def samples():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 4))


def stored_kernels(path):
    """Codes, scales, zero points and type of every integer kernel."""
    schema = flatbuffer.schema()
    content = flatbuffer.read(path.read_bytes())
    found = []
    for tensor in content.subgraphs[0].tensors:
        data = content.buffers[tensor.buffer].data
        if data is None or len(tensor.shape) < 2:
            continue
        data = np.frombuffer(bytes(bytearray(data)), "uint8")
        if tensor.type == schema.TensorType.INT4:
            halves = np.stack([data & 15, data >> 4], 1).reshape(-1)
            codes = ((halves ^ 8).astype("int64") - 8)[: np.prod(tensor.shape)]
        elif tensor.type == schema.TensorType.INT8:
            codes = data.view("int8").astype("int64")
        else:
            continue
        quantization = tensor.quantization
        found.append(
            (
                codes.reshape(tensor.shape),
                np.array(quantization.scale),
                np.array(quantization.zeroPoint),
                4 if tensor.type == schema.TensorType.INT4 else 8,
            )
        )
    return found


def matching(kernels, steps):
    """The stored kernel of these very steps, up to signs of channels."""
    for codes, scale, zero, bits in kernels:
        if codes.shape == steps.shape and (abs(codes) == abs(steps)).all():
            return codes, scale, zero, bits
    raise AssertionError("no kernel holds these codes")


HELD = {
    "8": {"nbits": 8},
    "4": {"nbits": 4},
    "3 per tensor": {"nbits": 3, "granularity": "per_tensor"},
    "2": {"nbits": 2},
}


@pytest.mark.parametrize("kind", ["weights", "dynamic"])
@pytest.mark.parametrize("held", HELD)
def test_codes_in_the_file_are_those_of_the_weights(
    model, tmp_path, held, kind
):
    smaller, report = fc.quantize_weights(model, HELD[held])
    path = tmp_path / "small.tflite"
    written = fc.to_tflite(smaller, path, kind, samples=samples())
    kernels = stored_kernels(path)
    assert len(kernels) == 5
    for row in report.weights:
        if row.codes is None:
            continue
        name = row.name.split("/")[0]
        points = expand_groups(row.codes.zero_points, row.shape)
        steps, _ = LAYOUTS[name](row.codes.codes - points)
        codes, scale, zero, bits = matching(kernels, steps)
        assert (zero == 0).all()
        known = kind == "weights" or name in ("conv", "grouped", "dense")
        assert bits == (4 if row.codes.nbits <= 4 and known else 8)
        if name != "conv":  # Whose scale holds that of the normalization.
            scales, axis = LAYOUTS[name](
                np.broadcast_to(
                    expand_groups(row.codes.scale, row.shape), row.shape
                )
            )
            scales = np.moveaxis(scales, axis, 0).reshape(len(scale), -1)[:, 0]
            used = np.moveaxis(steps, axis, 0).reshape(len(scale), -1).any(1)
            np.testing.assert_allclose(scale[used], scales[used], rtol=1e-6)
    if kind == "weights":
        assert written.psnr > 110
    assert not any("codebook" in layer.note for layer in written.layers)


def test_affine_codes_keep_their_zero_points(model, tmp_path):
    smaller, report = fc.quantize_weights(model, {"nbits": 8, "mode": "linear"})
    path = tmp_path / "small.tflite"
    written = fc.to_tflite(smaller, path, "weights", samples=samples())
    assert written.psnr > 110
    points = [zero for _, _, zero, _ in stored_kernels(path)]
    assert any((zero != 0).any() for zero in points)


def test_kernels_without_codes_are_quantized_to_8_bits(model, tmp_path):
    path = tmp_path / "weights.tflite"
    written = fc.to_tflite(model, path, "weights", samples=samples())
    assert 40 < written.psnr < 80
    assert {
        layer.bits for layer in written.layers if layer.parameters > 50
    } == {8}
    full = fc.to_tflite(model, tmp_path / "full.tflite", samples=samples())
    assert written.bytes < 0.5 * full.bytes


def test_four_bits_halve_the_file_of_eight(tmp_path):
    inputs = keras.Input((64,))
    x = layers.Dense(200, name="one")(inputs)
    model = distinct_weights(keras.Model(inputs, layers.Dense(200)(x)))
    x = np.random.default_rng(0).normal(size=(2, 64))
    sizes = {}
    for nbits in (8, 4):
        smaller, _ = fc.quantize_weights(model, {"nbits": nbits})
        path = tmp_path / "small.tflite"
        for kind in ("weights", "dynamic"):
            sizes[kind, nbits] = fc.to_tflite(
                smaller, path, kind, samples=x
            ).bytes
    for kind in ("weights", "dynamic"):
        assert sizes[kind, 4] < 0.58 * sizes[kind, 8]


def test_what_tflite_has_no_form_for_is_said(model, tmp_path):
    path = tmp_path / "small.tflite"
    for config, message in [
        ({"nbits": 3, "mode": "kmeans"}, "holds a codebook"),
        (
            {"nbits": 4, "granularity": "per_block", "block_size": 28},
            "a scale per block",
        ),
        ({"nbits": 12}, "codes of 12 bits; TFLite has up to 8"),
    ]:
        smaller, _ = fc.quantize_weights(model, config)
        report = fc.to_tflite(smaller, path, "dynamic", samples=samples())
        assert message in next(
            layer.note for layer in report.layers if layer.name == "dense"
        )
