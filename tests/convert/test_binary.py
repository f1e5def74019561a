"""Layers with kernels and inputs of few bits, in all file formats."""

import keras
import mil_blobs
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from helpers import distinct_weights, slow_but
from keras import layers

from fritz_compress import quantizers
from fritz_compress.binarization import convert_to_binary
from fritz_compress.convert import (
    ConversionError,
    mil_interpreter,
    neural_network_interpreter,
    to_coreml,
    to_tflite,
)
from fritz_compress.convert.neural_network import build_network
from fritz_compress.convert.neural_network_quantization import (
    quantize_network,
)
from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    XnorConv2D,
    XnorDense,
)
from fritz_compress.models import BinaryConnectMLP, BinaryLeNet5, BinaryResNet

PICTURE = (7, 10, 4)  # Odd height, so that stride 2 pads on one side only.
SCALED = {"kernel_quantizer": "magnitude_aware_sign"}
WEIGHTS_OF_3_BITS = quantizers.DoReFa(3, "weights")

LAYERS = {
    "convolution": lambda: BinaryConv2D(5, 3),
    "same, ones around": lambda: BinaryConv2D(
        5, (3, 4), (2, 3), "same", pad_values=1.0, use_scale=True
    ),
    "same, minus ones, stride": lambda: BinaryConv2D(
        5, 3, 2, "same", pad_values=-1.0, use_bias=False, **SCALED
    ),
    "same, zeros, both scales": lambda: BinaryConv2D(
        5, 3, 2, "same", use_scale=True, activation="relu", **SCALED
    ),
    "grouped": lambda: BinaryConv2D(
        6, 3, 2, "same", groups=2, pad_values=1.0, **SCALED
    ),
    "dilated": lambda: BinaryConv2D(
        5, 3, padding="same", pad_values=1.0, dilation_rate=2
    ),
    "kernel alone": lambda: BinaryConv2D(
        5, 3, input_quantizer=None, kernel_quantizer="stochastic_sign"
    ),
    "inputs alone": lambda: BinaryConv2D(
        5, 3, input_quantizer="approx_sign", kernel_quantizer=None
    ),
    "of one bit after DoReFa": lambda: BinaryConv2D(
        5,
        3,
        input_quantizer=quantizers.DoReFa(1),
        kernel_quantizer=quantizers.DoReFa(1, "weights"),
    ),
    "of few bits after DoReFa": lambda: BinaryConv2D(
        5,
        3,
        padding="same",
        input_quantizer=quantizers.DoReFa(2),
        kernel_quantizer=WEIGHTS_OF_3_BITS,
    ),
    "even levels": lambda: BinaryConv2D(
        5, 3, input_quantizer=quantizers.EvenLevels(2), **SCALED
    ),
    "ternary": lambda: BinaryConv2D(
        5, 3, input_quantizer="ste_tern", kernel_quantizer="ste_tern"
    ),
    "depthwise": lambda: BinaryDepthwiseConv2D(
        3, 2, "same", 2, pad_values=-1.0, use_scale=True, **SCALED
    ),
    "depthwise, sign behind": lambda: BinaryDepthwiseConv2D(
        3, depth_multiplier=2, activation=quantizers.SteSign()
    ),
    "dense on channels": lambda: BinaryDense(5, use_scale=True),
    "xnor": lambda: XnorConv2D(5, 3, 2, "same"),
    "xnor, ones around": lambda: XnorConv2D(
        5, (3, 2), padding="same", pad_values=1.0, use_bias=False
    ),
    "xnor dense on channels": lambda: XnorDense(5, kernel_quantizer="ste_sign"),
    "sign": lambda: layers.Activation(quantizers.SwishSign()),
    "levels": lambda: layers.Activation(quantizers.DoReFa(3)),
}
# What Core ML's validator takes for layers of iOS 12.
OF_IOS_12 = set(
    "activation add batchnorm bias convolution flatten innerProduct multiply "
    "padding permute pooling reduce reshape scale slice softmax unary".split()
)


