"""Removal of channels from random models, against the oracle.

Three hundred models from all rules; `tests/benchmarks/random_graphs.py` checks
ten thousand. A failure shows the smallest model found, as code.
"""

import random

import hypothesis
import pytest
from hypothesis import strategies
from random_graphs import build, random_graph
from removal_property import Discarded, check

PARTS = 15
MODELS = 300


@pytest.mark.slow
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
        check(code, seed)
    except Discarded:
        hypothesis.reject()


def test_code_is_the_model():
    """What is shown of a failure is all that it takes."""
    one, two = (random_graph(random.Random(3)) for _ in range(2))
    assert one == two
    assert build(one).get_config() == build(two).get_config()
