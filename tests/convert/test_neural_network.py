"""What Keras computes is what the written Core ML network computes."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress.convert import neural_network_interpreter
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.neural_network import build_network
from fritz_compress.layers import DeprocessStylizedImage, InstanceNormalization
from fritz_compress.models import SmallStyleTransferNetwork

PICTURE = (7, 10, 4)  # Odd height, so that stride 2 pads on one side only.


def sequential(*steps, shape=PICTURE):
    model = keras.Sequential([keras.Input(shape), *steps])
    return distinct_weights(model)


def inputs_for(model, batch=2):
    shape = (batch, *model.inputs[0].shape[1:])
    return np.random.default_rng(0).normal(size=shape).astype("float32") * 3


def kinds(network):
    spec_layers = network.spec.neuralNetwork.layers
    return [layer.WhichOneof("layer") for layer in spec_layers]


def check(model, tolerance=1e-5):
    network = build_network(model)
    inputs = inputs_for(model)
    expected = np.asarray(model(inputs, training=False))
    received = neural_network_interpreter.load(network.spec)(inputs)
    assert received.shape == expected.shape and np.ptp(expected) > 0
    np.testing.assert_allclose(
        received, expected, rtol=tolerance, atol=tolerance * np.ptp(expected)
    )
    return network


SINGLE_LAYERS = {
    "conv": lambda: layers.Conv2D(5, 3),
    "conv same": lambda: layers.Conv2D(5, (3, 4), padding="same"),
    "conv stride 2": lambda: layers.Conv2D(5, 3, strides=2, padding="same"),
    "conv stride 2 valid": lambda: layers.Conv2D(5, 4, strides=2),
    "conv even kernel": lambda: layers.Conv2D(5, 4, 2, padding="same"),
    "conv strides 3, 2": lambda: layers.Conv2D(5, 5, (3, 2), padding="same"),
    "conv no bias": lambda: layers.Conv2D(5, 3, use_bias=False),
    "conv dilated": lambda: layers.Conv2D(
        5, 3, dilation_rate=(2, 1), padding="same"
    ),
    "conv dilated valid": lambda: layers.Conv2D(5, 3, dilation_rate=2),
    "conv grouped": lambda: layers.Conv2D(6, 3, groups=2, padding="same"),
    "conv relu": lambda: layers.Conv2D(5, 3, activation="relu"),
    "conv softmax": lambda: layers.Conv2D(5, 1, activation="softmax"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, padding="same"),
    "depthwise multiplier": lambda: layers.DepthwiseConv2D(
        3, 2, "same", depth_multiplier=3, activation="tanh"
    ),
    "depthwise dilated": lambda: layers.DepthwiseConv2D(3, dilation_rate=2),
    "separable": lambda: layers.SeparableConv2D(5, 3, padding="same"),
    "separable strided": lambda: layers.SeparableConv2D(
        5, 3, 2, "same", depth_multiplier=2, activation="elu", use_bias=False
    ),
    "transpose same": lambda: layers.Conv2DTranspose(5, 3, 2, "same"),
    "transpose same even": lambda: layers.Conv2DTranspose(5, 4, 2, "same"),
    "transpose same odd surplus": lambda: layers.Conv2DTranspose(
        5, 5, (2, 3), "same", activation="relu"
    ),
    "transpose valid": lambda: layers.Conv2DTranspose(5, 3, 2, use_bias=False),
    "transpose stride over kernel": lambda: layers.Conv2DTranspose(
        5, 2, 3, "same"
    ),
    "transpose stride over kernel valid": lambda: layers.Conv2DTranspose(
        5, 2, (3, 2), "valid"
    ),
    "dense on channels": lambda: layers.Dense(5, activation="sigmoid"),
    "batch norm": lambda: layers.BatchNormalization(),
    "batch norm bare": lambda: layers.BatchNormalization(
        center=False, scale=False, epsilon=0.1
    ),
    "instance norm": lambda: InstanceNormalization(epsilon=0.1),
    "deprocess": lambda: DeprocessStylizedImage(),
    "rescaling": lambda: layers.Rescaling(0.5, -1),
    "rescaling channels": lambda: layers.Rescaling([1.0, 2, 3, 4], 0.5),
    "relu": lambda: layers.ReLU(),
    "relu 6": lambda: layers.ReLU(max_value=1.5),
    "relu slope": lambda: layers.ReLU(negative_slope=0.3),
    "relu slope and max": lambda: layers.ReLU(1.5, 0.3),
    "relu threshold": lambda: layers.ReLU(threshold=0.7),
    "leaky relu": lambda: layers.LeakyReLU(0.4),
    "elu": lambda: layers.ELU(0.7),
    "prelu": lambda: layers.PReLU(shared_axes=[1, 2]),
    "softmax": lambda: layers.Softmax(),
    "nearest": lambda: layers.UpSampling2D((2, 3)),
    "bilinear": lambda: layers.UpSampling2D((2, 3), interpolation="bilinear"),
    "max pool": lambda: layers.MaxPooling2D(),
    "max pool same": lambda: layers.MaxPooling2D(3, 2, "same"),
    "average pool": lambda: layers.AveragePooling2D((2, 3), 1),
    "average pool same": lambda: layers.AveragePooling2D(3, 2, "same"),
    "global average": lambda: layers.GlobalAveragePooling2D(),
    "global average keepdims": lambda: layers.GlobalAveragePooling2D(
        keepdims=True
    ),
    "global max": lambda: layers.GlobalMaxPooling2D(),
    "padding": lambda: layers.ZeroPadding2D(((1, 2), (3, 4))),
    "cropping": lambda: layers.Cropping2D(((1, 2), (3, 4))),
    "flatten": lambda: layers.Flatten(),
    "reshape": lambda: layers.Reshape((5, 7, 8)),
    "reshape to a vector": lambda: layers.Reshape((-1,)),
    "dropout at the end": lambda: layers.Dropout(0.5),
}


@pytest.mark.parametrize("make", SINGLE_LAYERS.values(), ids=SINGLE_LAYERS)
def test_single_layer(make):
    check(sequential(make()))


@pytest.mark.parametrize(
    "activation",
    "elu exponential hard_sigmoid hard_swish leaky_relu linear relu relu6 selu "
    "sigmoid softmax softplus softsign swish tanh".split(),
)
def test_activation(activation):
    check(sequential(layers.Activation(activation)))


MERGES = {
    "add": layers.Add(),
    "subtract": layers.Subtract(),
    "multiply": layers.Multiply(),
    "average": layers.Average(),
    "maximum": layers.Maximum(),
    "minimum": layers.Minimum(),
    "concatenate": layers.Concatenate(),
    "raw add": lambda pair: pair[0] + pair[1],
    "raw subtract": lambda pair: pair[1] - pair[0],
    "raw multiply": lambda pair: pair[0] * pair[1],
    "numbers": lambda pair: 2 - (pair[0] * 3 + 1.5) + (pair[1] - 0.5),
    "twice": lambda pair: pair[0] * pair[0] + pair[1],
}


@pytest.mark.parametrize("merge", MERGES.values(), ids=MERGES)
def test_merge(merge):
    inputs = keras.Input(PICTURE)
    branches = [layers.Conv2D(3, 1, name=f"branch_{i}")(inputs) for i in "ab"]
    check(distinct_weights(keras.Model(inputs, merge(branches))))


@pytest.mark.parametrize("swapped", [False, True])
def test_squeeze_and_excite(swapped):
    inputs = keras.Input(PICTURE)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    gate = layers.Dense(4, activation="sigmoid")(gate)
    pair = [gate, inputs] if swapped else [inputs, gate]
    model = keras.Model(inputs, layers.Multiply()(pair))
    network = check(distinct_weights(model))
    # The result has the shape of the first input, says the specification.
    first, _ = network.spec.neuralNetwork.layers[-1].input
    assert first == network.spec.description.input[0].name


def test_flatten_keeps_the_order_of_keras_for_dense_layers():
    check(
        sequential(
            layers.Conv2D(3, 3, 2, "same"),
            layers.Flatten(),
            layers.Dense(6, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(12),
            layers.Reshape((2, 2, 3)),
            layers.Conv2D(2, 2),
        )
    )


def test_vectors_in_and_out():
    model = sequential(layers.Dense(3), layers.Softmax(), shape=(5,))
    network = check(model)
    shape = network.spec.description.input[0].type.multiArrayType.shape
    assert list(shape) == [5]


def test_layers_of_training_leave_no_trace():
    network = check(
        sequential(
            layers.GaussianNoise(0.1),
            layers.Conv2D(3, 3),
            layers.Dropout(0.5),
            layers.SpatialDropout2D(0.5),
            layers.Activation("linear"),
            layers.ReLU(),
        )
    )
    assert kinds(network) == ["convolution", "activation"]


def test_nested_and_shared_layers():
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    inner = keras.Sequential([keras.Input(PICTURE), shared, layers.ReLU()])
    inputs = keras.Input(PICTURE)
    model = keras.Model(inputs, shared(inner(inputs)))
    network = check(distinct_weights(model))
    assert kinds(network) == ["convolution", "activation", "convolution"]
    assert [name for name, _ in network.owners.values()].count("shared") == 2


@pytest.mark.parametrize(
    "name, alpha", [("MobileNet", 0.25), ("MobileNetV2", 0.35)]
)
def test_mobilenets(name, alpha):
    build = getattr(keras.applications, name)
    model = build((32, 32, 3), alpha, weights=None, classes=10)
    distinct_weights(model)
    for weight in model.weights:
        if weight.name == "kernel" and weight.shape[-1] == 1:
            # Of a depthwise convolution: its fan-in has no channels.
            weight.assign(weight * weight.shape[-2] ** 0.5)
    check(model, tolerance=1e-4)
    # An output that does not depend on the input would prove nothing.
    first, second = np.asarray(model(inputs_for(model)))
    assert np.abs(first - second).max() > 1e-3


@pytest.fixture(scope="module")
def student():
    model = SmallStyleTransferNetwork.build((64, 48), alpha=0.3)
    return distinct_weights(model)


def test_style_network_is_compact_and_takes_pictures(student):
    network = build_network(student)
    spec = network.spec
    names = [kinds(network).count(kind) for kind in sorted(set(kinds(network)))]
    assert dict(zip(sorted(set(kinds(network))), names)) == {
        "activation": 9,
        "add": 3,
        "batchnorm": 12,
        "convolution": 12,
        "scale": 1,
        "upsample": 2,
    }
    for feature in (spec.description.input[0], spec.description.output[0]):
        picture = feature.type.imageType
        assert (picture.height, picture.width) == (64, 48)
        assert picture.colorSpace == picture.RGB
    assert spec.specificationVersion == 1
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3))
    pictures = pictures.astype("float32")
    received = neural_network_interpreter.load(spec)(pictures)
    expected = np.asarray(student(pictures))
    assert np.abs(received - expected).max() <= 1e-3


def test_custom_layer(student):
    network = build_network(student, custom_layers=["DeprocessStylizedImage"])
    last = network.spec.neuralNetwork.layers[-1]
    assert last.custom.className == "DeprocessStylizedImage"
    assert list(last.output) == ["output"]
    assert network.spec.specificationVersion == 2
    plain = build_network(student).spec
    pictures = np.random.default_rng(0).uniform(0, 255, (1, 64, 48, 3))
    load = neural_network_interpreter.load
    np.testing.assert_allclose(
        load(network.spec)(pictures), load(plain)(pictures), atol=1e-4
    )


def test_bilinear_upsampling_needs_ios_14():
    model = sequential(layers.UpSampling2D(2, interpolation="bilinear"))
    assert build_network(model).spec.specificationVersion == 5


def test_arrays_in_place_of_pictures(student):
    network = build_network(student, image_input=False, image_output=False)
    for feature in (
        *network.spec.description.input,
        *network.spec.description.output,
    ):
        assert list(feature.type.multiArrayType.shape) == [3, 64, 48]


def test_open_size_is_fixed_on_request():
    model = SmallStyleTransferNetwork.build(None, alpha=0.1)
    network = build_network(model, image_size=(12, 8), output_name="stylized")
    output = network.spec.description.output[0]
    assert output.name == "stylized"
    assert (output.type.imageType.height, output.type.imageType.width) == (
        12,
        8,
    )
    with pytest.raises(ValueError, match="image_size"):
        build_network(model)


def test_names_are_short_and_owned(student):
    network = build_network(student)
    spec_layers = network.spec.neuralNetwork.layers
    assert set(network.owners) == {layer.name for layer in spec_layers}
    assert max(map(len, network.owners)) <= 2
    assert network.owners["a"] == ("encode_full_convolution", "Conv2D")


def test_the_model_is_not_changed(student):
    before, config = student.get_weights(), student.get_config()
    build_network(student)
    assert student.get_config() == config
    for old, new in zip(before, student.get_weights()):
        assert (old == new).all()


class Unknown(layers.Layer):
    def call(self, inputs):
        return inputs * 2


REFUSED = {
    "unknown layer": (Unknown(name="odd"), "'odd' of class Unknown has no"),
    "unknown activation": (
        layers.Activation("gelu", name="odd"),
        "'odd': activation 'gelu'",
    ),
    "lambda": (
        layers.Conv2D(2, 1, activation=lambda x: x, name="odd"),
        "'odd': activation '<lambda>'",
    ),
    "rank 3": (layers.Reshape((7, 40), name="odd"), "'odd'.*Received: .*7, 40"),
    "bicubic": (
        layers.UpSampling2D(2, interpolation="bicubic", name="odd"),
        "'odd' of class UpSampling2D .* 'bicubic'",
    ),
    "softmax axis": (layers.Softmax(axis=1, name="odd"), "'odd'.* last axis"),
    "batch norm axis": (
        layers.BatchNormalization(axis=1, name="odd"),
        "'odd' of class BatchNormalization .*last axis, not 1",
    ),
    "prelu": (layers.PReLU(name="odd"), r"'odd'.*shared_axes=\[1, 2\]"),
    "output padding": (
        layers.Conv2DTranspose(2, 3, 2, output_padding=1, name="odd"),
        "'odd' of class Conv2DTranspose .*output_padding",
    ),
    "threshold and maximum": (
        layers.ReLU(6, threshold=1, name="odd"),
        "'odd'.*threshold together",
    ),
    "channels first": (
        layers.Flatten(data_format="channels_first", name="odd"),
        "'odd'.*channels_last",
    ),
}


@pytest.mark.parametrize("layer, message", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_written_is_refused_by_name(layer, message):
    with pytest.raises(ConversionError, match=message):
        build_network(sequential(layer))


def test_shapes_that_core_ml_does_not_combine_are_refused():
    inputs = keras.Input(PICTURE)
    row = layers.MaxPooling2D((7, 1))(inputs)
    model = keras.Model(inputs, layers.Add(name="odd")([inputs, row]))
    with pytest.raises(ConversionError, match="'odd'.*do not combine"):
        build_network(model)


def test_concatenation_of_rows_is_refused():
    inputs = keras.Input(PICTURE)
    joined = layers.Concatenate(axis=1, name="odd")([inputs, inputs])
    with pytest.raises(ConversionError, match="'odd'.*axis must be the last"):
        build_network(keras.Model(inputs, joined))


def test_custom_layers_with_weights_or_unknown_names_are_refused(student):
    with pytest.raises(ConversionError, match="must not have weights"):
        build_network(student, custom_layers=["Conv2D"])
    with pytest.raises(ValueError, match="Received: 'Deprocess'; model .* has"):
        build_network(student, custom_layers=["Deprocess"])


def test_models_of_several_ends_are_refused():
    a, b = keras.Input((4,)), keras.Input((4,))
    both = layers.Add()([a, b])
    with pytest.raises(ValueError, match="one input"):
        build_network(keras.Model([a, b], both))
    c = layers.ReLU()(a)
    with pytest.raises(ValueError, match="one output"):
        build_network(keras.Model(a, [c, layers.ReLU()(c)]))
    with pytest.raises(ConversionError, match="no layer between"):
        build_network(keras.Model(a, a))


def test_a_vector_is_no_picture():
    model = sequential(layers.Flatten())
    with pytest.raises(ValueError, match="A picture has the shape.*'output'"):
        build_network(model, image_output=True)


def test_input_and_output_need_different_names(student):
    with pytest.raises(ValueError, match="different names"):
        build_network(student, output_name=student.inputs[0].name)
