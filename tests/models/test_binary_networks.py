"""The networks of few bits: their order, their options, what they compute."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import ops

from fritz_compress import layers, quantizers
from fritz_compress.models import (
    BinaryConnectMLP,
    BinaryLeNet5,
    BinaryResNet,
    BinaryResNet18,
)


def binary_layers(model):
    kinds = (layers.BinaryConv2D, layers.BinaryDense)
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def counted(model, kind):
    return sum(type(layer) is kind for layer in model.layers)


class ByHand:
    """The network from its weights, with plain operations."""

    def __init__(self, model):
        self.model = model

    def normalized(self, x, name):
        layer = self.model.get_layer(f"{name}_normalization")
        gamma, beta, mean, variance = map(np.array, layer.get_weights())
        return (x - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta

    def kernel(self, name):
        return np.array(self.model.get_layer(f"{name}_convolution").kernel)

    def convolved(self, x, kernel, strides=1):
        outputs = ops.conv(x, kernel, strides=strides, padding="same")
        return ops.convert_to_numpy(outputs)

    def binary(self, x, name, strides):
        """Normalization, sign, convolution with alpha * sign(W)."""
        x = np.where(self.normalized(x, name) >= 0, 1, -1).astype("float32")
        kernel = self.kernel(name)
        alpha = np.abs(kernel).mean((0, 1, 2))
        signs = np.where(kernel >= 0, alpha, -alpha).astype("float32")
        return self.convolved(x, signs, strides)

    def unit(self, x, name, strides, bi_real):
        y = self.binary(x, f"{name}_first", strides)
        x = x[:, ::strides, ::strides]
        more = y.shape[-1] - x.shape[-1]
        before = more // 2
        x = np.pad(x, [(0, 0)] * 3 + [(before, more - before)])
        if bi_real:
            x = y = x + y
        return x + self.binary(y, f"{name}_second", 1)

    def __call__(self, x, bi_real):
        x = self.convolved(x, self.kernel("stem"))
        x = self.normalized(x, "stem").astype("float32")
        for stage in (1, 2, 3):
            name = f"stage_{stage}_1"
            x = self.unit(x, name, 1 + (stage > 1), bi_real).astype("float32")
        x = np.maximum(self.normalized(x, "last"), 0).mean((1, 2))
        kernel, bias = self.model.get_layer("predictions").get_weights()
        return x @ kernel + bias


@pytest.mark.parametrize("bi_real", [False, True])
def test_a_binary_resnet_is_normalization_sign_convolution_twice(bi_real):
    model = BinaryResNet.build(
        (16, 16), 0.5, 8, bi_real=bi_real, classifier_activation=None
    )
    distinct_weights(model)
    rng = np.random.default_rng(1)
    images = rng.normal(size=(2, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(
        model.predict(images, verbose=0),
        ByHand(model)(images, bi_real),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_depth_counts_layers_with_weights(depth):
    model = BinaryResNet.build(depth=depth)
    assert len(binary_layers(model)) == depth - 2
    assert counted(model, keras.layers.Conv2D) == 1
    assert counted(model, keras.layers.Add) == (depth - 2) // 2


def test_real_shortcuts_are_around_each_convolution():
    model = BinaryResNet.build(depth=14, bi_real=True)
    assert counted(model, keras.layers.Add) == 12


@pytest.mark.parametrize(
    "options, kind, input_bits, kernel_bits",
    [
        ({}, layers.BinaryConv2D, 1, 1),
        ({"num_bits": None}, layers.BinaryConv2D, 32, 1),
        ({"num_bits": 4}, layers.BinaryConv2D, 4, 1),
        ({"input_scale": True}, layers.XnorConv2D, 1, 1),
        ({"kernel_quantizer": None}, layers.BinaryConv2D, 1, 32),
        (
            {"kernel_quantizer": quantizers.DoReFa(3, "weights")},
            layers.BinaryConv2D,
            1,
            3,
        ),
    ],
)
@pytest.mark.parametrize("builder", [BinaryResNet, BinaryLeNet5])
def test_options_decide_on_the_inner_layers(
    builder, options, kind, input_bits, kernel_bits
):
    model = builder.build(alpha=0.5, **options)
    convolutions = [x for x in binary_layers(model) if hasattr(x, "filters")]
    for layer in convolutions:
        assert type(layer) is kind
        assert (layer.input_bits, layer.kernel_bits) == (
            input_bits,
            kernel_bits,
        )
    assert convolutions


@pytest.mark.parametrize(
    "builder", [BinaryResNet, BinaryLeNet5, BinaryConnectMLP]
)
def test_a_float_network_of_the_same_shape(builder):
    floats = builder.build(alpha=0.5, num_bits=None, kernel_quantizer=None)
    binary = builder.build(alpha=0.5, num_bits=1)
    assert not binary_layers(floats) and binary_layers(binary)
    assert [w.shape for w in floats.weights] == [
        w.shape for w in binary.weights
    ]


def test_resnet_18_halves_five_times():
    model = BinaryResNet18.build((64, 64), 0.25, classes=7)
    shapes = [
        model.get_layer(f"stage_{stage}_2_add").output.shape[1:]
        for stage in (1, 2, 3, 4)
    ]
    assert shapes == [(16, 16, 16), (8, 8, 32), (4, 4, 64), (2, 2, 128)]
    assert model.output_shape == (None, 7)
    assert len(binary_layers(model)) == 16
    # The stem, and three shortcuts of 1x1.
    assert counted(model, keras.layers.Conv2D) == 4


def test_the_mlp_reads_pixels_as_they_are():
    model = BinaryConnectMLP.build(alpha=0.05, num_bits=1)
    assert [layer.input_bits for layer in binary_layers(model)] == [32, 1, 1]
    assert [layer.units for layer in binary_layers(model)] == [51, 51, 51]
    assert type(model.layers[-1]) is keras.layers.Dense


def test_the_sign_is_an_attribute_to_replace():
    class Smooth(BinaryResNet):
        sign = "approx_sign"

    for layer in binary_layers(Smooth.build(alpha=0.25, depth=8)):
        assert isinstance(layer.input_quantizer, quantizers.ApproxSign)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"num_bits": 0}, "`num_bits` must be a whole number from 1 to 8. .*0"),
        ({"num_bits": 9}, "`num_bits` must be a whole number from 1 to 8. .*9"),
        ({"num_bits": True}, "`num_bits` must be .* Received: True"),
        (
            {"num_bits": 2, "input_scale": True},
            "`input_scale` is for signs of inputs, num_bits=1. .*num_bits=2",
        ),
        ({"input_scale": 2}, r"`input_scale` must be one of \[False, True\]"),
        ({"kernel_quantizer": "sign"}, "Received: 'sign'. Did you mean '"),
        ({"depth": 9}, r"`depth` must be 6n \+ 2"),
        ({"shortcut": "C"}, r"`shortcut` must be one of \['A', 'B'\]"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        BinaryResNet.build(**options)


def test_latent_weights_stay_where_they_have_a_gradient():
    quantizer = quantizers.serialize(quantizers.StochasticSign(0.25))
    model = BinaryConnectMLP.build(alpha=0.05, kernel_quantizer=quantizer)
    found = binary_layers(model)
    limits = [layer.kernel_constraint.clip_value for layer in found]
    assert limits == [0.25] * 3
    # Each draws on its own.
    assert len({id(layer.kernel_quantizer) for layer in found}) == 3
    model = BinaryResNet.build(depth=8, kernel_quantizer="dorefa_weights")
    found = binary_layers(model)
    assert {layer.kernel_constraint.clip_value for layer in found} == {1.0}
