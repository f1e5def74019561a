"""Removal of channels from random models, against the oracle.

Three hundred models from all rules; `tests/benchmarks/random_graphs.py` checks
ten thousand. A failure shows the smallest model found, as code.
"""

import random

import hypothesis
import pytest
from hypothesis import strategies
from random_graphs import build, random_graph
from removal_property import Discarded, check, check_removal

from fritz_compress import surgery

PARTS = 15
MODELS = 300


@pytest.mark.slow
# Over an axis of one position.
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
@pytest.mark.parametrize("part", range(PARTS))
@hypothesis.settings(
    max_examples=MODELS // PARTS,
    deadline=None,
    derandomize=True,  # Every part draws models of its own, every run alike.
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(
    rng=strategies.randoms(use_true_random=False),
    seed=strategies.integers(0, 999),
)
def test_removal_equals_the_oracle(part, rng, seed):
    code = random_graph(rng)
    hypothesis.note(code)
    try:
        check(build(code), seed)
    except Discarded as reason:
        hypothesis.event(str(reason))  # --hypothesis-show-statistics
        hypothesis.reject()


def test_code_is_the_model():
    """What is shown of a failure is all that it takes."""
    one, two = (random_graph(random.Random(3)) for _ in range(2))
    assert one == two
    assert build(one).get_config() == build(two).get_config()


CHAIN = """
x1 = keras.Input((4, 4, 3))
x2 = layers.Conv2D(6, 3, name="first")(x1)
x3 = layers.BatchNormalization()(x2)
x4 = layers.Dense(2)(x3)
model = keras.Model([x1], [x4])
"""


@pytest.mark.parametrize("shift", [0, 1])
def test_a_wrong_removal_is_found(monkeypatch, shift):
    def remove(model, filters):
        others = [(index + shift) % 6 for index in filters["first"]]
        return remove_filters(model, {"first": others})

    remove_filters = surgery.remove_filters
    monkeypatch.setattr(surgery, "remove_filters", remove)
    if shift:
        with pytest.raises(AssertionError):
            check_removal(build(CHAIN), seed=0)
    else:
        check_removal(build(CHAIN), seed=0)


def test_models_that_show_nothing_are_discarded():
    frozen = CHAIN.replace("[x4]", "[x3]")
    with pytest.raises(Discarded, match="nothing may be removed"):
        check_removal(build(frozen), seed=0)