def of_layer(layer, shape=PICTURE):
    """A layer behind a normalization, so that signs are of float sums."""
    steps = [layers.BatchNormalization(), layer]
    return distinct_weights(keras.Sequential([keras.Input(shape), *steps]))


def samples_for(model, count=4):
    shape = (count, *model.inputs[0].shape[1:])
    samples = np.random.default_rng(0).normal(size=shape).astype("float32")
    samples[0].flat[:3] = 0, -0.0, 1e-7
    return samples


def outputs(model, samples):
    return np.asarray(model(samples, training=False))


def with_levels(model):
    """The model as it is deployed, or itself if there is nothing to convert."""
    quantized = [
        getattr(layer, "kernel_quantizer", None) for layer in model.layers
    ]
    return convert_to_binary(model) if any(quantized) else model


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_mlmodel_of_each_layer(make):
    model = of_layer(make())
    samples = samples_for(model)
    expected = outputs(model, samples)
    assert np.ptp(expected) > 0
    for given in (model, with_levels(model)):
        network = build_network(given)
        quantize_network(network, None)
        kinds = {
            layer.WhichOneof("layer")
            for layer in network.spec.neuralNetwork.layers
        }
        assert kinds <= OF_IOS_12 and network.spec.specificationVersion <= 3
        received = neural_network_interpreter.load(network.spec)(samples)
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


def test_mlmodel_of_dense_layers():
    steps = [
        BinaryDense(9, use_scale=True, activation="relu"),
        layers.BatchNormalization(),
        XnorDense(7),
        layers.BatchNormalization(),
        XnorDense(5, use_bias=False, use_scale=True),
    ]
    model = keras.Sequential([keras.Input((12,)), *steps])
    samples = samples_for(distinct_weights(model))
    network = build_network(model)
    quantize_network(network, None)
    received = neural_network_interpreter.load(network.spec)(samples)
    np.testing.assert_allclose(received, outputs(model, samples), atol=1e-5)


# What the file holds


def kernels_of(path_or_spec):
    """`WeightParams` of each convolution and dense layer."""
    found = []
    for layer in path_or_spec.neuralNetwork.layers:
        kind = layer.WhichOneof("layer")
        if kind in ("convolution", "innerProduct"):
            found.append(getattr(layer, kind).weights)
    return found


