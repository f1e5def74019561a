"""Quantized weights of Core ML networks: bytes, bits, and what they say."""

import keras
import numpy as np
import pytest
from coremltools.models.neural_network import quantization_utils
from coremltools.proto import NeuralNetwork_pb2
from helpers import distinct_weights
from keras import layers

from fritz_compress.convert import neural_network_interpreter
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.neural_network import build_network
from fritz_compress.convert.neural_network_quantization import (
    quantize_network,
)
from fritz_compress.convert.neural_network_weights import numbers
from fritz_compress.models import SmallStyleTransferNetwork
from fritz_compress.ops import fidelity
from fritz_compress.ops.packing import unpack_bits
from fritz_compress.quantization import quantize_weights

NBITS = [16, 8, 7, 6, 5, 4, 3, 2, 1]


@pytest.fixture(scope="module")
def student():
    model = SmallStyleTransferNetwork.build((256, 256), alpha=0.3)
    return distinct_weights(model)


@pytest.fixture(scope="module")
def small():
    inputs = keras.Input((7, 10, 4))
    x = layers.Conv2D(20, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="batch")(x)
    x = layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    x = layers.Conv2DTranspose(16, 3, 2, name="transpose")(x)
    x = layers.Dense(24, name="dense")(layers.GlobalAveragePooling2D()(x))
    return distinct_weights(keras.Model(inputs, x))


def quantized(model, nbits, mode="linear", **keywords):
    network = build_network(model, **keywords)
    return network.spec, quantize_network(network, nbits, mode)


def kernel_of(spec):
    layer, *_ = spec.neuralNetwork.layers
    return layer.convolution.weights


@pytest.mark.parametrize(
    "nbits, mode, largest",
    [
        (None, "linear", 49_000),
        (16, "linear", 25_200),
        (8, "linear", 15_000),
        (6, "linear", 11_600),
        (4, "linear", 9_100),
        (4, "kmeans", 9_100),
        (2, "kmeans", 5_200),
        (1, "kmeans", 3_600),
    ],
)
def test_student_stays_within_its_bytes(student, nbits, mode, largest):
    spec, report = quantized(
        student, nbits, mode, custom_layers=["DeprocessStylizedImage"]
    )
    assert spec.ByteSize() <= largest
    assert sum(row.parameters for row in report) == 11_868
    assert sum(row.bytes for row in report) < spec.ByteSize()
    kernels = {row.bits for row in report if row.kind == "Conv2D"}
    assert kernels == {nbits or 32}
    vectors = {row.bits for row in report if row.kind != "Conv2D"}
    assert vectors == {16 if nbits else 32}


def test_more_bits_agree_better(student):
    pictures = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3))
    pictures = pictures.astype("float32")
    expected = np.asarray(student(pictures))

    def psnr(nbits, mode):
        spec, _ = quantized(student, nbits, mode)
        received = neural_network_interpreter.load(spec)(pictures)
        return fidelity.psnr(expected, received)

    half, eight, six, four = (psnr(n, "linear") for n in (16, 8, 6, 4))
    assert half > 55 and eight > 35 and half > eight > six > four > 12
    assert psnr(2, "kmeans") > 5


@pytest.mark.parametrize("mode", ["linear", "kmeans"])
@pytest.mark.parametrize("nbits", NBITS)
def test_files_of_all_encodings_run(small, nbits, mode):
    inputs = np.random.default_rng(0).normal(size=(2, 7, 10, 4))
    expected = np.asarray(small(inputs))
    spec, report = quantized(small, nbits, mode)
    received = neural_network_interpreter.load(spec)(inputs)
    error = np.abs(received - expected).max() / np.ptp(expected)
    assert error < 2 ** (1 - min(nbits, 10))
    assert spec.specificationVersion == (2 if nbits == 16 else 3)
    names = [row.name for row in report]
    assert names == ["conv", "batch", "prelu", "transpose", "dense"]


