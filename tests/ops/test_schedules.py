import keras
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


# Returned by the classes of the same names of tensorflow-model-optimization
# 0.8.1: arguments, the steps that prune, and the sparsity after some steps.
RECORDED = [
    (
        schedules.PolynomialDecay,
        {
            "initial_sparsity": 0.0,
            "final_sparsity": 0.9,
            "begin_step": 0,
            "end_step": 1000,
        },
        [0, 100, 300, 500, 600, 1000],
        {
            0: 0.0,
            1: 0.0026973,
            17: 0.0451242,
            100: 0.2439001,
            140: 0.3275496,
            300: 0.5913,
            550: 0.8179875,
            600: 0.8424,
            1000: 0.9,
            1100: 0.9,
        },
    ),
    (
        schedules.PolynomialDecay,
        {
            "initial_sparsity": 0.2,
            "final_sparsity": 0.8,
            "begin_step": 100,
            "end_step": 550,
            "power": 2,
            "frequency": 50,
        },
        [100, 150, 300, 500, 550],
        {
            0: 0.2,
            100: 0.2,
            101: 0.2026637,
            140: 0.3019259,
            150: 0.3259259,
            300: 0.6148148,
            500: 0.7925926,
            550: 0.8,
            600: 0.8,
        },
    ),
    (
        schedules.PolynomialDecay,
        {
            "initial_sparsity": 0.5,
            "final_sparsity": 0.7,
            "begin_step": 7,
            "end_step": 40,
            "power": 1,
            "frequency": 10,
        },
        [7, 17, 37],
        {0: 0.5, 7: 0.5, 17: 0.5606061, 20: 0.5787879, 37: 0.6818182, 40: 0.7},
    ),
    (
        schedules.ConstantSparsity,
        {"target_sparsity": 0.5, "begin_step": 0},
        [0, 100, 300, 500, 600, 1000, 1100],
        {0: 0.5, 1: 0.5, 1100: 0.5},
    ),
    (
        schedules.ConstantSparsity,
        {
            "target_sparsity": 0.75,
            "begin_step": 20,
            "end_step": 100,
            "frequency": 40,
        },
        [20, 60, 100],
        {0: 0.75, 20: 0.75, 140: 0.75},
    ),
]
ASKED = (0, 1, 7, 17, 20, 37, 40, 50, 60, 100, 101, 140, 150, 300, 500, 550)
ASKED += (600, 1000, 1100)


@pytest.mark.parametrize("kind, arguments, due, sparsities", RECORDED)
def test_equal_to_those_recorded(kind, arguments, due, sparsities):
    schedule = kind(**arguments)
    assert [step for step in ASKED if schedule(step)[0]] == due
    for step, sparsity in sparsities.items():
        assert schedule(step)[1] == pytest.approx(sparsity, abs=2e-7)


def test_decay_within_one_step():
    schedule = schedules.PolynomialDecay(0.25, 0.5, begin_step=5, end_step=5)
    assert [schedule(step) for step in (4, 5, 6)] == [
        (False, 0.25),
        (True, 0.5),
        (False, 0.5),
    ]


def test_cubic_rise_ends_at_its_end_whatever_the_frequency():
    schedule = schedules.CubicRise(0.8, begin_step=2, end_step=9, frequency=3)
    assert [step for step in range(12) if schedule(step)[0]] == [5, 8, 9]
    assert schedule(9)[1] == 0.8


EXAMPLES = [
    schedules.CubicRise(0.8, 1, 50, 7),
    schedules.ConstantSparsity(0.5, 10, 90, 5),
    schedules.PolynomialDecay(0.1, 0.5, 5, 25, power=2, frequency=4),
]


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_configuration_round_trips(schedule):
    assert type(schedule).from_config(schedule.get_config()) == schedule
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(schedule)
    )
    assert again == schedule
    assert [again(s) for s in range(99)] == [schedule(s) for s in range(99)]


ERRORS = {
    "percent": (
        lambda: schedules.ConstantSparsity(50, 0),
        r"`target_sparsity` must be a fraction in \[0, 1\), not a percent. "
        "Received: target_sparsity=50.",
    ),
    "initial": (
        lambda: schedules.PolynomialDecay(-0.1, 0.5, 0, 10),
        "initial_sparsity=-0.1.",
    ),
    "final": (
        lambda: schedules.PolynomialDecay(0.1, 1.0, 0, 10),
        "final_sparsity=1.0.",
    ),
    "begin": (
        lambda: schedules.ConstantSparsity(0.5, -1),
        "begin_step=-1.",
    ),
    "order": (
        lambda: schedules.ConstantSparsity(0.5, 10, 5),
        "0 <= begin_step <= end_step. Received: begin_step=10, end_step=5.",
    ),
    "endless_decay": (
        lambda: schedules.PolynomialDecay(0.1, 0.5, 0, -1),
        "`end_step` must be at least 0. Received: end_step=-1.",
    ),
    "frequency": (
        lambda: schedules.ConstantSparsity(0.5, 0, frequency=0),
        "`frequency` must be at least 1. Received: frequency=0.",
    ),
    "rise": (
        lambda: schedules.CubicRise(0.5, 10, 10),
        "0 <= begin_step < end_step. Received: begin_step=10, end_step=10.",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_arguments_are_checked(case):
    make, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        make()


def test_latest_update():
    schedule = schedules.ConstantSparsity(0.5, 10, 90, frequency=20)
    latest = schedules.latest_update
    assert latest(schedule, 9) is None
    assert latest(schedule, 10) == (10, 0.5)
    assert latest(schedule, 49) == (30, 0.5)
    assert latest(schedule, 1000) == (90, 0.5)
    # Several steps at once: none of them is missed.
    assert latest(schedule, 49, after=29) == (30, 0.5)
    assert latest(schedule, 49, after=30) is None


def test_latest_update_of_a_bare_function():
    def schedule(step):
        return step % 5 == 0, step / 100

    assert schedules.latest_update(schedule, 15) == (15, 0.15)
    assert schedules.latest_update(schedule, 16) is None
    assert schedules.latest_update(schedule, 16, after=9) == (15, 0.15)


@pytest.mark.parametrize(
    "schedule, first",
    [
        (schedules.CubicRise(0.5, 10, 20, frequency=100), 20),
        (schedules.CubicRise(0.5, 10, 200, frequency=30), 40),
        (schedules.PolynomialDecay(0.0, 0.5, 10, 200, frequency=30), 40),
        (schedules.PolynomialDecay(0.1, 0.5, 10, 200, frequency=30), 10),
        (schedules.ConstantSparsity(0.5, 10), 10),
        (schedules.PolynomialDecay(0.0, 0.5, 10, 20), None),
        (lambda step: (True, 0.5), None),
    ],
)
def test_first_update(schedule, first):
    assert schedules.first_update(schedule) == first


def test_final_fraction():
    assert [schedules.final_fraction_of(s) for s in EXAMPLES] == [0.8, 0.5, 0.5]
