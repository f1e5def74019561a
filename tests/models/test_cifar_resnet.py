import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress.models import CifarResNet


@pytest.mark.parametrize("filters", [8, 9])
def test_option_a_is_every_other_position_between_zeros(filters):
    inputs = keras.Input((5, 6, 4))
    shorter = CifarResNet.zero_shortcut(inputs, filters, 2, "shortcut")
    model = keras.Model(inputs, shorter)
    assert not model.weights
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype("float32")
    received = keras.ops.convert_to_numpy(model(x))
    assert received.shape == (2, 3, 3, filters)
    np.testing.assert_array_equal(received[..., 2:6], x[:, ::2, ::2])
    assert not received[..., :2].any() and not received[..., 6:].any()


@pytest.mark.parametrize("shortcut", "AB")
def test_a_block_is_added_to_its_shortcut(shortcut):
    """Option A, 8x8 to 4x4, from the layers of the block alone."""
    inputs = keras.Input((8, 8, 4))
    block = CifarResNet.residual_block(inputs, 8, 2, shortcut, "block")
    model = distinct_weights(keras.Model(inputs, block))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")

    def run(y, part):
        y = model.get_layer(f"block_{part}_convolution")(y)
        return model.get_layer(f"block_{part}_normalization")(y)

    second = run(keras.ops.relu(run(x, "first")), "second")
    if shortcut == "A":
        short = np.zeros((2, 4, 4, 8), "float32")
        short[..., 2:6] = x[:, ::2, ::2]
    else:
        short = run(x, "shortcut")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(x)),
        keras.ops.convert_to_numpy(keras.ops.relu(second + short)),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("shortcut, shortened", [("A", 0), ("B", 2)])
def test_depth_counts_layers_with_weights(shortcut, shortened):
    model = CifarResNet.build(alpha=0.1, depth=32, shortcut=shortcut)
    kinds = (keras.layers.Conv2D, keras.layers.Dense)
    layers = [layer for layer in model.layers if isinstance(layer, kinds)]
    assert len(layers) - shortened == 32


def test_stages_halve_the_size_and_double_the_channels():
    model = CifarResNet.build(alpha=0.5, depth=8)
    shapes = [
        model.get_layer(f"stage_{stage}_1_relu").output.shape[1:]
        for stage in (1, 2, 3)
    ]
    assert shapes == [(32, 32, 8), (16, 16, 16), (8, 8, 32)]


def test_pictures_of_one_channel():
    model = CifarResNet.build((28, 28), depth=8, channels=1)
    assert model.input_shape == (None, 28, 28, 1)
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize(
    "option, message",
    [
        ({"depth": 21}, r"`depth` must be 6n \+ 2, such as 20. .*depth=21"),
        ({"depth": 2}, "Received: depth=2"),
        ({"depth": 20.0}, "Received: depth=20.0"),
        ({"shortcut": "C"}, r"`shortcut` must be one of \['A', 'B'\].*'C'"),
        ({"alpha": 0.05}, r"'CifarResNet.widths\[0\]' int\(0.05 \* 16\) = 0"),
    ],
)
def test_errors(option, message):
    with pytest.raises(ValueError, match=message):
        CifarResNet.build(**option)
