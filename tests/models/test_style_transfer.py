import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress.models import (
    SmallStyleTransferNetwork,
    StyleTransferNetwork,
)

# Trainable weights, counted by hand from the architecture of 2018.
WEIGHTS = [
    (StyleTransferNetwork, 1.0, 1_677_638),
    (StyleTransferNetwork, 0.5, 424_102),
    (StyleTransferNetwork, 0.25, 108_374),
    (SmallStyleTransferNetwork, 0.3, 11_868),
    (SmallStyleTransferNetwork, 0.25, 9_830),
]


@pytest.mark.parametrize("builder, alpha, weights", WEIGHTS)
def test_weights_are_exactly_those_of_2018(builder, alpha, weights):
    model = builder.build(None, alpha)
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == weights
    assert model.count_params() == weights


@pytest.mark.parametrize(
    "builder, alpha, weights, channels",
    [
        # Full and half size once on the way in and once on the way out, a
        # quarter on the way in and ten times in the blocks, and the picture.
        (StyleTransferNetwork, 1.0, 1_677_638, 2 * 32 + 2 * 64 + 11 * 128 + 3),
        (SmallStyleTransferNetwork, 0.3, 11_868, 11 * 9 + 3),
    ],
)
def test_batch_normalization_adds_statistics_alone(
    builder, alpha, weights, channels
):
    model = builder.build(None, alpha, normalization="batch")
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == weights
    assert model.count_params() == weights + 2 * channels
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds[1] == "StandardizeImage"
    assert "InstanceNormalization" not in kinds


def test_by_default_the_class_says_which_normalization():
    class Folded(SmallStyleTransferNetwork):
        normalization = "batch"

    arguments = {"image_size": (8, 8), "alpha": 0.1}
    folded = Folded.build(**arguments)
    plain = SmallStyleTransferNetwork.build(**arguments)
    assert plain.count_params() < folded.count_params()
    back = Folded.build(**arguments, normalization="instance")
    assert back.count_params() == plain.count_params()
    assert back.name == folded.name == "folded"


@pytest.mark.parametrize("size", [(8, 12), None])
def test_pictures_keep_their_size_and_range(size):
    model = SmallStyleTransferNetwork.build(size, alpha=0.1)
    distinct_weights(model, seed=0)
    photos = np.random.default_rng(0).uniform(0, 255, (2, 8, 12, 3))
    pictures = np.asarray(model(photos))
    assert pictures.shape == (2, 8, 12, 3)
    assert 0 <= pictures.min() < pictures.max() <= 255
    assert not np.allclose(pictures[0], pictures[1])


def test_relu_follows_every_convolution_but_those_named():
    model = SmallStyleTransferNetwork.build((8, 8), alpha=0.1)
    bare = {
        layer.name.removesuffix("_normalization")
        for layer in model.layers
        if layer.name.endswith("_normalization")
    } - {
        layer.name.removesuffix("_relu")
        for layer in model.layers
        if layer.name.endswith("_relu")
    }
    assert bare == {
        "residual_1_second",
        "residual_2_second",
        "residual_3_second",
        "decode_rgb",
    }
    assert not any(
        layer.use_bias
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    )


def test_a_subclass_replaces_a_block():
    class Separable(SmallStyleTransferNetwork):
        blocks = 1

        @classmethod
        def residual_block(cls, x, filters, name=None):
            y = keras.layers.SeparableConv2D(filters, 3, padding="same")(x)
            return keras.layers.Add()([x, y])

    model = Separable.build((8, 8), alpha=0.25)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("SeparableConv2D") == 1
    assert kinds.count("Conv2D") == 6
    assert model.name == "separable"


def test_an_input_tensor_is_built_on():
    photos = keras.Input((16, 16, 3), name="photos")
    flipped = keras.layers.Rescaling(-1, 255)(photos)
    model = SmallStyleTransferNetwork.build(None, 0.1, input_tensor=flipped)
    plain = SmallStyleTransferNetwork.build((16, 16), 0.1)
    plain.set_weights(model.get_weights())
    x = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3))
    assert model.inputs[0] is photos
    np.testing.assert_allclose(model(x), plain(255 - x), atol=1e-3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"alpha": 0.01}, r"alpha=0.01, .*int\(0.01 \* 32\) = 0.*alpha=1/32"),
        ({"alpha": 0}, "must be positive. Received: alpha=0"),
        ({"alpha": float("nan")}, "must be positive"),
        ({"alpha": float("inf")}, "must be positive"),
        ({"alpha": "0.3"}, "Received: alpha='0.3'"),
        ({"normalization": "layer"}, "one of instance, batch.*'layer'"),
        ({"image_size": 256}, "two whole numbers.*Received: 256"),
        ({"image_size": (8.5, 8)}, "two whole numbers"),
        ({"image_size": (10, 12)}, r"multiples of 4.*Received: \(10, 12\)"),
        ({"image_size": (0, 4)}, r"both positive. Received: \(0, 4\)"),
        (
            {"image_size": (8, 8), "input_tensor": keras.Input((8, 4, 3))},
            "must agree",
        ),
        ({"input_tensor": keras.Input((8, 8, 1))}, r"width, 3\). .*8, 8, 1\)"),
        ({"input_tensor": np.ones((1, 8, 8, 3))}, "symbolic Keras tensor"),
    ],
)
def test_errors_say_what_was_expected(arguments, message):
    arguments = {"image_size": None, "alpha": 0.3, **arguments}
    with pytest.raises(ValueError, match=message):
        SmallStyleTransferNetwork.build(**arguments)
