"""Ranges of activations against NumPy, and texts of them."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress.quantization import (
    Ranges,
    apply_ranges,
    calibrate,
    quantization_aware,
)
from fritz_compress.quantization.histograms import Histogram


def network():
    inputs = keras.Input((5,), name="data")
    x = layers.Dense(6, activation="relu", name="hidden")(inputs)
    return distinct_weights(keras.Model(inputs, layers.Dense(2, name="out")(x)))


@pytest.fixture(name="data", scope="module")
def fixture_data():
    return np.random.default_rng(0).normal(size=(100, 5)).astype("float32")


def activations(model, data):
    """Those of the float network, computed by NumPy."""
    (a, b), (c, d) = (layer.get_weights() for layer in model.layers[1:])
    hidden = np.maximum(data @ a + b, 0)
    return {
        "data_range": data,
        "hidden_range": hidden,
        "out_range": hidden @ c + d,
    }


@pytest.mark.parametrize("samples", [10, None])
def test_smallest_and_largest_are_those_of_numpy(data, samples):
    model = network()
    ranges = calibrate(model, data, samples)
    seen = activations(model, data[:samples])
    assert ranges.samples == (samples or 100)
    assert set(ranges.ends) == set(seen)
    for name, values in seen.items():
        expected = min(values.min(), 0), max(values.max(), 0)
        np.testing.assert_allclose(ranges.ends[name], expected, rtol=1e-5)


def test_averages_are_those_of_the_samples_ends(data):
    model = network()
    ranges = calibrate(model, data, method="average")
    for name, values in activations(model, data).items():
        low = np.minimum(values.min(axis=1), 0).mean()
        high = np.maximum(values.max(axis=1), 0).mean()
        np.testing.assert_allclose(
            ranges.ends[name], (low, high), rtol=1e-4, atol=1e-7
        )


def test_a_percentile_leaves_numbers_out(data):
    model = network()
    ranges = calibrate(model, data, method="percentile", percentile=98)
    for name, values in activations(model, data).items():
        low, high = ranges.ends[name]
        inside = np.mean((values >= low) & (values <= high))
        assert 0.98 <= inside < 0.985, name


def test_least_squares_ignores_one_far_number():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(100, 100)).astype("float32")
    values[0, 0] = 100
    histogram = Histogram()
    histogram.add(values)
    histogram.start_counting()
    histogram.add(values)

    def error(low, high):
        step = (high - low) / 255
        zero = np.rint(-low / step)
        codes = np.clip(np.rint(values / step) + zero, 0, 255)
        return np.square((codes - zero) * step - values).sum()

    least = error(*histogram.ends("least_squares", 0))
    assert least < error(*histogram.ends("minmax", 0))
    low, high = histogram.ends("minmax", 0)
    others = [error(s * low, s * high) for s in np.linspace(0.05, 1, 40)]
    assert least <= 1.02 * min(others)


def test_a_text_gives_the_same_ranges_again(data):
    ranges = calibrate(network(), data, method="average")
    assert Ranges.from_json(ranges.to_json()) == ranges


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "that `Ranges.to_json` made. Received: '{' .JSONDecodeError"),
        ("[1]", "that `Ranges.to_json` made"),
        ('{"format": "x"}', "KeyError"),
        (
            '{"format": "x", "samples": 1, "method": "a", "ends": {}}',
            "in the format 'fritz_compress ranges 1'.*Received: format 'x'",
        ),
        (
            '{"format": "fritz_compress ranges 1", "samples": 1, '
            '"method": "a", "ends": {"a": [1, NaN]}}',
            "finite and with zero inside",
        ),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Ranges.from_json(text)


def test_ranges_are_applied_to_a_frozen_model(data):
    model = network()
    ranges = calibrate(model, data)
    aware = apply_ranges(model, ranges)
    layer = aware.get_layer("out_range")
    np.testing.assert_allclose(layer.range, ranges.ends["out_range"])
    assert layer.frozen
    error = np.abs(np.asarray(aware(data)) - np.asarray(model(data))).max()
    assert error < 0.05 * np.ptp(model(data))
    again = calibrate(aware, data)
    for name, ends in ranges.ends.items():
        np.testing.assert_allclose(again.ends[name], ends, rtol=1e-5)


def test_weights_are_not_changed_by_calibration(data):
    model = network()
    aware = quantization_aware(model)
    before = [np.array(w) for w in aware.get_weights()]
    calibrate(aware, data)
    for old, new in zip(before, aware.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_arguments_are_checked(data):
    model = network()
    cases = [
        ({"method": "max"}, "`method` must be one of .'minmax'"),
        ({"percentile": 20}, "`percentile` must be above 50"),
        ({"samples": 101}, "must have at least 101 samples. Received: 100"),
        ({"samples": 0}, "`samples` must be at least 1"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            calibrate(model, data, **arguments)
    with pytest.raises(ValueError, match="`data` must be arrays of shapes"):
        calibrate(model, data[:, :3])
    with pytest.raises(ValueError, match="at least 1 samples.*'dynamic'"):
        calibrate(model, data[:0])
    with pytest.raises(ValueError, match="NaN in sample 0"):
        calibrate(model, np.full_like(data, np.nan))
    with pytest.raises(TypeError, match="must be what `calibrate` returned"):
        apply_ranges(model, {"data_range": (0, 1)})
    other = calibrate(model, data)
    other = Ranges({"else": (0.0, 1.0)}, 1, "minmax")
    with pytest.raises(ValueError, match="Missing: .'data_range'.*'else'"):
        apply_ranges(model, other)
