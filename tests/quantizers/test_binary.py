"""Quantizers of one to eight bits as objects: names, files, levels, errors."""

import json

import keras
import numpy as np
import pytest
from gradients import value_and_gradients

from fritz_compress import quantizers
from fritz_compress.quantizers import (
    ApproxSign,
    DoReFa,
    EvenLevels,
    MagnitudeAwareSign,
    SteSign,
    SteTern,
    StochasticSign,
    SwishSign,
)

# Each with arguments that are not the defaults.
EACH = [
    SteSign(0.5),
    SteSign(None),
    ApproxSign(),
    SwishSign(2.5),
    StochasticSign(0.75, seed=3),
    MagnitudeAwareSign(2.0),
    SteTern(0.25, None),
    SteTern("mean", 0.5),
    *(DoReFa(nbits) for nbits in (1, 3, 8)),
    *(DoReFa(nbits, "weights") for nbits in (1, 2, 8)),
    *(EvenLevels(nbits) for nbits in (1, 2, 8)),
]


def name(quantizer):
    config = ", ".join(f"{v}" for v in quantizer.get_config().values())
    return f"{type(quantizer).__name__}({config})"


def kernel(seed=0, shape=(3, 3, 4, 6)):
    drawn = np.random.default_rng(seed).normal(0, 0.6, shape)
    drawn.flat[:6] = 0, 1, -1, 0.5, -0.5, 0.25
    return drawn.astype("float32")


def levels(quantizer, values, **arguments):
    return keras.ops.convert_to_numpy(quantizer(values, **arguments))


@pytest.mark.parametrize("quantizer", EACH, ids=name)
def test_a_quantizer_is_made_again_of_its_configuration(quantizer):
    text = json.dumps(quantizers.serialize(quantizer))
    again = quantizers.get(json.loads(text))
    assert type(again) is type(quantizer)
    assert again.get_config() == quantizer.get_config()
    copy = type(quantizer).from_config(quantizer.get_config())
    assert copy.nbits == again.nbits == quantizer.nbits
    values = levels(quantizer, kernel())
    np.testing.assert_array_equal(levels(again, kernel()), values)
    np.testing.assert_array_equal(levels(copy, kernel()), values)
    assert quantizers.get(quantizer) is quantizer


@pytest.mark.parametrize(
    "text, kind, nbits, is_sign",
    [
        ("ste_sign", SteSign, 1, True),
        ("approx_sign", ApproxSign, 1, True),
        ("swish_sign", SwishSign, 1, True),
        ("stochastic_sign", StochasticSign, 1, True),
        ("magnitude_aware_sign", MagnitudeAwareSign, 1, True),
        ("ste_tern", SteTern, 2, False),
        ("dorefa", DoReFa, 2, False),
        ("dorefa_weights", DoReFa, 2, False),
        ("even_levels", EvenLevels, 2, False),
    ],
)
def test_names_stand_for_the_defaults(text, kind, nbits, is_sign):
    quantizer = quantizers.get(text)
    assert type(quantizer) is kind
    assert (quantizer.nbits, quantizer.is_sign) == (nbits, is_sign)
    config = kind().get_config()
    if text == "dorefa_weights":
        config["mode"] = "weights"
    assert quantizer.get_config() == config


@pytest.mark.parametrize(
    "wrong, meant",
    [
        ("ste_sing", "ste_sign"),
        ("stesign", "ste_sign"),
        ("magnitude_sign", "magnitude_aware_sign"),
        ("dorefa_weight", "dorefa_weights"),
        ("Tern", "ste_tern"),
    ],
)
def test_a_name_that_there_is_not_suggests_the_nearest(wrong, meant):
    message = rf"'approx_sign', .*: '{wrong}'. Did you mean '{meant}'\?$"
    with pytest.raises(ValueError, match=message):
        quantizers.get(wrong)


@pytest.mark.parametrize("quantizer", EACH, ids=name)
def test_levels_times_scale_are_what_a_call_returns(quantizer):
    found, scale = quantizer.levels_and_scale(kernel())
    found = keras.ops.convert_to_numpy(found)
    assert len(np.unique(found)) <= max(2**quantizer.nbits, 2)
    if quantizer.is_sign:
        assert set(np.unique(found)) == {-1, 1}
    product = found if scale is None else found * np.asarray(scale)
    np.testing.assert_array_equal(levels(quantizer, kernel()), product)


def test_a_scale_is_of_each_filter_or_of_the_layer():
    magnitudes = np.abs(kernel().astype("float64"))

    def scale(quantizer, axes=None):
        return np.asarray(quantizer.levels_and_scale(kernel(), axes)[1])

    filters = magnitudes.mean((0, 1, 2), keepdims=True)
    np.testing.assert_allclose(scale(MagnitudeAwareSign()), filters, rtol=1e-6)
    depthwise = magnitudes.mean((0, 1), keepdims=True)
    own = scale(MagnitudeAwareSign(), (0, 1))
    np.testing.assert_allclose(own, depthwise, rtol=1e-6)
    layer = scale(DoReFa(1, "weights"), (0, 1, 2))
    np.testing.assert_allclose(layer, [[[[magnitudes.mean()]]]], rtol=1e-6)


