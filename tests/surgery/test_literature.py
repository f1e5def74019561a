"""Counts that papers give for their pruned networks, reached by surgery.

Weights are those of convolution and dense kernels; neither biases nor
normalizations are counted, nor are they in the papers.
"""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

from fritz_compress.analysis import profile
from fritz_compress.surgery import remove_filters


def convolution(x, filters, strides=1, name=None):
    x = layers.Conv2D(
        filters,
        3,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="zeros",
        name=name,
    )(x)
    return layers.BatchNormalization(name=f"{name}_normalization")(x)


def vgg16():
    """VGG-16 for CIFAR-10, one hidden dense layer of 512.

    Reference: Li et al., "Pruning Filters for Efficient ConvNets",
    https://arxiv.org/abs/1608.08710, table 2.
    """
    inputs = x = keras.Input((32, 32, 3))
    number = 0
    for stage, count in enumerate((2, 2, 3, 3, 3)):
        for _ in range(count):
            number += 1
            filters = min(512, 64 * 2**stage)
            x = convolution(x, filters, name=f"conv_{number}")
            x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(512, "relu", name="hidden")(x)
    return keras.Model(inputs, layers.Dense(10, name="head")(x))


@functools.cache
def resnet(depth):
    """ResNet for CIFAR-10 whose shortcuts have no weights (option A).

    Reference: He et al., "Deep Residual Learning for Image Recognition",
    https://arxiv.org/abs/1512.03385, section 4.2. Convolutions are numbered
    as by Li et al.: 1 is the stem.
    """
    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolution(inputs, 16, name="conv_1"))
    number = 1
    for stage in range(3):
        filters = 16 * 2**stage
        for block in range((depth - 2) // 6):
            strides = 2 if stage and not block else 1
            y = convolution(x, filters, strides, f"conv_{number + 1}")
            y = convolution(layers.ReLU()(y), filters, 1, f"conv_{number + 2}")
            number += 2
            if strides == 2:
                x = ops.pad(x[:, ::2, ::2], [[0, 0]] * 3 + [[filters // 4] * 2])
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, name="head")(x))


def kernels(model):
    """Number of weights in all kernels."""
    return sum(
        int(np.prod(weight.shape))
        for weight in model.weights
        if weight.name == "kernel"
    )


def removal(kept):
    """For every layer the last filters, so many that those stay."""
    return {
        name: range(after, before) for name, (before, after) in kept.items()
    }


def first_layers(depth, fractions, skipped):
    """What stays of the first layers of residual blocks.

    Args:
        fractions: Pruned fraction in each of three stages.
        skipped: Numbers of the layers that stay whole.
    """
    per_stage = (depth - 2) // 3
    kept = {}
    for number in range(2, depth, 2):
        stage = (number - 2) // per_stage
        filters = 16 * 2**stage
        percent = 100 - round(100 * fractions[stage])
        if number not in skipped and percent < 100:
            kept[f"conv_{number}"] = (filters, filters * percent // 100)
    return kept


def test_vgg16_of_li_et_al():
    model = vgg16()
    assert kernels(model) == 14_977_728
    assert profile(model).macs == 313_463_808

    kept = {"conv_1": (64, 32)}
    kept |= {f"conv_{number}": (512, 256) for number in range(8, 14)}
    smaller = remove_filters(model, removal(kept))

    assert kernels(smaller) == 5_390_176
    assert profile(smaller).macs == 206_279_680


# Depth, fractions, skipped layers; weights before and after; MACs after in
# units of 1e5, as exact as the paper has them.
RESNETS = {
    "56-A": (56, (0.1,) * 3, {16, 20, 38, 54}, 848_944, 769_456, 1_124),
    "56-B": (
        56,
        (0.6, 0.3, 0.1),
        {16, 18, 20, 34, 38, 54},
        848_944,
        732_016,
        909,
    ),
    "110-A": (110, (0.5, 0, 0), {36}, 1_719_856, 1_680_688, 2_128),
    "110-B": (
        110,
        (0.5, 0.4, 0.3),
        {36, 38, 74},
        1_719_856,
        1_161_712,
        1_551,
    ),
}


@pytest.mark.parametrize("case", RESNETS)
def test_resnets_of_li_et_al(case):
    depth, fractions, skipped, before, after, macs = RESNETS[case]
    model = resnet(depth)
    assert kernels(model) == before

    kept = first_layers(depth, fractions, skipped)
    smaller = remove_filters(model, removal(kept))

    assert kernels(smaller) == after
    assert round(profile(smaller).macs / 1e5) == macs
    for name, (_, filters) in kept.items():
        assert smaller.get_layer(name).filters == filters


def test_mobilenet_on_a_phone():
    model = keras.applications.MobileNet(weights=None)
    assert model.count_params() == 4_253_864

    kept = {
        "conv1": (32, 24),
        "conv_pw_10": (512, 480),
        "conv_pw_11": (512, 416),
        "conv_pw_12": (1024, 768),
        "conv_pw_13": (1024, 768),
    }
    smaller = remove_filters(model, removal(kept))

    assert smaller.count_params() == 3_247_048
    for name, (_, filters) in kept.items():
        assert smaller.get_layer(name).filters == filters
