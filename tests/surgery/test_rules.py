"""Every rule, in the smallest model that needs it."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, ops
from removal_oracle import assert_exact

from fritz_compress import surgery
from fritz_compress.layers import (
    CropToMatch,
    DepthToSpace,
    InstanceNormalization,
    PadToMultiple,
)


def chain(*parts, size=(8, 8, 3), **kwargs):
    return distinct_weights(
        keras.Sequential([keras.Input(size), *parts], **kwargs)
    )


NORMALIZATIONS = {
    "none": layers.Identity,
    "batch": layers.BatchNormalization,
    "batch_without_scale": lambda: layers.BatchNormalization(scale=False),
    "batch_without_center": lambda: layers.BatchNormalization(center=False),
    "instance": InstanceNormalization,
    "group": lambda: layers.GroupNormalization(groups=-1),
}


@pytest.mark.parametrize("removed", [[0], [5], [-1], [1, 4, 4, -2]], ids=str)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalizations(normalization, removed):
    model = chain(
        layers.Conv2D(6, 3, name="producer"),
        NORMALIZATIONS[normalization](),
        layers.ReLU(),
        layers.Conv2D(4, 3, name="consumer"),
    )
    kernel = model.get_layer("producer").get_weights()[0]
    smaller = assert_exact(
        model, {"producer": removed}, {"consumer": (2, removed)}
    )
    np.testing.assert_array_equal(
        smaller.get_layer("producer").get_weights()[0],
        np.delete(kernel, removed, axis=-1),
    )
    assert smaller.get_layer("producer").filters == 6 - len({*removed} - {-2})


BETWEEN = {
    "activation": lambda: layers.Activation("sigmoid"),
    "activity_regularization": layers.ActivityRegularization,
    "average_pooling": lambda: layers.AveragePooling2D(2),
    "cropping": lambda: layers.Cropping2D(1),
    "pad_to_multiple": lambda: PadToMultiple(4),
    "dropout": lambda: layers.Dropout(0.5),
    "elu": layers.ELU,
    "gaussian_noise": lambda: layers.GaussianNoise(0.1),
    "leaky_relu": layers.LeakyReLU,
    "max_pooling": lambda: layers.MaxPooling2D(2, padding="same"),
    "prelu": layers.PReLU,
    "prelu_shared": lambda: layers.PReLU(shared_axes=[1, 2]),
    "prelu_one": lambda: layers.PReLU(shared_axes=[1, 2, 3]),
    "rescaling": lambda: layers.Rescaling(2.0, offset=0.5),
    "resizing": lambda: layers.Resizing(5, 7),
    "spatial_dropout": lambda: layers.SpatialDropout2D(0.5),
    "upsampling": lambda: layers.UpSampling2D(2, interpolation="bilinear"),
    "zero_padding": lambda: layers.ZeroPadding2D(2),
}


@pytest.mark.parametrize("between", BETWEEN)
def test_layers_that_leave_channels_in_place(between):
    model = chain(
        layers.Conv2D(6, 3, name="producer"),
        BETWEEN[between](),
        layers.Conv2D(4, 3, name="consumer"),
    )
    assert_exact(model, {"producer": [1, 4]}, {"consumer": (2, [1, 4])})


@pytest.mark.parametrize("raw", [False, True])
def test_depth_to_space_ties_the_places_of_a_block(raw):
    """Output channel c is made of input channels c, 3 + c, 6 + c, 9 + c."""

    def rearrange(x):
        return ops.depth_to_space(x, 2) if raw else DepthToSpace(2)(x)

    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(12, 3, name="producer")(inputs)
    x = layers.Conv2D(4, 3, name="consumer")(rearrange(x))
    model = distinct_weights(keras.Model(inputs, x))
    smaller = assert_exact(model, {"producer": [4]}, {"consumer": (2, [1])})
    assert smaller.get_layer("producer").filters == 8


def test_space_to_depth_spreads_a_channel_over_a_block():
    inputs = keras.Input((6, 6, 3))
    x = ops.space_to_depth(layers.Conv2D(5, 3, name="producer")(inputs), 2)
    x = layers.Conv2D(4, 1, name="consumer")(x)
    model = distinct_weights(keras.Model(inputs, x))
    deaf = [3, 8, 13, 18]
    smaller = assert_exact(model, {"producer": [3]}, {"consumer": (2, deaf)})
    assert smaller.get_layer("producer").filters == 4


def test_cropping_to_match_uses_the_size_of_its_reference_alone():
    """Channels of the reference are free, those of the picture stay tied."""
    inputs = keras.Input((9, 9, 3))
    x = layers.Conv2D(6, 1, name="producer")(inputs)
    small = layers.Conv2D(5, 3, name="reference")(inputs)
    x = layers.Conv2D(4, 1, name="consumer")(CropToMatch()([x, small]))
    y = layers.Conv2D(2, 1, name="other")(small)
    model = distinct_weights(keras.Model(inputs, [x, y]))
    smaller = assert_exact(
        model,
        {"producer": [1], "reference": [2]},
        {"consumer": (2, [1]), "other": (2, [2])},
    )
    assert smaller.get_layer("reference").filters == 4


# What makes or reads channels: the layer, and the axis of its first weight
# that it reads.
KERNELS = {
    "convolution": (lambda n, **k: layers.Conv2D(n, 3, **k), 2),
    "strided": (lambda n, **k: layers.Conv2D(n, 3, strides=2, **k), 2),
    "no_bias": (lambda n, **k: layers.Conv2D(n, 3, use_bias=False, **k), 2),
    "relu": (lambda n, **k: layers.Conv2D(n, 3, activation="relu", **k), 2),
    "transposed": (lambda n, **k: layers.Conv2DTranspose(n, 3, **k), 3),
    "separable": (lambda n, **k: layers.SeparableConv2D(n, 3, **k), 2),
    "separable_multiplier": (
        lambda n, **k: layers.SeparableConv2D(n, 3, depth_multiplier=2, **k),
        2,
    ),
    "dense": (lambda n, **k: layers.Dense(n, **k), 0),
}


@pytest.mark.parametrize("kind", KERNELS)
def test_kernels(kind):
    make, axis = KERNELS[kind]
    model = chain(
        make(6, name="producer"),
        layers.ReLU(),
        make(4, name="consumer"),
        size=(12, 12, 3),
    )
    assert_exact(model, {"producer": [1, 4]}, {"consumer": (axis, [1, 4])})


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank):
    of = {
        name: getattr(layers, f"{name}{rank}D")
        for name in (
            "AveragePooling Conv Cropping GlobalMaxPooling MaxPooling "
            "SpatialDropout UpSampling ZeroPadding"
        ).split()
    }
    model = chain(
        of["Conv"](6, 3, name="producer"),
        of["ZeroPadding"](1),
        of["UpSampling"](2),
        of["Cropping"](1),
        of["MaxPooling"](2, padding="same"),
        of["AveragePooling"](2, padding="same"),
        of["SpatialDropout"](0.1),
        getattr(layers, f"Conv{rank}DTranspose")(5, 3, name="middle"),
        of["GlobalMaxPooling"](),
        layers.Dense(4, name="consumer"),
        size=(6,) * rank + (3,),
    )
    assert_exact(
        model,
        {"producer": [1, 4], "middle": [0]},
        {"middle": (-1, [1, 4]), "consumer": (0, [0])},
    )


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise(multiplier):
    model = chain(
        layers.Conv2D(6, 3, name="producer"),
        layers.DepthwiseConv2D(3, depth_multiplier=multiplier, name="between"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(4, 3, name="consumer"),
    )
    gone = [1 * multiplier + i for i in range(multiplier)]
    smaller = assert_exact(model, {"producer": [1]}, {"consumer": (2, gone)})
    assert smaller.get_layer("between").weights[0].shape[-2] == 5


def test_depthwise_output_channels_name_their_input():
    model = chain(
        layers.Conv2D(6, 3, name="producer"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, name="between"),
        layers.Conv2D(4, 3, name="consumer"),
    )
    smaller = assert_exact(model, {"between": [3]}, {"consumer": (2, [2, 3])})
    assert smaller.get_layer("producer").filters == 5


def test_grouped_convolution_loses_equal_places_of_all_groups():
    model = chain(
        layers.Conv2D(6, 3, name="producer"),
        layers.Conv2D(8, 3, groups=2, name="grouped"),
        layers.Conv2D(4, 3, name="consumer"),
    )
    # Places 1 of 3 of both groups in, places 0 of 4 of both groups out.
    smaller = assert_exact(
        model,
        {"producer": [1], "grouped": [0]},
        {"grouped": (2, [1]), "consumer": (2, [0, 4])},
    )
    assert smaller.get_layer("producer").filters == 4
    assert smaller.get_layer("grouped").filters == 6


MERGES = {
    "add": layers.Add(),
    "average": layers.Average(),
    "maximum": layers.Maximum(),
    "minimum": layers.Minimum(),
    "multiply": layers.Multiply(),
    "subtract": layers.Subtract(),
    "raw_add": lambda pair: pair[0] + pair[1],
    "raw_subtract": lambda pair: pair[0] - 2 * pair[1],
    "raw_multiply": lambda pair: pair[0] * pair[1],
}


@pytest.mark.parametrize("merge", MERGES)
def test_merges_tie_channels(merge):
    inputs = keras.Input((8, 8, 3))
    left = layers.Conv2D(6, 3, name="left")(inputs)
    right = layers.Conv2D(6, 3, name="right")(inputs)
    x = MERGES[merge]([left, right])
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="consumer")(x))
    smaller = assert_exact(
        distinct_weights(model), {"left": [1, -1]}, {"consumer": (2, [1, 5])}
    )
    assert smaller.get_layer("right").filters == 4


def test_residual_chain():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="stem")(inputs)
    for i in range(3):
        y = layers.BatchNormalization()(x)
        y = layers.Conv2D(5, 3, padding="same", name=f"first_{i}")(y)
        y = layers.Conv2D(6, 3, padding="same", name=f"second_{i}")(y)
        x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    smaller = assert_exact(
        distinct_weights(model),
        {"second_1": [2], "first_2": [0]},
        {
            **{f"first_{i}": (2, [2]) for i in range(3)},
            "second_2": (2, [0]),
            "head": (0, [2]),
        },
    )
    assert smaller.get_layer("stem").filters == 5


def test_squeeze_and_excite():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="stem")(inputs)
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Conv2D(3, 1, activation="relu", name="squeeze")(y)
    y = layers.Conv2D(6, 1, activation="sigmoid", name="excite")(y)
    x = layers.Multiply()([x, y])
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="consumer")(x))
    smaller = assert_exact(
        distinct_weights(model),
        {"stem": [2], "squeeze": [1]},
        {"squeeze": (2, [2]), "excite": (2, [1]), "consumer": (2, [2])},
    )
    assert smaller.get_layer("excite").filters == 5


def test_one_channel_for_all_stays():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="stem")(inputs)
    mask = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    x = layers.Multiply()([x, mask])
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="consumer")(x))
    assert_exact(
        distinct_weights(model),
        {"stem": [2]},
        {"mask": (2, [2]), "consumer": (2, [2])},
    )


def test_concatenation():
    inputs = keras.Input((8, 8, 3))
    left = layers.Conv2D(4, 3, name="left")(inputs)
    right = layers.Conv2D(5, 3, name="right")(inputs)
    x = layers.Concatenate()([left, right, left])
    x = layers.BatchNormalization()(x)
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="consumer")(x))
    assert_exact(
        distinct_weights(model),
        {"left": [1], "right": [0, 4]},
        {"consumer": (2, [1, 10, 4, 8])},
    )


@pytest.mark.parametrize("axis", [-1, 1])
def test_the_size_of_the_image_costs_nothing(axis):
    """Numbering the pixels of these would take ten gigabytes."""
    inputs = keras.Input((10_000, 10_000, 1))
    left = layers.Conv2D(4, 1, name="left")(inputs)
    right = layers.Conv2D(4, 1, name="right")(inputs)
    x = layers.Permute((2, 1, 3))(left)
    x = layers.Concatenate(axis=axis)([x, right])
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="consumer")(x))
    groups = surgery.channel_groups(model)
    found = [tuple(group.producers) for group in groups]
    apart = [("left",), ("right",), ("consumer",)]
    assert found == (apart if axis == -1 else [("left", "right"), apart[2]])


def test_concatenation_with_the_input():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", name="left")(inputs)
    x = layers.Concatenate()([inputs, x])
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="consumer")(x))
    assert_exact(distinct_weights(model), {"left": [1]}, {"consumer": (2, [4])})


def test_concatenation_of_positions_ties_channels():
    inputs = keras.Input((8, 8, 3))
    left = layers.Conv2D(4, 3, name="left")(inputs)
    right = layers.Conv2D(4, 3, name="right")(inputs)
    x = layers.Concatenate(axis=1)([left, right])
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="consumer")(x))
    smaller = assert_exact(
        distinct_weights(model), {"left": [1]}, {"consumer": (2, [1])}
    )
    assert smaller.get_layer("right").filters == 3


def positions(size, channels, removed):
    """Numbers of the features of channels, once flattened."""
    numbers = np.arange(size * size * channels)
    return numbers.reshape(size, size, channels)[..., removed].ravel()


@pytest.mark.parametrize(
    "flatten",
    [
        lambda: [layers.Flatten()],
        lambda: [layers.Reshape((-1,))],
        lambda: [layers.Reshape((4 * 4 * 6,))],
        lambda: [layers.Reshape((16, 6)), layers.Flatten()],
        lambda: [layers.Reshape((-1, 6)), layers.Flatten()],
        lambda: [layers.Permute((2, 1, 3)), layers.Permute((2, 1, 3))]
        + [layers.Flatten()],
    ],
)
def test_flattened_features(flatten):
    model = chain(
        layers.Conv2D(6, 3, name="producer"),
        *flatten(),
        layers.Dense(4, name="consumer"),
        size=(6, 6, 3),
    )
    assert_exact(
        model,
        {"producer": [1, 4]},
        {"consumer": (0, positions(4, 6, [1, 4]))},
    )


def test_channels_moved_in_front_and_flattened():
    model = chain(
        layers.Conv2D(6, 3, name="producer"),
        layers.Permute((3, 1, 2)),
        layers.Flatten(),
        layers.Dense(4, name="consumer"),
        size=(6, 6, 3),
    )
    gone = np.arange(6 * 16).reshape(6, 16)[2]
    assert_exact(model, {"producer": [2]}, {"consumer": (0, gone)})


def test_channel_shuffle():
    """ShuffleNet's shuffle: equal places of both halves go together."""
    model = chain(
        layers.Conv2D(6, 3, name="producer"),
        layers.Reshape((6, 6, 2, 3)),
        layers.Permute((1, 2, 4, 3)),
        layers.Reshape((6, 6, 6)),
        layers.Conv2D(4, 3, name="consumer"),
    )
    # Channels 1 and 4 = 1 + 3 become channels 2 and 3.
    smaller = assert_exact(model, {"producer": [1]}, {"consumer": (2, [2, 3])})
    assert smaller.get_layer("producer").filters == 4