@pytest.mark.parametrize("quantizer", EACH, ids=name)
@pytest.mark.parametrize("training", [False, True])
def test_levels_stay_as_they_are_bit_by_bit(quantizer, training):
    found, _ = quantizer.levels_and_scale(kernel(), training=training)
    found = keras.ops.convert_to_numpy(found)
    held = quantizer.of_levels()
    for again in (held, held.of_levels(), quantizers.get(held)):
        assert again.nbits == quantizer.nbits
        for now in (False, True):
            once, scale = again.levels_and_scale(found, training=now)
            assert scale is None
            once = keras.ops.convert_to_numpy(once)
            assert once.tobytes() == found.tobytes()


def test_a_third_level_is_at_the_threshold_and_above():
    values = np.float32([-0.3, -0.25, -0.2, 0, 0.2, 0.25, 0.3])
    expected = [-1, -1, 0, 0, 0, 1, 1]
    np.testing.assert_array_equal(levels(SteTern(0.25), values), expected)
    # Seven tenths of the mean, 3 / 14.
    threshold = 0.7 * np.abs(values).mean()
    assert 0.14 < threshold < 0.2
    expected = [-1, -1, -1, 0, 1, 1, 1]
    np.testing.assert_array_equal(levels(SteTern("mean"), values), expected)


def test_even_levels_are_clipped_without_gradient():
    values = np.float32([-3, -0.9, 0.2, 0.4, 7])
    found, gradient = value_and_gradients(EvenLevels(2), values)
    np.testing.assert_allclose(found, [-1, -1, 1 / 3, 1 / 3, 1], atol=1e-6)
    np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 0])


def test_random_signs_are_for_training_alone():
    values = np.linspace(-0.9, 0.9, 400, dtype="float32")
    quantizer, same = StochasticSign(seed=4), StochasticSign(seed=4)
    for training in (None, False):
        found = levels(quantizer, values, training=training)
        np.testing.assert_array_equal(found, np.sign(values))
    first = levels(quantizer, values, training=True)
    second = levels(quantizer, values, training=True)
    assert 0.1 < (first != second).mean() < 0.6
    assert (first != np.sign(values)).any()
    np.testing.assert_array_equal(levels(same, values, training=True), first)
    other = levels(StochasticSign(seed=5), values, training=True)
    assert (other != first).any()
    assert quantizer.levels_and_scale(values, training=True)[1] is None


@pytest.mark.parametrize("nbits", [0, 9, -1, 1.5, True, "2", None])
@pytest.mark.parametrize(
    "kind", [DoReFa, EvenLevels, lambda nbits: DoReFa(nbits, "weights")]
)
def test_bits_are_checked(kind, nbits):
    message = f"`nbits` must be a whole number from 1 to 8. Received: {nbits!r}"
    with pytest.raises(ValueError, match=message):
        kind(nbits)


@pytest.mark.parametrize(
    "kind, argument",
    [
        (SteSign, "clip_value"),
        (StochasticSign, "clip_value"),
        (MagnitudeAwareSign, "clip_value"),
        (SteTern, "clip_value"),
        (SteTern, "threshold"),
        (SwishSign, "beta"),
    ],
)
def test_numbers_are_checked(kind, argument):
    for value in (0, -0.5, float("nan"), float("inf")):
        message = f"`{argument}` must be a number above 0. Received: "
        with pytest.raises(ValueError, match=f"{message}{argument}={value}"):
            kind(**{argument: value})
    with pytest.raises(TypeError, match="a number above 0. Received: .*True"):
        kind(**{argument: True})


def test_random_signs_need_a_width():
    with pytest.raises(TypeError, match="`clip_value` must be a number above"):
        StochasticSign(None)


def test_texts_are_checked():
    with pytest.raises(ValueError, match=r"\['mean'\]. Received: 'median'"):
        SteTern("median")
    message = r"`mode` must be one of \['activations', 'weights'\]. Received"
    with pytest.raises(ValueError, match=f"{message}: 'kernel'"):
        DoReFa(2, "kernel")


def test_a_quantizer_of_ones_own_must_define_a_call():
    class Own(quantizers.BitQuantizer):
        pass

    with pytest.raises(NotImplementedError, match="Own must define `__call__"):
        Own()(kernel())


def test_the_examples_of_the_docstrings_are_true():
    array = keras.ops.array
    found = levels(SteSign(), array([-0.3, 0.0, 2.0]))
    assert found.tolist() == [-1.0, 1.0, 1.0]
    found = levels(MagnitudeAwareSign(), array([[0.5, -2.0], [-1.5, 4.0]]))
    assert found.tolist() == [[1.0, -3.0], [-1.0, 3.0]]
    found = levels(DoReFa(nbits=2), array([-0.5, 0.3, 0.4, 9.0]))
    np.testing.assert_array_equal(found, np.float32([0, 1 / 3, 1 / 3, 1]))
