"""Arguments of the wrong type and out of range, and what is said of them."""

import pathlib

import keras
import numpy as np
import pytest
from keras import layers

from fritz_compress import checks


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)], ids=repr)
def test_a_count_is_a_whole_number(value):
    found = checks.check_count("rounds", value)
    assert found == 3 and type(found) is int


@pytest.mark.parametrize(
    "value", [1.5, 2.0, True, np.True_, "3", None, [3]], ids=repr
)
def test_what_is_no_count(value):
    message = "`rounds` must be a whole number, at least 1. Received: rounds="
    with pytest.raises(TypeError, match=message):
        checks.check_count("rounds", value)


def test_a_count_that_is_too_small():
    with pytest.raises(ValueError, match="`n` must be at least 2.*n=1"):
        checks.check_count("n", 1, least=2)


@pytest.mark.parametrize(
    "bounds, inside, outside",
    [
        ("[0, 1)", [0, 0.0, 0.5, np.float32(0.5)], [1, -0.1, 25]),
        ("(0, 1]", [1, 0.5], [0, 1.1, float("nan")]),
        ("(0, 1)", [0.5], [0, 1.0, float("inf")]),
    ],
)
def test_fractions_have_bounds(bounds, inside, outside):
    for value in inside:
        checks.check_fraction("share", value, bounds)
    for value in outside:
        with pytest.raises(ValueError) as error:
            checks.check_fraction("share", value, bounds)
        assert str(error.value) == (
            f"`share` must be a fraction in {bounds}, not a percent. "
            f"Received: share={value}."
        )


@pytest.mark.parametrize("value", [True, "0.5", None, [0.5]], ids=repr)
def test_what_is_no_fraction(value):
    with pytest.raises(TypeError, match="`share` of layer 'a' must be a fr"):
        checks.check_fraction("share", value, layer="a")


def test_a_mapping_of_fractions_is_copied():
    given = {"a": 0.5, "b": 0}
    found = checks.check_fractions("share", given)
    assert found == given and found is not given
    assert checks.check_fractions("share", 0.5) == 0.5


@pytest.mark.parametrize(
    "value, received",
    [
        (0.0, "share=0.0."),
        ({}, "share={}."),
        ({"a": 0, "b": 0.0}, "share={'a': 0, 'b': 0.0}."),
        (dict.fromkeys(map(str, range(40)), 0.0), "share=0 for each of 40 la"),
    ],
)
def test_nothing_to_prune(value, received):
    with pytest.raises(ValueError) as error:
        checks.check_fractions("share", value)
    text = str(error.value)
    assert text.startswith("Nothing to prune: `share` must be above 0, for on")
    assert received in text and "rise with `max_loss`" in text


def test_fractions_of_a_layer_in_place_of_its_name():
    with pytest.raises(TypeError, match="Dense 'd'. Pass the string"):
        checks.check_fractions("share", {layers.Dense(2, name="d"): 0.5})


def test_names():
    assert checks.check_names("layers", iter("ab")) == ("a", "b")
    with pytest.raises(ValueError, match=r"the string 'ab'. Pass \['ab'\]"):
        checks.check_names("layers", "ab")
    with pytest.raises(TypeError, match="Received: Dense 'd' among them"):
        checks.check_names("layers", ["a", layers.Dense(2, name="d")])
    with pytest.raises(TypeError, match="Received: Dense 'd'.$"):
        checks.check_names("layers", layers.Dense(2, name="d"))


@pytest.mark.parametrize("file", ["net.keras", pathlib.Path("net.keras")])
def test_a_file_in_place_of_a_model(file):
    message = "`model` must be a Keras.*net.keras'. Load the file first, with"
    with pytest.raises(TypeError, match=message):
        checks.check_model(file)


def test_models_that_are_not_built():
    model = keras.Sequential([layers.Dense(2, name="d")], name="net")
    with pytest.raises(ValueError) as error:
        checks.check_built(model)
    assert str(error.value).startswith(
        "Model 'net' must be built, so that it has weights. Received: a model "
        "whose 'd' is not built. Call it on a batch, `model(x)`"
    )
    model.build((None, 3))
    checks.check_built(model)


def test_the_first_sample_with_nan_is_named():
    good, bad = np.zeros((4, 3)), np.zeros((4, 3), "float32")
    bad[2:, 1] = np.nan
    checks.check_no_nan("`x`", {"a": good, "b": np.zeros(0), "c": ["text"]})
    checks.check_no_nan("`x`", np.array([1, 2]))
    for wrong in (bad, keras.ops.convert_to_tensor(bad)):
        with pytest.raises(ValueError, match="`x` must hold.*NaN in sample 2"):
            checks.check_no_nan("`x`", (good, [wrong]))


def test_values_in_messages_are_short():
    assert checks.described(0.5) == "0.5"
    assert checks.described(layers.Dense(2, name="d")) == "Dense 'd'"
    assert checks.described(np.zeros(100)) == "a value of type ndarray"
    assert checks.described(iter([])) == "a value of type list_iterator"
