import numpy as np
import pytest

from fritz_compress.convert import ConversionError
from fritz_compress.convert.check import check_agreement, peak_of


def test_agreement_of_pictures():
    reference = np.full((1, 4, 4, 3), 100.0)
    reference[0, 0, 0] = [0, 128, 255]
    candidate = reference + 2.55
    psnr, difference = check_agreement(reference, candidate, "a file", 39)
    assert psnr == pytest.approx(40)  # 20 log10(255 / 2.55)
    assert difference == pytest.approx(2.55)


def test_equal_arrays_agree_infinitely():
    values = np.array([[0.25, 0.75]])
    assert check_agreement(values, values, "a file", 60) == (np.inf, 0)


def test_a_low_psnr_is_an_error():
    values = np.array([[0.0, 1.0]])
    with pytest.raises(
        ConversionError,
        match="int8 file: .* at least 30 dB. Received: 20.0 dB, largest "
        "difference 0.1. Use more bits",
    ):
        check_agreement(values, values + 0.1, "int8 file", 30)


def test_values_that_are_not_finite_are_an_error():
    values = np.zeros((2, 3))
    broken = values.copy()
    broken[0, 1] = np.nan
    with pytest.raises(ConversionError, match="1 of 6 output values"):
        check_agreement(values, broken, "a file", 0)


def test_another_shape_is_an_error():
    with pytest.raises(ConversionError, match=r"shape \(3,\), Keras returns"):
        check_agreement(np.zeros(2), np.zeros(3), "a file", 0)


@pytest.mark.parametrize(
    "values, peak",
    [
        (np.linspace(0, 200, 48).reshape(1, 4, 4, 3), 255),
        (np.linspace(0, 1, 48).reshape(1, 4, 4, 3), 1),
        (np.linspace(-100, 200, 48).reshape(1, 4, 4, 3), 300),
        (np.array([[0.25, 0.75]]), 0.5),
        (np.array([[7.0, 7.0]]), 1),
    ],
    ids=["picture", "fractions", "beyond pixels", "classes", "constant"],
)
def test_peak(values, peak):
    assert peak_of(values) == peak