@pytest.mark.parametrize("mode", ["linear", "kmeans"])
@pytest.mark.parametrize("nbits", [8, 6, 4, 3, 1])
def test_coremltools_decodes_the_same_numbers(small, nbits, mode):
    spec, _ = quantized(small, nbits, mode)
    checked = 0
    for layer in spec.neuralNetwork.layers:
        if layer.WhichOneof("layer") != "convolution":
            continue
        params = layer.convolution
        axis = int(params.isDeconvolution)
        shape = [params.outputChannels, params.kernelChannels]
        shape = (*(shape[::-1] if axis else shape), *params.kernelSize)
        ours = numbers(params.weights, shape, axis)
        # Of the installed coremltools; it works where nothing is empty.
        copy = NeuralNetwork_pb2.WeightParams.FromString(
            params.weights.SerializeToString()
        )
        quantization_utils._dequantize_wp(copy, shape, axis)
        np.testing.assert_allclose(
            ours.ravel(), np.array(copy.floatValue), rtol=1e-5, atol=1e-6
        )
        checked += 1
    assert checked == 2


HELD = {
    "symmetric": {"nbits": 8},
    "linear": {"nbits": 4, "mode": "linear"},
    "tensor": {"nbits": 5, "granularity": "per_tensor"},
    "kmeans": {"nbits": 3, "mode": "kmeans"},
}
# From Keras' kernel to that of the specification.
ORDERS = {"conv": (3, 2, 0, 1), "transpose": (3, 2, 0, 1), "dense": (1, 0)}


@pytest.mark.parametrize("nbits", [None, 8])
@pytest.mark.parametrize("held", HELD)
def test_codes_of_the_weights_are_written_as_they_are(small, held, nbits):
    model, found = quantize_weights(small, HELD[held])
    codes = {row.name: row.codes for row in found.weights if row.codes}
    network = build_network(model)
    quantize_network(network, nbits)
    spec, messages = network.spec, {}
    for layer in spec.neuralNetwork.layers:
        kind = layer.WhichOneof("layer")
        if kind in ("convolution", "innerProduct"):
            name = network.owners[layer.name].name
            messages[name] = getattr(layer, kind).weights
    assert set(messages) == set(ORDERS)
    for name, message in messages.items():
        made = codes[f"{name}/kernel"]
        order = ORDERS[name]
        expected = made.codes.transpose(order)
        stored = message.quantization.numberOfBits
        assert stored == made.nbits == HELD[held]["nbits"]
        received = unpack_bits(message.rawValue, stored, expected.size)
        assert (received == expected.ravel()).all()
        values = numbers(message, expected.shape, int(name == "transpose"))
        assert (values == made.decode().transpose(order)).all()
    inputs = np.random.default_rng(0).normal(size=(2, 7, 10, 4))
    received = neural_network_interpreter.load(spec)(inputs)
    expected = np.asarray(model(inputs))
    tolerance = {None: 1e-4, 8: 3e-2}[nbits]  # Vectors are float16 then.
    np.testing.assert_allclose(received, expected, atol=tolerance)
    assert spec.specificationVersion == 3


def test_more_bits_than_asked_for_are_not_kept(small):
    model, _ = quantize_weights(small, {"nbits": 8, "mode": "linear"})
    spec, _ = quantized(model, 4, "kmeans")
    assert kernel_of(spec).quantization.numberOfBits == 4


def test_linear_kernel_is_within_half_a_step_of_keras(small):
    spec, _ = quantized(small, 8)
    kernel = small.get_layer("conv").kernel.numpy().transpose(3, 2, 0, 1)
    message = kernel_of(spec)
    scale = np.array(message.quantization.linearQuantization.scale)
    assert len(scale) == 20 and message.quantization.numberOfBits == 8
    error = np.abs(numbers(message, kernel.shape) - kernel)
    assert (error.max(axis=(1, 2, 3)) <= scale * 0.5001).all()


def test_codebook_has_all_its_entries(small):
    spec, _ = quantized(small, 4, "kmeans")
    table = kernel_of(spec).quantization.lookupTableQuantization.floatValue
    assert len(table) == 16
    assert len(kernel_of(spec).rawValue) == 3 * 3 * 4 * 20 / 2


