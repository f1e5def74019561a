"""Noise by bits, beside numpy and what theory expects."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from sensitivity_models import pointwise_model

from fritz_compress.analysis import signal_to_noise
from fritz_compress.quantization import quantize_weights


def uniform_model():
    """A kernel of evenly spread numbers, and one of two numbers."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(64, name="even"),
            layers.Dense(2, name="twofold"),
        ],
        name="net",
    )
    kernel, bias, _, other = model.get_weights()
    kernel = np.linspace(-1, 1, kernel.size).reshape(kernel.shape)
    twofold = np.where(np.arange(128) % 3, 0.5, -0.5).reshape(64, 2)
    model.set_weights([kernel, bias, twofold, other])
    return model


def test_a_bit_is_worth_six_decibels():
    table = signal_to_noise(uniform_model(), range(2, 9), {"mode": "kmeans"})
    assert table.nbits == (2, 3, 4, 5, 6, 7, 8)
    assert table.weights == ("even/kernel", "twofold/kernel")
    # Even numbers in 2^n equal steps: the variance falls by 4^n.
    for row in table.of("even/kernel"):
        assert row.sqnr == pytest.approx(20 * row.nbits * np.log10(2), abs=0.1)
        entries = 32 * 2**row.nbits
        assert row.bytes == (4096 * row.nbits + entries) // 8
    assert {row.sqnr for row in table.of("twofold/kernel")} == {np.inf}


def test_rows_beside_quantized_models():
    model = pointwise_model()
    config = {"mode": "linear", "granularity": "per_tensor", "nbits": 16}
    before = model.get_weights()
    table = signal_to_noise(model, (6, 3), config)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert table.nbits == (3, 6)
    assert table.bytes_before == sum(weight.nbytes for weight in before)
    for nbits in table.nbits:
        smaller, report = quantize_weights(model, {**config, "nbits": nbits})
        assert table.bytes[nbits] == report.bytes
        kernels = zip(before, smaller.get_weights(), strict=True)
        noise = [
            10 * np.log10(np.square(old).sum() / np.square(old - new).sum())
            for old, new in kernels
            if old.ndim > 1
        ]
        found = [row.sqnr for row in table.rows if row.nbits == nbits]
        np.testing.assert_allclose(found, noise, atol=0.01)
    assert table.skipped.keys() == {
        *(f"{layer}/bias" for layer in ("first", "second", "head")),
        *(
            f"normalization/{name}"
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        ),
    }


def test_the_table_leaves_out_what_codes_do_not_make_smaller():
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(16, name="wide"),
            layers.Dense(3, name="head"),
        ],
        name="net",
    )
    # A scale for every 2 numbers: 32 bits and 2 * 16 are 64 as before.
    table = signal_to_noise(distinct_weights(model), (8, 16))
    assert [row.nbits for row in table.of("wide/kernel")] == [8]
    first, head, wide, last, total, others = str(table).splitlines()
    assert first == "Weights of 'net' by bits of a code"
    assert head.split() == ["SQNR", "in", "dB", "bytes", "8", "16"]
    noise = f"{table.of('wide/kernel')[0].sqnr:.1f}"
    assert wide.split() == ["wide/kernel", "128", noise]
    assert len(last.split()) == 4
    assert total.split() == ["bytes", "of", "all", "396", "232", "312"]
    assert others == "2 other weights stay as they are"


def test_bad_input_is_refused():
    model = uniform_model()
    with pytest.raises(ValueError, match="no rows.*even/kernel, twofold"):
        signal_to_noise(model, 4).of("odd/kernel")
    with pytest.raises(ValueError, match="whole number from 1 to 16.*0"):
        signal_to_noise(model, (0, 4))
    with pytest.raises(ValueError, match="'net' has nothing that can be quant"):
        signal_to_noise(model, 4, {"weight_threshold": 10**6})
    with pytest.raises(TypeError, match="`model` must be a Keras model"):
        signal_to_noise("net.keras")
    bare = keras.Sequential([layers.Dense(2)], name="bare")
    with pytest.raises(ValueError, match="'bare' must be built"):
        signal_to_noise(bare)
