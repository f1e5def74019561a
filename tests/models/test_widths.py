"""From a width multiplier to channels."""

import pytest

from fritz_compress.models.widths import divisible, scaled


def test_widths_are_rounded_down():
    assert [scaled(32, alpha, "x") for alpha in (0.3, 1, 1.99)] == [9, 32, 63]


@pytest.mark.parametrize("divisor", [1, 2, 8, 12])
def test_the_nearest_multiple_that_is_not_below_90_percent(divisor):
    for hundredths in range(5, 300):
        wanted = 24 * hundredths / 100
        multiples = [
            m for m in range(divisor, 100, divisor) if m >= 0.9 * wanted
        ]
        nearest = min(multiples, key=lambda m: (abs(m - wanted), -m))
        assert divisible(24, hundredths / 100, "x", divisor) == nearest


def test_widths_of_mobilenet_v2():
    """32 * 0.35 = 11.2 is nearer to 8, which is less than 90% of it."""
    found = [divisible(32, alpha, "x") for alpha in (0.35, 0.5, 0.75, 1.3)]
    assert found == [16, 16, 24, 40]


@pytest.mark.parametrize("width", [scaled, divisible])
def test_an_alpha_that_leaves_nothing_names_the_layer(width):
    message = r"layer 'stem' int\(0.04 \* 24\) = 0. Use at least alpha=1/24"
    with pytest.raises(ValueError, match=message):
        width(24, 0.04, "stem")
    with pytest.raises(ValueError, match="must be positive. Received: alpha=0"):
        width(24, 0, "stem")
