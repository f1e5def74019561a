"""Fake quantization against NumPy, and its gradients against closed forms."""

import numpy as np
import pytest
from gradients import value_and_gradients
from keras import ops

from fritz_compress import quantizers
from fritz_compress.quantizers import Linear, LinearSymmetric


def rounded(values, low, high, nbits, narrow):
    """Jacob et al. 2017, equations 1 and 2, with zero moved to a level."""
    steps = 2**nbits - 1 - narrow
    scale = (high - low) / steps
    zero = np.round(-low / scale)
    codes = np.clip(np.floor(values / scale + zero + 0.5), 0, steps)
    return (codes - zero) * scale


@pytest.mark.parametrize("nbits", [2, 4, 8, 16])
@pytest.mark.parametrize("kind, low", [(Linear, -0.7), (LinearSymmetric, -1.9)])
def test_levels_are_those_of_numpy(kind, low, nbits):
    values = np.random.default_rng(0).normal(0, 2, 1000).astype("float32")
    result = kind(nbits)(ops.convert_to_tensor(values), low, 1.9)
    expected = rounded(values, low, 1.9, nbits, kind.narrow)
    difference = np.abs(np.asarray(result) - expected)
    # At a tie float32 may fall to the other side.
    assert np.mean(difference > 2e-6) < 0.005
    assert difference.max() < 1.01 * 3.8 / (2**nbits - 2)
    assert 0.0 in np.asarray(kind(nbits)(ops.zeros(1), low, 1.9))


def test_every_channel_has_its_own_range():
    values = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
    values = values.astype("float32") * [1, 10, 0.1, 0]
    tensor = ops.convert_to_tensor(values.astype("float32"))
    low, high = LinearSymmetric(4).range_of(tensor, axis=(0, 1, 2))
    result = np.asarray(LinearSymmetric(4)(tensor, low, high))
    for channel in range(3):
        limit = np.abs(values[..., channel]).max()
        np.testing.assert_allclose(
            result[..., channel],
            rounded(values[..., channel], -limit, limit, 4, True),
            atol=1e-5 * limit,
        )
    assert not result[..., 3].any()


def test_a_factor_goes_through_symmetric_levels():
    values = np.random.default_rng(0).normal(size=100).astype("float32")
    quantizer = LinearSymmetric(4)
    once = quantizer(ops.convert_to_tensor(values), -2.5, 2.5)
    twice = quantizer(ops.convert_to_tensor(-2 * values), -5.0, 5.0)
    np.testing.assert_allclose(-2 * np.asarray(once), twice, atol=1e-6)


def test_ranges_hold_zero_and_are_never_empty():
    def ends(*values):
        return [
            float(end)
            for end in Linear().range_of(ops.convert_to_tensor(values))
        ]

    assert ends(1.0, 3.0) == [0, 3]
    assert ends(-3.0, -1.0) == [-3, 0]
    low, high = ends(0.0, 0.0)
    assert low == 0 < high


def test_scale_and_zero_are_those_of_signed_integers():
    scale, zero = Linear(8).scale_and_zero(-1.0, 1.55)
    assert (round(float(scale), 6), int(zero)) == (0.01, -28)
    scale, zero = LinearSymmetric(8).scale_and_zero(-2.54, 2.54)
    assert (round(float(scale), 6), int(zero)) == (0.02, 0)


def test_gradients_pass_inside_the_range_alone():
    _, gradient = value_and_gradients(
        lambda x: Linear()(x, -1.0, 1.0),
        np.float32([-3.0, -0.5, 0.2, 0.9, 5.0]),
    )
    np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 0])


@pytest.mark.parametrize("quantizer", [Linear(5), LinearSymmetric(16)])
def test_a_quantizer_is_made_again_of_its_configuration(quantizer):
    again = quantizers.get(quantizers.serialize(quantizer))
    assert type(again) is type(quantizer)
    assert again.nbits == quantizer.nbits
    assert quantizers.get(quantizer) is quantizer


def test_names_and_objects_are_checked():
    assert quantizers.get("linear").nbits == 8
    with pytest.raises(ValueError, match="'linear_symmetric'.*Received: 'lin'"):
        quantizers.get("lin")
    with pytest.raises(
        TypeError, match="object with `get_config`. Received: 3"
    ):
        quantizers.get(3)
    with pytest.raises(ValueError, match="at least 2. Received: nbits=1"):
        Linear(1)
    with pytest.raises(ValueError, match="from 2 to 16. Received: nbits=17"):
        LinearSymmetric(17)