def test_codebooks_that_do_not_pay_are_noted(small):
    # 720 numbers: 8-bit codes and 1,024 bytes of codebook, or 1,440 bytes.
    spec, report = quantized(small, 8, "kmeans")
    assert "linear, as a codebook takes more" in report[0].note
    assert kernel_of(spec).quantization.HasField("linearQuantization")
    # 2,880 numbers are worth a codebook.
    assert report[3].note == "" and report[3].bits == 8


def test_few_numbers_stay_float16():
    model = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(1, 1)])
    spec, (row,) = quantized(distinct_weights(model), 4)
    assert row.note == "too few numbers for codes" and row.bits == 16
    assert len(kernel_of(spec).float16Value) == 4


def test_numbers_too_large_for_float16_stay_float32():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(12, 3, use_bias=False),
            layers.BatchNormalization(),
        ]
    )
    distinct_weights(model)
    model.layers[1].moving_variance.assign([1e6] * 12)
    spec, report = quantized(model, 8)
    assert [row.bits for row in report] == [8, 32]
    assert "too large for float16" in report[1].note
    batchnorm = spec.neuralNetwork.layers[1].batchnorm
    # Core ML refuses a layer that mixes float32 and float16.
    assert all(
        len(getattr(batchnorm, name).floatValue) == 12
        for name in ("gamma", "beta", "mean", "variance")
    )


def test_layers_without_weights_are_not_reported():
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), layers.Rescaling(1 / 255), layers.ReLU()]
    )
    assert quantized(model, 8)[1] == ()


# Reading weights that are not as the specification says.


def message(**fields):
    return NeuralNetwork_pb2.WeightParams(**fields)


def coded(nbits, raw, **quantization):
    params = NeuralNetwork_pb2.QuantizationParams(
        numberOfBits=nbits, **quantization
    )
    return message(rawValue=raw, quantization=params)


def linear(scale, bias):
    return NeuralNetwork_pb2.LinearQuantizationParams(scale=scale, bias=bias)


def table(values):
    return NeuralNetwork_pb2.LookUpTableQuantizationParams(floatValue=values)


def test_documented_layout():
    # 2 bits each, first code in the highest bits: 0 1 2 3.
    raw = bytes([0b00011011])
    values = numbers(coded(2, raw, linearQuantization=linear([2], [-1])), (4,))
    assert values.tolist() == [-1, 1, 3, 5]
    no_bias = coded(2, raw, linearQuantization=linear([2], []))
    assert numbers(no_bias, (4,)).tolist() == [0, 2, 4, 6]
    per_row = coded(2, raw, linearQuantization=linear([1, 10], [0, 5]))
    assert numbers(per_row, (2, 2)).tolist() == [[0, 1], [25, 35]]
    assert numbers(per_row, (2, 2), 1).tolist() == [[0, 15], [2, 35]]
    looked_up = coded(2, raw, lookupTableQuantization=table([9, 7, 5, 3]))
    assert numbers(looked_up, (4,)).tolist() == [9, 7, 5, 3]
    half = message(float16Value=np.array([1.5, -2], "<f2").tobytes())
    assert numbers(half, (2,)).tolist() == [1.5, -2]


WRONG = {
    "empty": (message(), "in one encoding. Received: none"),
    "two encodings": (
        message(floatValue=[1, 2, 3, 4], float16Value=b"12345678"),
        "floatValue.*float16Value",
    ),
    "too few": (message(floatValue=[1, 2]), "expected 4 weights"),
    "too few codes": (coded(8, b"123"), "expected 4 bytes.*3 bytes"),
    "empty table": (
        coded(8, b"1234", lookupTableQuantization=table([])),
        "256 entries. Received: 0",
    ),
    "no scale": (coded(8, b"1234"), "without scale or table"),
    "scales": (
        coded(8, b"1234", linearQuantization=linear([1] * 3, [1] * 3)),
        "expected 1 or 4 scales",
    ),
}


@pytest.mark.parametrize("weights, text", WRONG.values(), ids=WRONG)
def test_damaged_weights_are_refused(weights, text):
    with pytest.raises(ConversionError, match=text):
        numbers(weights, (4,))