def test_repeated_vector():
    model = chain(
        layers.Dense(6, name="producer"),
        layers.RepeatVector(3),
        layers.Dense(4, name="consumer"),
        size=(5,),
    )
    assert_exact(model, {"producer": [1]}, {"consumer": (0, [1])})


def test_shared_layers():
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    stem = layers.Conv2D(6, 3, name="stem")
    norm = layers.BatchNormalization(name="norm")
    encoded = [norm(stem(x)) for x in inputs]
    x = layers.Concatenate()(encoded)
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="consumer")(x))
    smaller = assert_exact(
        distinct_weights(model), {"stem": [1]}, {"consumer": (2, [1, 7])}
    )
    assert len(smaller.layers) == len(model.layers)


def test_shared_reader_ties_what_it_reads():
    inputs = keras.Input((8, 8, 3))
    left = layers.Conv2D(6, 3, name="left")(inputs)
    right = layers.Conv2D(6, 3, name="right")(inputs)
    head = layers.Conv2D(4, 3, name="head")
    model = keras.Model(inputs, layers.Add()([head(left), head(right)]))
    smaller = assert_exact(
        distinct_weights(model), {"left": [1]}, {"head": (2, [1])}
    )
    assert smaller.get_layer("right").filters == 5


def encoder(name="encoder", kind="functional"):
    parts = [
        layers.Conv2D(6, 3, name="first"),
        layers.BatchNormalization(),
        layers.Conv2D(5, 3, name="second"),
    ]
    if kind == "sequential":
        return keras.Sequential([keras.Input((8, 8, 3)), *parts], name=name)
    inputs = outputs = keras.Input((8, 8, 3))
    for part in parts:
        outputs = part(outputs)
    return keras.Model(inputs, outputs, name=name)


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_nested_models_stay_nested(kind):
    inputs = keras.Input((8, 8, 3))
    x = encoder(kind=kind)(inputs, training=False)
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="head")(x))
    smaller = assert_exact(
        distinct_weights(model),
        {"first": [1], "second": [0]},
        {"encoder/second": (2, [1]), "head": (2, [0])},
    )
    assert [layer.name for layer in smaller.layers] == [
        layer.name for layer in model.layers
    ]
    assert smaller.get_layer("encoder").get_layer("second").filters == 4


