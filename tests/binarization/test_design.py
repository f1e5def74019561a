"""Rules of the trade name the layer, and are silent when all is well."""

import keras
import pytest
from keras import layers

from fritz_compress import models
from fritz_compress.binarization import design_warnings
from fritz_compress.layers import BinaryConv2D, BinaryDense


def with_inner(*inner):
    """A float convolution, what is given, a float dense layer."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="stem"),
            *inner,
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, name="last"),
        ]
    )


def inner(kernel_size=3, **arguments):
    return BinaryConv2D(4, kernel_size, name="inner", **arguments)


@pytest.mark.parametrize(
    "between",
    [
        [layers.BatchNormalization()],
        [layers.BatchNormalization(), layers.MaxPooling2D()],
        [layers.BatchNormalization(), layers.Dropout(0.1)],
        [layers.LayerNormalization(), layers.Activation("linear")],
    ],
)
def test_a_good_network_gives_no_warning(between):
    assert design_warnings(with_inner(*between, inner())) == []


@pytest.mark.parametrize(
    "between",
    [
        [],
        [layers.BatchNormalization(), layers.ReLU()],
        [layers.BatchNormalization(), layers.AveragePooling2D(2)],
    ],
)
def test_a_sign_without_normalization(between):
    (text,) = design_warnings(with_inner(*between, inner()))
    assert text.startswith("Layer 'inner': there is no normalization right")


def test_floats_and_levels_need_none():
    for quantizer in (None, "dorefa"):
        model = with_inner(inner(input_quantizer=quantizer))
        assert design_warnings(model) == []


def test_a_1x1_convolution():
    (text,) = design_warnings(with_inner(layers.BatchNormalization(), inner(1)))
    assert text.startswith("Layer 'inner': a 1x1 convolution with a binary")


@pytest.mark.parametrize("nbits, count", [(4, 0), (5, 1), (8, 1)])
def test_many_activation_bits(nbits, count):
    from fritz_compress.quantizers import DoReFa

    model = with_inner(inner(input_quantizer=DoReFa(nbits)))
    found = design_warnings(model)
    assert len(found) == count
    assert all(f"'inner': activations of {nbits} bits" in x for x in found)


def test_the_first_and_the_last():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            BinaryConv2D(4, 3, input_quantizer=None, name="stem"),
            layers.GlobalAveragePooling2D(),
            BinaryDense(2, input_quantizer=None, name="last"),
        ]
    )
    first, last = design_warnings(model)
    assert first.startswith("Layer 'stem': the first layer is binary")
    assert last.startswith("Layer 'last': the last layer is binary")


def test_one_way_without_a_kernel_is_enough_to_be_the_first():
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    x = layers.BatchNormalization()(layers.Add()([x, inputs]))
    x = layers.GlobalAveragePooling2D()(inner()(x))
    (text,) = design_warnings(keras.Model(inputs, layers.Dense(2)(x)))
    assert "'inner': the first layer" in text


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.BinaryResNet.build((16, 16), 0.25, 8),
        lambda: models.BinaryResNet.build(
            (16, 16), 0.25, 8, "B", bi_real=True, input_scale=True
        ),
        lambda: models.BinaryResNet18.build((32, 32), 0.05),
        lambda: models.BinaryLeNet5.build(alpha=0.2),
        lambda: models.BinaryConnectMLP.build(alpha=0.05),
        lambda: models.BinaryConnectMLP.build(alpha=0.05, num_bits=1),
    ],
)
def test_our_networks_follow_the_rules(build):
    assert design_warnings(build()) == []
