import pytest

from fritz_compress.surgery.rounding import kept_channels, whole_channels


@pytest.mark.parametrize(
    "channels, wanted, round_to, expected",
    [
        (9, 6.75, 4, 8),
        (9, 8.5, 4, 9),
        (9, 4, 4, 4),
        (9, 0, 4, 4),
        (3, 0, 4, 3),
        (32, 24, 4, 24),
        (10, (1 - 0.1) * 10, 1, 9),
        (10, (1 - 0.7) * 10, 1, 3),  # 3.0000000000000004
        (10, 0, 1, 1),
    ],
)
def test_hand_worked(channels, wanted, round_to, expected):
    assert kept_channels(channels, wanted, round_to) == expected


@pytest.mark.parametrize(
    "channels, fraction, expected",
    [
        (16, 0.1, 14),
        (32, 0.1, 28),
        (64, 0.1, 57),
        (16, 0.6, 6),
        (32, 0.3, 22),
        (10, 0.7, 3),  # 3.0000000000000004
        (10, 0.9, 1),  # 0.9999999999999998
        (512, 0.5, 256),
        (7, 0.0, 7),
    ],
)
def test_what_a_fraction_leaves(channels, fraction, expected):
    assert whole_channels(channels, fraction) == expected
