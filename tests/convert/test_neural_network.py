"""What Keras computes is what the written Core ML network computes."""

import collections

import keras
import numpy as np
import pytest
from coreml_models import (
    ACTIVATIONS,
    MERGES,
    MOBILENETS,
    OPERATIONS,
    PICTURE,
    SINGLE_LAYERS,
    inputs_for,
    merging,
    mobilenet,
    operating,
    sequential,
)
from helpers import distinct_weights
from keras import layers

from fritz_compress.convert import neural_network_interpreter
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.neural_network import build_network
from fritz_compress.models import SmallStyleTransferNetwork


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


@pytest.mark.parametrize("make", SINGLE_LAYERS.values(), ids=SINGLE_LAYERS)
def test_single_layer(make):
    check(sequential(make()))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation(activation):
    check(sequential(layers.Activation(activation)))


@pytest.mark.parametrize("merge", MERGES.values(), ids=MERGES)
def test_merge(merge):
    check(merging(merge))


@pytest.mark.parametrize("make", OPERATIONS.values(), ids=OPERATIONS)
def test_operation(make):
    check(operating(make))


def test_channels_may_be_mirrored():
    """What coremltools refuses in a Core ML program."""
    widths = [[0, 0], [1, 2], [0, 3], [2, 1]]
    check(operating(lambda x: keras.ops.pad(x, widths, mode="reflect")))


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
    assert list(network.owners.values()).count(shared) == 2


@pytest.mark.parametrize("name", MOBILENETS)
def test_mobilenets(name):
    check(mobilenet(name), tolerance=1e-4)


@pytest.fixture(scope="module")
def student():
    model = SmallStyleTransferNetwork.build((64, 48), alpha=0.3)
    return distinct_weights(model)


def test_style_network_is_compact_and_takes_pictures(student):
    network = build_network(student)
    spec = network.spec
    assert collections.Counter(kinds(network)) == {
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
    pictures = np.random.default_rng(0).integers(0, 256, (1, 64, 48, 3))
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
    assert network.owners["a"].name == "encode_full_convolution"


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


PADDED = [[0, 0], [1, 1], [0, 0], [0, 0]]
REFUSED_OPERATIONS = {
    "rows in reverse": (lambda x: x[:, ::-1], "reverses an axis"),
    "a row by its number": (
        lambda x: x[:, 1, None],
        "picks by numbers, arrays or new axes, not slices",
    ),
    "samples": (lambda x: x[1:, :], "picks samples"),
    "padded samples": (
        lambda x: keras.ops.pad(x, [[0, 1], *PADDED[1:]]),
        "does not pad heights, widths and channels alone",
    ),
    "padded vectors": (
        lambda x: keras.ops.pad(layers.Flatten()(x), [[0, 0], [1, 0]]),
        "does not pad heights, widths and channels alone",
    ),
    "symmetric padding": (
        lambda x: keras.ops.pad(x, PADDED, mode="symmetric"),
        "mode 'symmetric' is none of constant, reflect",
    ),
}


@pytest.mark.parametrize(
    "make, message", REFUSED_OPERATIONS.values(), ids=REFUSED_OPERATIONS
)
def test_operations_that_cannot_be_written_are_refused(make, message):
    inputs = keras.Input(PICTURE)
    model = keras.Model(inputs, make(inputs))
    with pytest.raises(ConversionError, match=message):
        build_network(model)


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
