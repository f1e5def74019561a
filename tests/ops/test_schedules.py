import pytest

from fritz_compress.ops import schedules


@pytest.mark.parametrize(
    "step, expected",
    [
        (0, 0.0),
        (10, 0.0),
        (60, 0.7),  # 0.8 * (1 - 0.5 ** 3)
        (35, 0.4625),  # 0.8 * (1 - 0.75 ** 3)
        (110, 0.8),
        (10**6, 0.8),
    ],
)
def test_hand_worked(step, expected):
    fraction = schedules.fraction_at(
        step, final_fraction=0.8, begin_step=10, end_step=110
    )
    assert fraction == pytest.approx(expected, abs=1e-12)


def test_never_falls():
    fractions = [schedules.fraction_at(s, 0.5, 3, 17) for s in range(25)]
    assert fractions == sorted(fractions)
    assert fractions[17] == 0.5
