"""Receptive fields, against what changes when one row of the input does."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from fritz_compress import layers as ours
from fritz_compress.analysis import profile


def measured(model, rows):
    """Rows of the input that the best informed row of the output reads.

    Weights are positive and nothing is cut off at zero, so a row of ones in a
    picture of zeros is seen wherever it is read.
    """
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.3, 0.6, weight.shape))
    rest = model.input_shape[2:]
    pictures = np.zeros((rows + 1, rows, *rest), "float32")
    pictures[np.arange(rows), np.arange(rows)] = 1
    outputs = ops.convert_to_numpy(model(pictures))
    change = np.abs(outputs[:-1] - outputs[-1])
    largest = change.max(axis=tuple(range(2, change.ndim)))
    seen = largest > 1e-5 * largest.max()
    spans = [np.flatnonzero(column) for column in seen.T]
    return max(span[-1] - span[0] + 1 for span in spans if span.size)


def residual(x):
    """Branches of other kernels, and a strided one, meet."""
    short = layers.Conv2D(2, 1, 2, padding="same")(x)
    long = layers.Conv2D(2, 3, 2, padding="same")(x)
    long = layers.Conv2D(2, 3, dilation_rate=3, padding="same")(long)
    return layers.Add()([short, long])


def joined(x):
    wide = layers.MaxPooling2D(3, 1, "same")(x)
    deep = layers.Conv2D(2, (5, 3), padding="same")(x)
    deep = layers.Conv2D(2, (1, 7), padding="same")(deep)
    return layers.Concatenate()([wide, deep])


def u_net(x):
    """Down and up again, joined with what was kept."""
    down = layers.Conv2D(2, 3, 2, padding="same")(x)
    down = layers.Conv2D(2, 3, 2, padding="same")(down)
    up = layers.UpSampling2D(4)(down)
    return layers.Conv2D(2, 3, padding="same")(layers.Concatenate()([x, up]))


def chain(*makers):
    def build(x):
        for layer in makers:
            x = layer(x)
        return x

    return build


def conv(*args, **kwargs):
    return layers.Conv2D(2, *args, **kwargs)


CASES = {
    "kernels": (chain(conv(3), conv(5, 2), conv(3, 2)), 3 + 4 + 2 * 2),
    "dilation": (chain(conv(3, dilation_rate=4), conv((3, 1))), 11),
    "pooling": (
        chain(
            conv(3, padding="same"),
            layers.MaxPooling2D(2),
            conv(3, padding="same"),
            layers.AveragePooling2D(3, 2, "same"),
        ),
        # 3, 4, 8, and two more windows two apart.
        12,
    ),
    "depthwise": (
        chain(layers.DepthwiseConv2D(5), layers.SeparableConv2D(2, 3, 2)),
        7,
    ),
    "padding": (
        chain(
            layers.ZeroPadding2D(((2, 1), (0, 3))),
            conv(3, 2),
            layers.Cropping2D(1),
            conv(3),
        ),
        7,
    ),
    "residual": (residual, 1 + 2 + 2 * 2 * 3),
    "joined": (joined, 5),
    "transposed": (
        chain(conv(3, 2, padding="same"), layers.Conv2DTranspose(2, 3, 2)),
        # One or two positions, two apart, each of three.
        5,
    ),
    "transposed, same": (
        chain(
            conv(3, 2),
            layers.Conv2DTranspose(2, 5, 2, "same"),
            layers.Conv2DTranspose(2, 4, 3),
            conv(3, 2, padding="same"),
        ),
        None,
    ),
    "transposed with gaps": (
        chain(layers.Conv2DTranspose(2, 2, 3), conv(3)),
        2,
    ),
    "upsampling": (
        chain(conv(3, 2), layers.UpSampling2D(2), conv(3), conv(3, 2)),
        None,
    ),
    "bilinear": (
        chain(
            conv(3, 2),
            layers.UpSampling2D(2, interpolation="bilinear"),
            conv(3),
        ),
        None,
    ),
    "bicubic": (chain(layers.UpSampling2D(3, interpolation="bicubic")), 4),
    "resized": (chain(layers.Resizing(24, 24), conv(3)), None),
    "resized, nearest": (
        chain(layers.Resizing(54, 54, "nearest"), conv(3)),
        None,
    ),
    "u-net": (u_net, None),
    "depth to space": (
        chain(
            layers.Conv2D(8, 3, 2, padding="same"),
            ours.DepthToSpace(2),
            conv(3),
        ),
        None,
    ),
    "sliced": (lambda x: conv(3)(x[:, 1::2, ::2]), 5),
    "padded by an operation": (
        lambda x: conv(3, 2)(ops.pad(x, [[0, 0], [3, 1], [0, 0], [0, 0]])),
        3,
    ),
    "channel by channel": (
        chain(
            conv(3),
            layers.BatchNormalization(),
            layers.Dense(4),
            layers.LayerNormalization(),
            layers.Dropout(0.5),
            conv(3),
        ),
        5,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_fields_are_what_outputs_depend_on(case):
    build, expected = CASES[case]
    rows = 36
    inputs = keras.Input((rows, rows, 2))
    model = keras.Model(inputs, build(inputs))
    found = profile(model)
    assert found.receptive_field[0] == measured(model, rows)
    if expected is not None:
        assert found.receptive_field[0] == expected
    assert found.layers[-1].receptive_field == found.receptive_field


def test_sequences():
    inputs = keras.Input((40, 2))
    x = layers.Conv1D(2, 3, 2, "causal")(inputs)
    x = layers.DepthwiseConv1D(3, padding="same")(x)
    x = layers.UpSampling1D(2)(layers.ZeroPadding1D(1)(x))
    x = layers.Cropping1D((1, 0))(layers.AveragePooling1D(2, 1)(x))
    x = layers.Conv1DTranspose(2, 3, 2)(x)
    model = keras.Model(inputs, layers.MaxPooling1D(2)(x))
    assert profile(model).receptive_field == (measured(model, 40),)


def test_volumes():
    inputs = keras.Input((16, 4, 4, 2))
    x = layers.Conv3D(2, (3, 2, 1), padding="same")(inputs)
    x = layers.MaxPooling3D(2)(layers.ZeroPadding3D(1)(x))
    x = layers.Conv3DTranspose(2, 3, 1)(layers.UpSampling3D(2)(x))
    model = keras.Model(inputs, layers.AveragePooling3D((2, 1, 1))(x))
    field = profile(model).receptive_field
    assert len(field) == 3
    assert field[0] == measured(model, 16)


def test_pictures_over_time():
    inputs = keras.Input((5, 16, 16, 2))
    x = layers.TimeDistributed(layers.Conv2D(2, 3, 2))(inputs)
    x = layers.TimeDistributed(layers.MaxPooling2D((2, 1)))(x)
    assert profile(keras.Model(inputs, x)).receptive_field == (1, 5, 3)


def test_axes_are_followed_when_they_move():
    inputs = keras.Input((16, 16, 6))
    x = layers.Conv2D(2, (3, 1))(inputs)
    x = layers.Permute((2, 1, 3))(x)
    assert profile(keras.Model(inputs, x)).receptive_field == (1, 3)
    x = ops.transpose(layers.Conv2D(2, (1, 5))(x), (0, 2, 1, 3))
    assert profile(keras.Model(inputs, x)).receptive_field == (7, 1)


def test_channels_in_groups_are_no_positions():
    inputs = keras.Input((16, 16, 6))
    x = layers.Conv2D(6, 3)(inputs)
    x = layers.Reshape((14, 14, 2, 3))(x)
    x = layers.Permute((1, 2, 4, 3))(x)
    x = ours.ChannelShuffle(3)(layers.Reshape((14, 14, 6))(x))
    assert profile(keras.Model(inputs, x)).receptive_field == (3, 3)


def test_layers_that_simulate_integers():
    inputs = keras.Input((16, 16, 6))
    x, ends = ours.ActivationRange()(inputs)
    y, _ = ours.QuantizedLayer(layers.Conv2D(4, 3, padding="same"))(x, ends)
    model = keras.Model(
        inputs, ours.ConcatenationRange(ranged=[0])([x, y], [ends])[0]
    )
    assert profile(model).receptive_field == (3, 3)


def test_tokens():
    tokens = keras.Input((20,), dtype="int32")
    x = layers.Conv1D(4, 5)(layers.Embedding(9, 4)(tokens))
    assert profile(keras.Model(tokens, x)).receptive_field == (5,)


def test_channels_first():
    inputs = keras.Input((2, 36, 36))
    x = layers.Conv2D(2, (3, 5), data_format="channels_first")(inputs)
    x = layers.MaxPooling2D(2, data_format="channels_first")(x)
    assert profile(keras.Model(inputs, x)).receptive_field == (4, 6)


def test_models_of_any_size():
    """As of a size that all strides divide."""
    inputs = keras.Input((None, None, 3))
    x = layers.MaxPooling2D(3, 2, "same")(inputs)
    x = layers.UpSampling2D(2)(x)
    x = layers.Concatenate()([x, inputs])
    sized = keras.Input((32, 32, 3))
    known = keras.Model(inputs, x)
    fields = {
        profile(m).receptive_field
        for m in (known, keras.Model(sized, known(sized)))
    }
    assert fields == {(3, 3)}


@pytest.mark.parametrize(
    "layer",
    [
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Flatten(),
        layers.Lambda(lambda x: x, output_shape=(14, 14, 2)),
        layers.LayerNormalization((1, 2)),
        layers.Resizing(7, 7, antialias=True),
        ours.InstanceNormalization(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_mixes_all_positions_has_no_field(layer):
    inputs = keras.Input((16, 16, 2))
    x = layers.Conv2D(2, 3)(inputs)
    model = keras.Model(inputs, layer(x))
    conv, last = profile(model).layers
    assert (conv.receptive_field, last.receptive_field) == ((3, 3), None)


def test_one_position_for_all_is_none():
    """Squeeze and excitation: every position depends on the whole picture."""
    inputs = keras.Input((16, 16, 2))
    x = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    model = keras.Model(inputs, layers.Multiply()([inputs, x]))
    assert profile(model).receptive_field is None
    narrow = layers.MaxPooling2D(16)(inputs)
    model = keras.Model(inputs, layers.Add()([inputs, narrow]))
    assert profile(model).receptive_field is None


def test_branches_at_other_speeds_have_no_field():
    inputs = keras.Input((16, 16, 2))
    small = layers.Cropping2D(((0, 8), (0, 8)))(inputs)
    model = keras.Model(
        inputs, layers.Add()([layers.MaxPooling2D(2)(inputs), small])
    )
    assert profile(model).receptive_field is None


@pytest.mark.parametrize(
    "name, field",
    [
        ("MobileNet", 315),
        pytest.param("ResNet50", 483, marks=pytest.mark.slow),
        pytest.param("MobileNetV2", 491, marks=pytest.mark.slow),
        pytest.param("InceptionV3", 1311, marks=pytest.mark.slow),
    ],
)
def test_published_networks(name, field):
    """Araujo et al., https://doi.org/10.23915/distill.00021, table 1."""
    build = getattr(keras.applications, name)
    model = build(weights=None, include_top=False, input_shape=(224, 224, 3))
    assert profile(model).receptive_field == (field, field)
