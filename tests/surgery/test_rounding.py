import pytest

from fritz_compress.surgery.rounding import kept_channels


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
