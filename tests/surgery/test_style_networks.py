"""Both style networks: every group, and a trunk of many convolutions."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from removal_oracle import assert_exact, predict, samples

from fritz_compress import surgery
from fritz_compress.models.style_transfer import (
    SmallStyleTransferNetwork,
    StyleTransferNetwork,
)

NETWORKS = {
    "small": (SmallStyleTransferNetwork, 0.3),
    "large": (StyleTransferNetwork, 0.25),
}


def build(name, size=(32, 32)):
    builder, alpha = NETWORKS[name]
    return distinct_weights(builder.build(size, alpha=alpha))


def readers(blocks):
    """For each layer that can shrink, the layers that read it."""
    firsts = [f"residual_{i}_first" for i in range(1, blocks + 1)]
    return {
        "encode_full": ["encode_half"],
        "encode_half": ["encode_quarter"],
        "encode_quarter": [*firsts, "decode_half"],
        **{name: [name.replace("first", "second")] for name in firsts},
        "decode_half": ["decode_full"],
        "decode_full": ["decode_rgb"],
    }


def removal(blocks, layers, filters):
    """Arguments of `assert_exact` for the same filters of several layers."""
    reading = readers(blocks)
    return (
        {f"{layer}_convolution": filters for layer in layers},
        {
            f"{reader}_convolution": (2, filters)
            for layer in layers
            for reader in reading[layer]
        },
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_groups(network):
    blocks = NETWORKS[network][0].blocks
    groups = surgery.channel_groups(build(network, size=None))
    assert len(groups) == 1 + len(readers(blocks))
    assert all(group.keeps_zero for group in groups if not group.frozen)
    (trunk,) = groups.of("residual_1_second_convolution")
    assert list(trunk.producers) == ["encode_quarter_convolution"] + [
        f"residual_{i}_second_convolution" for i in range(1, blocks + 1)
    ]
    assert len(trunk.followers) == blocks + 1
    assert trunk.readers == tuple(
        f"{name}_convolution" for name in readers(blocks)["encode_quarter"]
    )
    frozen = [group for group in groups if group.frozen]
    assert [list(group.producers) for group in frozen] == [
        ["decode_rgb_convolution"]
    ]


@pytest.mark.parametrize("layer", readers(3))
def test_every_group_of_the_small_network(layer):
    smaller = assert_exact(build("small"), *removal(3, [layer], [0, 5, 8]))
    assert smaller.get_layer(f"{layer}_convolution").filters == 6


@pytest.mark.slow
@pytest.mark.parametrize("layer", readers(5))
def test_every_group_of_the_large_network(layer):
    assert_exact(build("large"), *removal(5, [layer], [0, 5]))


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_all_groups_at_once_saved_loaded_and_trained(network, tmp_path):
    builder, _ = NETWORKS[network]
    model = build(network)
    smaller = assert_exact(
        model, *removal(builder.blocks, readers(builder.blocks), [1, 4])
    )
    inputs = 50 * np.abs(samples(model))
    wanted = predict(smaller, inputs)

    smaller.save(tmp_path / "smaller.keras")
    loaded = keras.saving.load_model(tmp_path / "smaller.keras")
    np.testing.assert_array_equal(predict(loaded, inputs), wanted)

    loaded.compile("sgd", "mae")
    loaded.train_on_batch(inputs, inputs)
    changed = [
        np.any(before != after)
        for before, after in zip(smaller.get_weights(), loaded.get_weights())
    ]
    assert all(changed)


def test_another_removal_fails_the_check():
    model = build("small")
    _, deaf = removal(3, ["encode_quarter"], [0, 5])
    other, _ = removal(3, ["encode_quarter"], [0, 6])
    with pytest.raises(AssertionError):
        assert_exact(model, other, deaf)


def test_any_size():
    model = build("small", size=None)
    smaller = surgery.remove_filters(model, {"encode_half_convolution": [3]})
    assert smaller.input_shape == (None, None, None, 3)
    assert predict(smaller, samples(model)).shape == (2 * 8 * 8 * 3,)


def test_weights_by_hand():
    model = build("small")
    kernels = {
        layer.name: layer.get_weights()[0]
        for layer in model.layers
        if layer.weights
    }
    smaller = surgery.remove_filters(
        model, {"residual_2_second_convolution": [2, -1]}
    )

    def kernel(name):
        return smaller.get_layer(name).get_weights()[0]

    def without(name, *axes):
        value = kernels[name]
        for axis in axes:
            value = np.delete(value, [2, 8], axis)
        return value

    for name, axes in {
        "encode_half_convolution": (),
        "encode_quarter_convolution": (3,),
        "encode_quarter_normalization": (0,),
        "residual_1_first_convolution": (2,),
        "residual_1_second_convolution": (3,),
        "residual_3_second_normalization": (0,),
        "decode_half_convolution": (2,),
        "decode_full_convolution": (),
    }.items():
        np.testing.assert_array_equal(kernel(name), without(name, *axes))
