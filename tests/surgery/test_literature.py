"""Counts that papers give for their pruned networks, reached by surgery.

Weights are those of convolution and dense kernels; neither biases nor
normalizations are counted, nor are they in the papers.
"""

import functools

import keras
import numpy as np
import pytest
from helpers import slow_but

from fritz_compress import models
from fritz_compress.analysis import profile
from fritz_compress.surgery import remove_filters


@functools.cache
def resnet(depth):
    """The network, uncompressed; nothing changes it."""
    return models.CifarResNet.build(depth=depth)


def convolutions(model):
    """Names of the convolutions, numbered from 1 as by Li et al."""
    names = [
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    return dict(enumerate(names, 1))


def kernels(model):
    """Number of weights in all kernels."""
    return sum(
        int(np.prod(weight.shape))
        for weight in model.weights
        if weight.name == "kernel"
    )


def removal(model, kept):
    """For every layer the last filters, so many that those stay."""
    return {
        name: range(filters, model.get_layer(name).filters)
        for name, filters in kept.items()
    }


def first_layers(depth, fractions, skipped):
    """How many filters stay in the first layers of residual blocks.

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
            kept[number] = filters * percent // 100
    return kept


def test_vgg16_of_li_et_al():
    """Table 2, half of the first and of the last six layers."""
    model = models.CifarVGG16.build()
    assert kernels(model) == 14_977_728
    assert profile(model).macs == 313_463_808

    names = convolutions(model)
    kept = {names[1]: 32} | {names[n]: 256 for n in range(8, 14)}
    smaller = remove_filters(model, removal(model, kept))

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


@pytest.mark.parametrize("case", slow_but(RESNETS, "56-A", "56-B"))
def test_resnets_of_li_et_al(case):
    depth, fractions, skipped, before, after, macs = RESNETS[case]
    model = resnet(depth)
    assert kernels(model) == before

    names = convolutions(model)
    kept = {
        names[number]: filters
        for number, filters in first_layers(depth, fractions, skipped).items()
    }
    smaller = remove_filters(model, removal(model, kept))

    assert kernels(smaller) == after
    assert round(profile(smaller).macs / 1e5) == macs
    for name, filters in kept.items():
        assert smaller.get_layer(name).filters == filters


def test_mobilenet_on_a_phone():
    model = models.MobileNetV1.build()
    kept = {
        "conv1": 24,
        "conv_pw_10": 480,
        "conv_pw_11": 416,
        "conv_pw_12": 768,
        "conv_pw_13": 768,
    }
    smaller = remove_filters(model, removal(model, kept))

    assert smaller.count_params() == 3_247_048
    for name, filters in kept.items():
        assert smaller.get_layer(name).filters == filters
