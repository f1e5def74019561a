"""Units of recurrent layers, and layers that wrap others."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from removal_oracle import assert_exact

from fritz_compress import surgery


def sequential(shape, *parts, dtype="float32"):
    return distinct_weights(
        keras.Sequential([keras.Input(shape, dtype=dtype), *parts])
    )


# The layer, and the number of blocks that its kernels are made of.
CELLS = {
    "lstm": (layers.LSTM, {}),
    "gru": (layers.GRU, {}),
    "gru_reset_before": (layers.GRU, {"reset_after": False}),
    "simple": (layers.SimpleRNN, {}),
    "no_bias": (layers.LSTM, {"use_bias": False}),
}


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("case", CELLS)
def test_units_go_when_no_other_unit_listens(case, sequences):
    kind, arguments = CELLS[case]
    model = sequential(
        (5, 3),
        kind(6, return_sequences=sequences, name="cell", **arguments),
        layers.Dense(2, name="head"),
    )
    # The other units, and the head, are deaf to units 1 and 4.
    smaller = assert_exact(
        model, {"cell": [1, 4]}, {"cell#1": (0, [1, 4]), "head": (0, [1, 4])}
    )
    assert smaller.get_layer("cell").units == 4


def test_what_a_recurrent_layer_reads():
    model = sequential(
        (5,),
        layers.Embedding(9, 8, name="words"),
        layers.LSTM(6, name="cell"),
        layers.Dense(2),
        dtype="int32",
    )
    assert_exact(model, {"words": [0, 7]}, {"cell": (0, [0, 7])})


def test_states_tie_an_encoder_to_its_decoder():
    words, answers = keras.Input((5, 3)), keras.Input((4, 2))
    encoder = layers.LSTM(6, return_state=True, name="encoder")
    _, *states = encoder(words)
    decoder = layers.LSTM(6, return_sequences=True, name="decoder")
    x = layers.Dense(2, name="head")(decoder(answers, initial_state=states))
    model = distinct_weights(keras.Model([words, answers], x))
    group, _ = surgery.channel_groups(model)
    assert list(group.producers) == ["encoder", "decoder"]
    listeners = {"encoder#1": (0, [2]), "decoder#1": (0, [2]), "head": (0, [2])}
    assert_exact(model, {"encoder": [2]}, listeners)


def test_an_activation_that_does_not_keep_zero_revives_units():
    model = sequential(
        (5, 3), layers.SimpleRNN(4, activation="sigmoid"), layers.Dense(2)
    )
    group, _ = surgery.channel_groups(model)
    assert "SimpleRNN" in group.revived


def test_state_from_batch_to_batch_stays():
    inputs = keras.Input(batch_shape=(2, 5, 3))
    x = layers.LSTM(4, stateful=True, name="cell")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(x))
    assert surgery.channel_groups(model).whole == {
        "cell": "LSTM keeps its state from batch to batch"
    }


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
def test_both_directions_lose_the_same_units(merge):
    model = sequential(
        (5, 3),
        layers.Bidirectional(
            layers.GRU(6, return_sequences=True), merge_mode=merge, name="both"
        ),
        layers.Dense(2, name="head"),
    )
    heard = [1, 3, 7, 9] if merge == "concat" else [1, 3]
    deaf = {"head": (0, heard), "both#1": (0, [1, 3]), "both#4": (0, [1, 3])}
    smaller = assert_exact(model, {"both": [1, 3]}, deaf)
    assert smaller.get_layer("both").forward_layer.units == 4
    assert smaller.get_layer("both").backward_layer.units == 4


def test_directions_of_their_own_and_apart():
    inputs = keras.Input((5, 3))
    forward, backward = layers.Bidirectional(
        layers.LSTM(4, return_sequences=True),
        backward_layer=layers.LSTM(
            4, return_sequences=True, go_backwards=True, activation="relu"
        ),
        merge_mode=None,
        name="both",
    )(inputs)
    outputs = [
        layers.Dense(2, name="first")(forward),
        layers.Dense(2, name="second")(backward),
    ]
    model = distinct_weights(keras.Model(inputs, outputs))
    deaf = {name: (0, [2]) for name in ("first", "second", "both#1", "both#4")}
    smaller = assert_exact(model, {"both": [2]}, deaf)
    assert smaller.get_layer("both").backward_layer.activation.__name__ == (
        "relu"
    )


WRAPPED = {
    "dense": (layers.Dense(6, activation="relu"), (5, 4), (0, [1, 4])),
    "convolution": (layers.Conv1D(6, 2), (5, 4, 3), (0, [1, 4])),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_layers_at_every_time_step(case):
    layer, shape, deaf = WRAPPED[case]
    model = sequential(
        shape,
        layers.TimeDistributed(layer, name="wrapped"),
        layers.TimeDistributed(layers.BatchNormalization()),
        layers.TimeDistributed(layers.Dense(3, name="inside"), name="head"),
    )
    smaller = assert_exact(model, {"wrapped": [1, 4]}, {"head": deaf})
    assert smaller.get_layer("wrapped").layer.weights[0].shape[-1] == 4


def test_spectral_normalization():
    model = sequential(
        (8, 8, 3),
        layers.SpectralNormalization(layers.Conv2D(6, 3), name="wrapped"),
        layers.Conv2D(4, 3, name="head"),
    )
    smaller = assert_exact(model, {"wrapped": [0, 3]}, {"head": (2, [0, 3])})
    # Training goes on: the estimate of the norm has shrunk as well.
    smaller(np.ones((1, 8, 8, 3)), training=True)


def test_stays_a_layer_without_a_rule_inside_a_wrapper():
    model = sequential(
        (5, 4),
        layers.TimeDistributed(layers.Lambda(lambda x: x * 2), name="wrapped"),
        layers.Dense(2),
    )
    assert surgery.channel_groups(model).whole == {
        "wrapped": "TimeDistributed holds a Lambda, which has no rule"
    }
