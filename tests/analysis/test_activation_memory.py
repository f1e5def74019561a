"""Memory of activations, counted by hand."""

import keras
import pytest
from keras import layers

from fritz_compress.analysis import profile
from fritz_compress.analysis.activation_memory import LiveTensors


def live(model):
    return {step.layer: step.numbers for step in profile(model).steps}


def test_a_chain_holds_two_at_a_time():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", name="a"),
            layers.Conv2D(5, 3, 2, padding="same", name="b"),
            layers.Conv2D(6, 3, padding="same", name="c"),
        ]
    )
    assert live(model) == {
        "a": 64 * 3 + 64 * 4,
        "b": 64 * 4 + 16 * 5,
        "c": 16 * 5 + 16 * 6,
    }
    peak = profile(model).activation_memory()
    assert (peak.bytes, peak.layer) == (4 * 64 * 7, "a")
    assert profile(model).activation_memory(8).bytes == 64 * 7
    assert profile(model).activation_memory(3).bytes == 168


def test_branches_wait_for_each_other():
    inputs = keras.Input((10,))
    a = layers.Dense(7, name="a")(inputs)
    b = layers.Dense(5, name="b")(a)
    c = layers.Dense(3, name="c")(b)
    d = layers.Concatenate(name="d")([a, c])
    e = layers.Dense(1, name="e")(d)
    assert live(keras.Model(inputs, e)) == {
        "a": 10 + 7,
        "b": 7 + 5,
        "c": 7 + 5 + 3,
        "d": 7 + 3 + 10,
        "e": 10 + 1,
    }


def test_outputs_stay_to_the_end():
    inputs = keras.Input((10,))
    a = layers.Dense(7, name="a")(inputs)
    b = layers.Dense(5, name="b")(a)
    c = layers.Dense(3, name="c")(b)
    assert live(keras.Model(inputs, [a, c])) == {
        "a": 17,
        "b": 12,
        "c": 7 + 5 + 3,
    }


def test_an_input_waits_from_the_start():
    first, second = keras.Input((10,)), keras.Input((4,))
    a = layers.Dense(7, name="a")(first)
    model = keras.Model(
        [first, second], layers.Concatenate(name="b")([a, second])
    )
    assert live(model) == {"a": 10 + 4 + 7, "b": 7 + 4 + 11}


def test_reshapes_take_no_memory():
    inputs = keras.Input((4, 6))
    a = layers.Flatten(name="flat")(layers.Dropout(0.5, name="drop")(inputs))
    a = keras.ops.expand_dims(layers.Reshape((8, 3), name="shape")(a), 1)
    b = layers.Dense(2, name="b")(a)
    model = keras.Model(inputs, layers.Flatten(name="last")(b))
    assert set(live(model).values()) == {24, 24 + 16, 16}
    # The output is the dense layer's, which the view keeps alive.
    assert list(live(model).values()) == [24, 24, 24, 24, 40, 16]


def test_a_result_that_nobody_reads_is_gone_at_once():
    inputs = keras.Input((4, 6))
    x, state = layers.GRU(5, return_state=True, name="gru")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="dense")(x))
    assert live(model) == {"gru": 24 + 5 + 5, "dense": 7}


def test_token_ids_keep_their_type():
    tokens = keras.Input((20,), dtype="int32")
    model = keras.Model(tokens, layers.Embedding(9, 4, name="rows")(tokens))
    (step,) = profile(model).steps
    assert step == LiveTensors("rows", numbers=80, bytes=4 * 20)
    assert profile(model).activation_memory().bytes == 4 * 80 + 80
    assert profile(model).activation_memory(8).bytes == 80 + 80
    half = keras.Input((6,), dtype="bool")
    model = keras.Model(half, keras.ops.logical_not(half))
    assert profile(model).activation_memory(8).bytes == 12


def test_a_fixed_batch_is_counted_whole():
    inputs = keras.Input(batch_shape=(3, 6))
    model = keras.Model(inputs, layers.Dense(4, name="dense")(inputs))
    assert live(model) == {"dense": 3 * 10}


@pytest.mark.parametrize("wrong", [2.5, "8", True])
def test_bits_that_are_no_number_are_refused(wrong):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4)])
    with pytest.raises(TypeError, match="`bits` must be a whole number"):
        profile(model).activation_memory(wrong)