def test_nested_model_used_twice_and_names_used_twice():
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    shared, other = encoder("shared"), encoder("other", "sequential")
    x = layers.Add()([shared(inputs[0]), shared(inputs[1]), other(inputs[0])])
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="head")(x))
    smaller = assert_exact(
        distinct_weights(model),
        {"shared/first": [1], "other/second": [0]},
        {"shared/second": (2, [1]), "head": (2, [0])},
    )
    assert smaller.get_layer("shared").get_layer("second").filters == 4
    assert smaller.get_layer("other").get_layer("first").filters == 6


def test_models_in_models_in_models():
    middle = keras.Sequential(
        [keras.Input((8, 8, 3)), encoder("inner"), layers.ReLU()],
        name="middle",
    )
    inputs = keras.Input((8, 8, 3))
    outputs = layers.Conv2D(4, 3, name="head")(middle(inputs))
    assert_exact(
        distinct_weights(keras.Model(inputs, outputs)),
        {"first": [1], "second": [2]},
        {"middle/inner/second": (2, [1]), "head": (2, [2])},
    )


def test_several_outputs():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="stem")(inputs)
    y = layers.Conv2D(5, 3, name="branch")(x)
    outputs = {
        "map": layers.Conv2D(2, 3, name="map")(y),
        "label": layers.Dense(3, name="label")(layers.Flatten()(x)),
    }
    assert_exact(
        distinct_weights(keras.Model(inputs, outputs)),
        {"stem": [1], "branch": [4]},
        {
            "branch": (2, [1]),
            "label": (0, positions(6, 6, [1])),
            "map": (2, [4]),
        },
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    model = chain(
        layers.Conv2D(6, 3, name="producer", dtype=policy),
        layers.BatchNormalization(dtype=policy),
        layers.Activation("relu", dtype=policy),
        layers.Conv2D(4, 3, name="consumer", dtype=policy),
    )
    smaller = assert_exact(
        model,
        {"producer": [1, 4]},
        {"consumer": (2, [1, 4])},
        tolerance=0.05,  # Of bfloat16, which has 8 bits of precision.
    )
    assert smaller.get_layer("producer").dtype_policy.name == policy
