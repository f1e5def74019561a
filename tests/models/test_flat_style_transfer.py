"""The flat style network: exact numbers, any size, and the package's tools."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from removal_oracle import assert_exact

from fritz_compress import surgery
from fritz_compress.analysis import profile
from fritz_compress.models import FlatStyleTransferNetwork

# The 8x8 convolution, four 3x3 ones, the 1x1 one; two numbers per channel for
# each of five normalizations, 48 biases.
HAND_COUNTED = [
    (1.0, 32, 192 * 32 + 4 * 9 * 32**2 + 48 * 32 + 10 * 32 + 48),
    (0.5, 16, 192 * 16 + 4 * 9 * 16**2 + 48 * 16 + 10 * 16 + 48),
    (0.375, 12, 192 * 12 + 4 * 9 * 12**2 + 48 * 12 + 10 * 12 + 48),
]


@pytest.mark.parametrize("alpha, channels, weights", HAND_COUNTED)
def test_weights_and_macs_are_those_of_its_table(alpha, channels, weights):
    model = FlatStyleTransferNetwork.build((64, 80), alpha)
    assert model.get_layer("encode_convolution").filters == channels
    assert model.count_params() == weights
    row = next(
        line
        for line in FlatStyleTransferNetwork.__doc__.splitlines()
        if line.strip().startswith(f"| {alpha} ")
    )
    _, _, said, printed, macs, _ = (cell.strip() for cell in row.split("|"))
    assert (int(said), printed) == (channels, f"{weights:,}")
    per_pixel = (192 * channels + 36 * channels**2 + 48 * channels) / 16
    assert macs == f"{per_pixel:,.0f}"
    assert profile(model).macs == per_pixel * 64 * 80


@pytest.mark.parametrize("size", [(16, 24), (17, 30), (5, 7)])
@pytest.mark.parametrize("built", ["for this size", "for any size"])
def test_pictures_keep_their_size_and_range(size, built):
    model = FlatStyleTransferNetwork.build(
        size if built == "for this size" else None, 0.25
    )
    distinct_weights(model)
    photos = np.random.default_rng(0).uniform(0, 255, (2, *size, 3))
    pictures = model.predict(photos, verbose=0)
    assert pictures.shape == (2, *size, 3)
    assert 0 <= pictures.min() < pictures.max() <= 255
    assert np.ptp(pictures[0] - pictures[1]) > 1


def test_other_sizes_are_mirrored_and_cropped():
    model = distinct_weights(FlatStyleTransferNetwork.build(None, 0.25))
    photos = np.random.default_rng(0).uniform(0, 255, (1, 14, 17, 3))
    padded = np.pad(photos, [(0, 0), (0, 2), (0, 3), (0, 0)], mode="reflect")
    np.testing.assert_allclose(
        model(photos), np.asarray(model(padded))[:, :14, :17], atol=1e-3
    )


def test_sizes_that_fit_need_no_extra_layers():
    def kinds(size):
        model = FlatStyleTransferNetwork.build(size, 0.25)
        return {type(layer).__name__ for layer in model.layers}

    extra = {"PadToMultiple", "CropToMatch"}
    assert not extra & kinds((8, 12))
    assert extra < kinds((8, 13)) and extra < kinds(None)


def test_batch_normalization_takes_the_place_of_instance_normalization():
    model = FlatStyleTransferNetwork.build((8, 8), 0.5, normalization="batch")
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds[1] == "StandardizeImage"
    assert kinds.count("BatchNormalization") == 5
    assert model.count_params() == 13_264 + 5 * 2 * 16


def test_a_subclass_replaces_a_block_and_the_depth():
    class Shallow(FlatStyleTransferNetwork):
        blocks = 1

        @classmethod
        def paint(cls, x):
            x = keras.layers.Conv2DTranspose(3, 4, strides=4, name="rgb")(x)
            return keras.layers.Rescaling(127.5, 127.5)(x)

    model = Shallow.build((8, 8), 0.5)
    assert model.name == "shallow"
    assert model.get_layer("rgb").output.shape == (None, 8, 8, 3)
    assert "residual_2_add" not in [layer.name for layer in model.layers]


@pytest.mark.parametrize("size", [(16, 16), (15, 18)])
def test_removed_filters_change_nothing_else(size):
    """Trunk and inner filters, by consumers that no longer hear them."""
    model = distinct_weights(FlatStyleTransferNetwork.build(size, 0.25))
    trunk, inner = [1, 6], [0, 3]
    smaller = assert_exact(
        model,
        {
            "encode_convolution": trunk,
            "residual_1_first_convolution": inner,
        },
        {
            "residual_1_first_convolution": (2, trunk),
            "residual_2_first_convolution": (2, trunk),
            "decode_blocks": (2, trunk),
            "residual_1_second_convolution": (2, inner),
        },
    )
    assert smaller.get_layer("encode_convolution").filters == 6


def test_a_quarter_of_its_filters_can_go():
    model = FlatStyleTransferNetwork.build(None, 0.5)
    smaller = surgery.prune_filters(model, 0.25)
    assert smaller.get_layer("residual_2_second_convolution").filters == 12
    assert smaller.count_params() == 8_232


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"alpha": 0.01}, r"int\(0.01 \* 32\) = 0"),
        ({"image_size": (0, 4)}, "both positive"),
        ({"image_size": (2, 8)}, "'pad' mirrors 2 pixels of a side of 2"),
        ({"normalization": "layer"}, "one of instance, batch"),
    ],
)
def test_errors_say_what_was_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        FlatStyleTransferNetwork.build(**{"image_size": None, **arguments})
