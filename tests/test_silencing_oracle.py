"""The oracle of removals, against kernels that are silenced by hand."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, ops
from removal_oracle import deafen, difference, predict, samples
from silencing_oracle import (
    NoiseVanishes,
    RemovedChannelsLeak,
    removed_channels,
    silenced_outputs,
)

from fritz_compress.surgery import channel_groups


def chain():
    """Removed channels are dead in some samples, and go through padding."""
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(6, 3, name="first")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ZeroPadding2D(1)(layers.ReLU(max_value=6)(x))
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.Conv2D(5, 3, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


def padded():
    """Zeros that are padded with become something else, in every channel."""
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(5, 1, name="first")(inputs)
    x = ops.pad(x, [(0, 0), (1, 1), (0, 2), (0, 1)])
    x = layers.Flatten()(layers.Activation("sigmoid")(x))
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


def residual():
    """Only one of two tied layers is named: the sum carries the noise."""
    inputs = keras.Input((4, 4, 3))
    trunk = layers.Conv2D(4, 1, name="first")(inputs)
    y = layers.Conv2D(4, 3, padding="same", name="second")(trunk)
    x = layers.ReLU()(layers.Add()([trunk, y]))
    x = layers.Concatenate()([inputs, x])
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


def squeeze_and_excite():
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="first")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(3, 1, activation="relu", name="squeeze")(gate)
    gate = layers.Conv2D(6, 1, activation="hard_sigmoid", name="excite")(gate)
    x = layers.Conv2D(4, 1, name="second")(layers.Multiply()([x, gate]))
    return keras.Model(inputs, x)


def grouped():
    """The same channel of both groups goes, behind a depthwise layer."""
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(8, 1, name="first")(inputs)
    x = layers.Conv2D(8, 1, groups=8, name="per_channel")(x)
    x = layers.Conv2D(4, 1, groups=2, name="second")(x)
    return keras.Model(inputs, x)


def mixer():
    """The first dense layer works along tokens, channel by channel."""
    inputs = keras.Input((5, 3))
    x = layers.Dense(4, name="first")(inputs)
    x = layers.Permute((2, 1))(x)
    x = layers.Dense(7, activation="gelu", name="tokens")(x)
    x = layers.Permute((2, 1))(x)
    return keras.Model(inputs, layers.Dense(3, name="second")(x))


def attention():
    """Scores from some channels, values from others."""
    inputs = keras.Input((5, 3))
    query = layers.Dense(4, use_bias=False, name="query")(inputs)
    key = layers.Dense(4, name="key")(inputs)
    value = layers.Dense(4, name="value")(inputs)
    scores = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 2, 1))))
    x = ops.einsum("bts,bsc->btc", scores, value)
    return keras.Model(inputs, layers.Dense(3, name="second")(x))


def attention_layer():
    """Values are the keys: silent as keys, passed on as values."""
    inputs = keras.Input((5, 3))
    query = layers.Dense(4, use_bias=False, name="query")(inputs)
    value = layers.Dense(4, name="value")(inputs)
    x = layers.Attention()([query, value])
    return keras.Model(inputs, layers.Dense(3, name="second")(x))


def dot():
    inputs = keras.Input((5, 3))
    query = layers.Dense(4, use_bias=False, name="query")(inputs)
    key = layers.Dense(4, name="key")(inputs)
    return keras.Model(inputs, layers.Dot(axes=(2, 2))([query, key]))


def heads():
    """Channels along two axes: two heads of width three."""
    inputs = keras.Input((5, 3))
    x = layers.EinsumDense("btc,chd->bthd", (None, 2, 3), name="split")(inputs)
    x = layers.EinsumDense("bthd,hde->bte", (None, 4), name="merge")(x)
    return keras.Model(inputs, x)


def shared():
    """One layer called twice, in a model inside the model."""
    inner = keras.Sequential(
        [keras.Input((4, 4, 3)), layers.Conv2D(4, 1, name="shared")],
        name="inner",
    )
    one, two = keras.Input((4, 4, 3)), keras.Input((4, 4, 3))
    x = layers.Subtract()([inner(one), inner(two)])
    return keras.Model([one, two], layers.Conv2D(2, 1, name="second")(x))


# Model, removed channels, and who must be deaf: axis of the kernel, indices.
CASES = {
    "chain": (
        chain,
        {"first": [0, 4], "second": [1]},
        {"second": (2, [0, 4]), "head": (0, [1])},
    ),
    "padded": (
        padded,
        {"first": [1, 4]},
        {"head": (0, [c for c in range(216) if c % 6 in (1, 4)])},
    ),
    "residual": (
        residual,
        {"first": [2]},
        {"second": (2, [2]), "head": (0, range(5, 112, 7))},
    ),
    "squeeze_and_excite": (
        squeeze_and_excite,
        {"first": [1, 2], "excite": [1, 2], "squeeze": [0]},
        {"squeeze": (2, [1, 2]), "excite": (2, [0]), "second": (2, [1, 2])},
    ),
    "grouped": (grouped, {"first": [0, 4]}, {"second": (2, [0])}),
    "mixer": (mixer, {"first": [3]}, {"second": (0, [3])}),
    "attention": (
        attention,
        {"query": [1], "key": [1], "value": [2]},
        {"query": (1, [1]), "second": (0, [2])},
    ),
    "attention_layer": (
        attention_layer,
        {"query": [1], "value": [1]},
        {"query": (1, [1]), "second": (0, [1])},
    ),
    "dot": (dot, {"query": [1], "key": [1]}, {"query": (1, [1])}),
    "heads_narrower": (heads, {"split:d": [1]}, {"merge": (1, [1])}),
    "heads_fewer": (heads, {"split:h": [1]}, {"merge": (0, [1])}),
    "shared": (shared, {"shared": [0, 2]}, {"second": (2, [0, 2])}),
}


def oracle(model, removed, seed=0):
    inputs = samples(model)
    inputs = inputs if isinstance(inputs, list) else [inputs]
    outputs = silenced_outputs(model, removed, inputs, seed)
    return np.concatenate([output.ravel() for output in outputs])


@pytest.mark.parametrize("case", CASES)
def test_equals_kernels_silenced_by_hand(case):
    build, removed, deaf = CASES[case]
    model = distinct_weights(build())
    inputs = samples(model)
    original = predict(model, inputs)
    received = oracle(model, removed)
    np.testing.assert_allclose(oracle(model, removed, seed=1), received)
    np.testing.assert_array_equal(predict(model, inputs), original)

    deafen(model, deaf)
    wanted = predict(model, inputs)
    assert difference(wanted, received) < 1e-5
    assert difference(wanted, original) > 0.05


@pytest.mark.parametrize("case", CASES)
def test_other_channels_make_other_outputs(case):
    build, removed, deaf = CASES[case]
    model = distinct_weights(build())
    others = {
        name: [index + (1 if index == 0 else -1) for index in indices]
        for name, indices in removed.items()
    }
    received = oracle(model, others)
    deafen(model, deaf)
    assert difference(predict(model, samples(model)), received) > 0.05


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.LSTM, layers.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers_do_not_hear_themselves(kind, bidirectional):
    inputs = keras.Input((5, 3))
    layer = kind(4, return_sequences=True, name="first")
    if bidirectional:
        layer = layers.Bidirectional(layer, name="first")
    x = layers.Dense(2, name="second")(layer(inputs))
    model = distinct_weights(keras.Model(inputs, x))
    before = model.get_weights()
    received = oracle(model, {"first": [1]})
    for weight, value in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, value)

    directions = [layer]
    if bidirectional:
        directions = [layer.forward_layer, layer.backward_layer]
    for direction in directions:
        kernel = direction.cell.recurrent_kernel
        silent = keras.ops.convert_to_numpy(kernel).copy()
        silent[1] = 0
        kernel.assign(silent)
    deafen(model, {"second": (0, [1, 5] if bidirectional else [1])})
    assert difference(predict(model, samples(model)), received) < 1e-5


# For each part of an attention layer the axis of it in the weights: queries
# and keys, values, and the way back.
PARTS = {
    "heads": (1, 1, 0),
    "key_dim": (2, None, None),
    "value_dim": (None, 2, 1),
}


@pytest.mark.parametrize("part", PARTS)
def test_attention_without_parts_of_it(part):
    """As its formula has it, with arrays that are cut."""
    inputs = keras.Input((5, 3))
    layer = layers.MultiHeadAttention(2, 3, use_bias=False, name="attention")
    model = distinct_weights(keras.Model(inputs, layer(inputs, inputs)))
    before = model.get_weights()
    received = oracle(model, {f"attention:{part}": [1]})
    for weight, value in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, value)

    meeting, valued, back = PARTS[part]
    query, key, value, output = (
        kernel if axis is None else np.delete(kernel, 1, axis)
        for kernel, axis in zip(before, (meeting, meeting, valued, back))
    )
    x = samples(model)
    query, key, value = (
        np.einsum("btc,chd->bhtd", x, kernel) for kernel in (query, key, value)
    )
    scores = np.exp(np.einsum("bhtd,bhsd->bhts", query, key) / np.sqrt(3))
    scores /= scores.sum(axis=-1, keepdims=True)
    wanted = np.einsum("bhts,bhsd,hdc->btc", scores, value, output)
    assert difference(wanted.ravel(), received) < 1e-5


LEAKS = {
    "output": lambda x: x,
    "softmax": lambda x: layers.Conv2D(2, 1)(layers.Softmax()(x)),
    "layer_normalization": lambda x: layers.Conv2D(2, 1)(
        layers.LayerNormalization()(x)
    ),
    "mean_over_channels": lambda x: ops.mean(x, axis=-1),
}


@pytest.mark.parametrize("case", LEAKS)
def test_channels_that_others_depend_on_are_found(case):
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 1, name="first")(inputs)
    model = distinct_weights(keras.Model(inputs, LEAKS[case](x), name="leaky"))
    with pytest.raises(RemovedChannelsLeak, match=r"outputs \[0\] .*'leaky'"):
        oracle(model, {"first": [1]})


NORMALIZATIONS = {
    "layer": layers.LayerNormalization,
    "group": lambda: layers.GroupNormalization(2),
    "rms": layers.RMSNormalization,
    "unit": layers.UnitNormalization,
}


@pytest.mark.parametrize("case", NORMALIZATIONS)
def test_statistics_without_removed_channels(case):
    """As a smaller model has them, cut by hand."""

    def build(filters):
        inputs = keras.Input((4, 4, 3))
        x = layers.Conv2D(filters, 1, name="first")(inputs)
        x = layers.Conv2D(2, 1)(NORMALIZATIONS[case]()(x))
        return keras.Model(inputs, x, name="normalized")

    model, smaller = distinct_weights(build(6)), build(4)
    gone = [0, 4]  # One of each group.
    for weight, cut in zip(model.weights, smaller.weights):
        values = keras.ops.convert_to_numpy(weight)
        for axis, size in enumerate(weight.shape):
            if size == 6:
                values = np.delete(values, gone, axis)
        cut.assign(values)
    inputs = samples(model)
    removed = {"first": gone}
    (received,) = silenced_outputs(
        model, removed, [inputs], masked_statistics=True
    )
    assert difference(predict(smaller, inputs), received.ravel()) < 1e-5
    if case == "unit":  # A sum of squares, to which zeros add nothing.
        (received,) = silenced_outputs(model, removed, [inputs])
        assert difference(predict(smaller, inputs), received.ravel()) < 1e-5
    else:
        with pytest.raises(RemovedChannelsLeak):
            silenced_outputs(model, removed, [inputs])


def test_channels_of_chosen_groups():
    groups = channel_groups(residual())
    (place,) = [i for i, g in enumerate(groups) if "first" in g.producers]
    assert removed_channels(groups, {place: [0, 3]}) == {
        "first": [0, 3],
        "second": [0, 3],
    }


@pytest.mark.parametrize(
    "cancel",
    [
        lambda x: x + (1 - x),
        lambda x: layers.GlobalAveragePooling1D()(layers.Softmax(axis=1)(x)),
    ],
    ids=["sum", "mean"],
)
def test_noise_that_cancels_is_not_taken_for_silence(cancel):
    inputs = keras.Input((3, 4))
    x = layers.Dense(6, name="first")(inputs)
    outputs = layers.Dense(2, name="head")(cancel(x))
    model = distinct_weights(keras.Model(inputs, outputs))
    with pytest.raises(NoiseVanishes, match="cancels noise"):
        silenced_outputs(model, {"first": [1, 4]}, [samples(model)])


def test_sums_and_means_of_noise_are_seen():
    inputs = keras.Input((3, 4))
    x = layers.Dense(6, name="first")(inputs)
    x = layers.GlobalAveragePooling1D()(layers.Add()([x, 1.5 * x]))
    outputs = layers.Dense(2, name="head")(x)
    model = distinct_weights(keras.Model(inputs, outputs))
    data = samples(model)
    (wanted,) = silenced_outputs(model, {"first": [1, 4]}, [data])
    deafen(model, {"head": (0, [1, 4])})
    assert difference(wanted.ravel(), predict(model, data)) < 1e-5