@pytest.mark.parametrize(
    "layer, nbits, count",
    [
        (lambda: BinaryConv2D(16, 3, **SCALED), 1, 3 * 3 * 4 * 16 // 8),
        (lambda: BinaryDense(7), 1, 4),  # 28 signs.
        (lambda: BinaryDepthwiseConv2D(3), 1, 5),  # 36 signs.
        (
            lambda: BinaryConv2D(16, 3, kernel_quantizer="ste_tern"),
            2,
            3 * 3 * 4 * 16 * 2 // 8,
        ),
        (
            lambda: BinaryConv2D(16, 3, kernel_quantizer=WEIGHTS_OF_3_BITS),
            3,
            3 * 3 * 4 * 16 * 3 // 8,
        ),
    ],
)
@pytest.mark.parametrize("asked", [None, 8, "its own"])
def test_mlmodel_holds_kernels_in_their_bits(layer, nbits, count, asked):
    model = of_layer(layer())
    for given in (model, convert_to_binary(model)):
        network = build_network(given)
        rows = quantize_network(network, nbits if asked == "its own" else asked)
        (kernel,) = kernels_of(network.spec)
        assert kernel.quantization.numberOfBits == nbits
        assert len(kernel.rawValue) == count
        assert not kernel.floatValue and not kernel.float16Value
        assert rows[-1].bits == nbits


def test_one_bit_takes_a_32nd_of_a_float(tmp_path):
    def bytes_of(layer):
        model = distinct_weights(keras.Sequential([keras.Input((256,)), layer]))
        path = tmp_path / "m.mlmodel"
        return to_coreml(model, path, samples=samples_for(model)).bytes

    binary = bytes_of(BinaryDense(512, use_bias=False))
    floats = bytes_of(layers.Dense(512, use_bias=False))
    assert 256 * 512 / 8 < binary < 256 * 512 / 8 + 400
    assert floats > 31 * binary


def test_scales_are_weights_of_the_layer():
    model = of_layer(BinaryConv2D(16, 3, use_bias=False, **SCALED))
    network = build_network(model)
    *_, row = quantize_network(network, None)
    # Codes, two levels and 16 scales; what says so takes some bytes.
    assert 72 + 8 + 4 * 16 < row.bytes < 72 + 8 + 4 * 16 + 30
    quantize_network(network := build_network(model), 16)
    scale = network.spec.neuralNetwork.layers[-1].scale.scale
    assert len(scale.float16Value) == 2 * 16


def test_constants_of_layers_without_weights_stay_floats():
    model = of_layer(layers.Rescaling([1.0, 2, 3, 4]))
    network = build_network(model)
    rows = quantize_network(network, 16)
    scale = network.spec.neuralNetwork.layers[-1].scale.scale
    assert len(scale.floatValue) == 4 and len(rows) == 1


# What is refused


@pytest.mark.parametrize(
    "quantizer, name",
    [
        (quantizers.SteTern("mean"), r"SteTern\(threshold='mean'"),
        (quantizers.DoReFa(2, "weights"), r"DoReFa\(nbits=2, mode='weights'\)"),
        (quantizers.MagnitudeAwareSign(), r"MagnitudeAwareSign\("),
    ],
)
def test_levels_of_all_inputs_together_are_refused(quantizer, name):
    model = of_layer(BinaryConv2D(5, 3, input_quantizer=quantizer, name="conv"))
    with pytest.raises(
        ConversionError,
        match=f"Layer 'conv': activations quantized by {name}.*no counterpart.*"
        "Use 'ste_sign'",
    ):
        build_network(model)


def test_channels_first_are_refused():
    # As such a layer does not run on the CPU, it is not built in a model.
    layer = BinaryConv2D(5, 3, data_format="channels_first", name="conv")
    inputs = keras.Input((4, 7, 10))
    model = keras.Model(inputs, layer(inputs))
    with pytest.raises(ConversionError, match="'conv'.*channels_last"):
        build_network(model)


# .tflite


def tensors_of(path):
    """Type, shape and bytes of the constants of a file, and its operators."""
    model = schema.ModelT.InitFromObj(
        schema.Model.GetRootAsModel(path.read_bytes(), 0)
    )
    part = model.subgraphs[0]
    return [
        (tensor, bytes(bytearray(model.buffers[tensor.buffer].data)))
        for tensor in part.tensors
        if model.buffers[tensor.buffer].data is not None
    ]


@pytest.mark.parametrize(
    "name",
    slow_but(
        LAYERS,
        "same, ones around",
        "of few bits after DoReFa",
        "depthwise",
        "xnor",
    ),
)
def test_tflite_of_each_layer(name, tmp_path):
    model = of_layer(LAYERS[name]())
    samples = samples_for(model)
    for given in (model, with_levels(model)):
        report = to_tflite(given, tmp_path / "m.tflite", samples=samples)
        # Not one sign has turned: these would be a tenth of the range.
        assert report.psnr > 110


@pytest.mark.parametrize("quantization", ["weights", "dynamic"])
def test_tflite_keeps_signs_as_signs(quantization, tmp_path):
    model = of_layer(BinaryConv2D(16, 3, use_bias=False, **SCALED))
    samples, path = samples_for(model), tmp_path / "m.tflite"
    report = to_tflite(model, path, quantization, samples=samples)
    # "dynamic" has 255 steps from -1 to 1 for the inputs, and none for 0.
    assert report.psnr > (110 if quantization == "weights" else 60)
    assert report.layers[-1].bits == 4
    ((kernel, data),) = [
        (tensor, data)
        for tensor, data in tensors_of(path)
        if tensor.type == schema.TensorType.INT4
    ]
    assert len(data) == 3 * 3 * 4 * 16 / 2
    nibbles = np.frombuffer(data, "uint8")
    assert set(nibbles & 15) | set(nibbles >> 4) == {1, 15}
    alpha = np.abs(model.layers[-1].kernel.numpy()).mean((0, 1, 2))
    np.testing.assert_allclose(kernel.quantization.scale, alpha, rtol=1e-6)


@pytest.mark.parametrize("quantizes", ["kernel", "inputs"])
def test_layers_that_are_binary_in_part_are_written_so(quantizes, tmp_path):
    """As `callbacks.GradualBinarization` leaves them on the way."""
    model = of_layer(BinaryConv2D(16, 3, **SCALED))
    layer, samples = model.layers[-1], samples_for(model)
    both = outputs(model, samples)
    layer.quantizes_kernel = quantizes == "kernel"
    layer.quantizes_inputs = quantizes == "inputs"
    assert np.abs(outputs(model, samples) - both).max() > 0.1
    report = to_tflite(model, tmp_path / "m.tflite", samples=samples)
    assert report.psnr > 110
    report = to_tflite(model, tmp_path / "m.tflite", "weights", samples=samples)
    assert report.layers[-1].bits == (4 if quantizes == "kernel" else 8)
    report = to_coreml(model, tmp_path / "m.mlmodel", samples=samples)
    assert report.psnr > 110
    assert report.layers[-1].bits == (1 if quantizes == "kernel" else 32)


class Uneven(quantizers.SteSign):
    """A quantizer of a user, with levels of its own."""

    def __call__(self, values, training=None):
        return keras.ops.where(values >= 0, 1.0, -0.3)


def test_levels_of_other_quantizers_are_kept_in_their_bits(tmp_path):
    quantizer = Uneven()
    layer = BinaryConv2D(16, 3, kernel_quantizer=quantizer, name="conv")
    model = of_layer(layer)
    samples = samples_for(model)
    report = to_coreml(model, tmp_path / "m.mlmodel", samples=samples)
    assert report.psnr > 110 and report.layers[-1].bits == 1
    layer.input_quantizer = quantizer
    with pytest.raises(ConversionError, match=r"'conv'.*Uneven\(clip_value"):
        build_network(model)


@pytest.mark.parametrize("quantization", ["weights", "dynamic"])
def test_tflite_keeps_levels_of_few_bits(quantization, tmp_path):
    """Which eight bits around zero would round: 1 / 7 is none of 127 steps."""
    kernels = {"kernel_quantizer": WEIGHTS_OF_3_BITS}
    model = of_layer(BinaryConv2D(16, 3, input_quantizer="ste_sign", **kernels))
    report = to_tflite(
        model, tmp_path / "m.tflite", quantization, samples=samples_for(model)
    )
    assert report.psnr > (110 if quantization == "weights" else 55)
    assert report.layers[-1].bits == 4


def test_tflite_tells_of_levels_that_it_has_no_integers_for(tmp_path):
    quantizer = quantizers.DoReFa(8, "weights")
    model = of_layer(BinaryConv2D(16, 3, kernel_quantizer=quantizer))
    report = to_tflite(
        model, tmp_path / "m.tflite", "weights", samples=samples_for(model)
    )
    assert "levels of 9 bits with zero; TFLite has 8" in report.layers[-1].note


def test_tflite_says_that_one_bit_is_not_stored(tmp_path):
    model = of_layer(BinaryConv2D(16, 3))
    report = to_tflite(model, tmp_path / "m.tflite", samples=samples_for(model))
    *_, row = report.layers
    assert row.bits == 32 and row.bytes > 4 * 3 * 3 * 4 * 16
    assert row.note == (
        "ordinary operations, no faster than floats; 1-bit kernels are for "
        "Core ML files, .fcz and PackedModel"
    )


def test_tflite_reports_dense_kernels_before_a_normalization(tmp_path):
    model = distinct_weights(BinaryConnectMLP.build(alpha=0.1, num_bits=1))
    report = to_tflite(
        model,
        tmp_path / "m.tflite",
        "weights",
        samples=samples_for(model),
        min_psnr=10,  # Pixels times signs are summed in another order.
    )
    rows = {row.name: row for row in report.layers}
    assert [rows[f"ip{i}"].bits for i in (1, 2, 3)] == [4, 4, 4]
    assert rows["ip1"].bytes >= 784 * 102 / 2


# .mlpackage


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_mlpackage_of_each_layer(name, tmp_path):
    model = of_layer(LAYERS[name]())
    samples, path = samples_for(model), tmp_path / "m.mlpackage"
    report = to_coreml(model, path, samples=samples)
    assert report.psnr > 110
    deployed = to_coreml(with_levels(model), path, samples=samples)
    assert deployed.psnr > 110
    assert deployed.layers[-1].bits == report.layers[-1].bits


@pytest.mark.slow
def test_mlpackage_holds_kernels_in_tables_of_two(tmp_path):
    model = of_layer(BinaryConv2D(16, 3, use_bias=False, **SCALED))
    path = tmp_path / "m.mlpackage"
    report = to_coreml(model, path, samples=samples_for(model))
    ((kind, arguments),) = mil_blobs.constant_operations(path)
    assert kind == "constexpr_lut_to_dense"
    assert len(np.ravel(arguments["indices"])) == 3 * 3 * 4 * 16 // 8
    assert sorted(np.ravel(arguments["lut"])) == [-1, 1]
    assert report.layers[-1].bits == 1
    assert report.layers[-1].bytes == 72 + 2 * 4 + 16 * 4


@pytest.mark.slow
def test_mlpackage_leaves_normalizations_exact(tmp_path):
    model = of_layer(BinaryConv2D(16, 3))
    path = tmp_path / "m.mlpackage"
    to_coreml(model, path, samples=samples_for(model))
    program = mil_interpreter.load(path)
    kinds = {operation.op_type for operation in program._function.operations}
    # coremltools' own adds 1e-5 to a variance of 1.
    assert "batch_norm" not in kinds and {"mul", "sign"} <= kinds


# Whole networks


NETWORKS = {
    "resnet": lambda: BinaryResNet.build((32, 32), 0.5, 8),
    "resnet of two bits": lambda: BinaryResNet.build(
        (32, 32), 0.5, 8, num_bits=2
    ),
    "xnor resnet": lambda: BinaryResNet.build(
        (32, 32), 0.5, 8, "B", input_scale=True, bi_real=True
    ),
    "lenet": lambda: BinaryLeNet5.build(),
    "mlp": lambda: BinaryConnectMLP.build(alpha=0.1, num_bits=1),
}


def converted(name, convert, path, **arguments):
    model = distinct_weights(NETWORKS[name]())
    report = convert(model, path, samples=samples_for(model), **arguments)
    assert report.psnr > 100  # No sign has turned.
    return model, report


def bits_of_binary(report):
    kinds = ("Binary", "Xnor")
    return {r.bits for r in report.layers if r.kind.startswith(kinds)}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_as_mlmodel(name, tmp_path):
    model, report = converted(name, to_coreml, tmp_path / "m.mlmodel")
    assert bits_of_binary(report) == {1}
    deployed = to_coreml(
        convert_to_binary(model),
        tmp_path / "deployed.mlmodel",
        samples=samples_for(model),
    )
    assert deployed.psnr == report.psnr and deployed.bytes == report.bytes


@pytest.mark.parametrize("name", slow_but(NETWORKS, "resnet", "mlp"))
def test_networks_as_tflite(name, tmp_path):
    converted(name, to_tflite, tmp_path / "m.tflite")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_as_mlpackage(name, tmp_path):
    _, report = converted(name, to_coreml, tmp_path / "m.mlpackage")
    assert bits_of_binary(report) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_as_tflite_of_integers(name, tmp_path):
    model = distinct_weights(NETWORKS[name]())
    report = to_tflite(
        model,
        tmp_path / "m.tflite",
        "int8",
        representative_data=samples_for(model, 32),
        samples=samples_for(model),
        min_psnr=10,  # Of random weights, whose signs turn easily.
    )
    assert {row.bits for row in report.layers if "Conv" in row.kind} <= {8}
