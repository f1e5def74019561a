"""The search for bits, beside all combinations, and counted by hand."""

import itertools
import math

import numpy as np
import pytest

from fritz_compress.analysis.bits_search import Option, fewest_bytes


def options(size, losses):
    """2, 4 and 8 bits that lose so much, and the layer as it is."""
    coded = [
        Option(nbits, size * nbits // 32, loss, 4.0**-nbits)
        for nbits, loss in zip((2, 4, 8), losses, strict=True)
    ]
    return [*coded, Option(None, size, 0.0, 0.0)]


class Losses:
    """The sum of what layers lose alone, and what it is asked for."""

    def __init__(self, layers, factor=1.0):
        self.alone = {
            name: {option.nbits: option.loss for option in of_layer}
            for name, of_layer in layers.items()
        }
        self.factor = factor
        self.asked = []

    def __call__(self, bits):
        self.asked.append(dict(bits))
        losses = [self.alone[name][nbits] for name, nbits in bits.items()]
        return sum(losses) * (self.factor if any(bits.values()) else 0.0)


def size_of(layers, bits):
    return sum(
        option.bytes
        for name, of_layer in layers.items()
        for option in of_layer
        if option.nbits == bits[name]
    )


def best_of_all(layers, loss_of, limit):
    """Bytes of the best combination there is."""
    names = list(layers)
    numbers = itertools.product((2, 4, 8, None), repeat=len(names))
    combinations = [dict(zip(names, bits)) for bits in numbers]
    return min(
        size_of(layers, bits) for bits in combinations if loss_of(bits) <= limit
    )


BY_HAND = {
    "large": options(3200, (0.02, 0.01, 0.0)),
    "small": options(320, (0.30, 0.02, 0.0)),
}


@pytest.mark.parametrize(
    "limit, expected",
    [
        (1.0, {"large": 2, "small": 2}),
        # 0.30 is too much. Two losses of 0.02 are not.
        (0.05, {"large": 2, "small": 4}),
        # Together too much: 40 bytes more for 'small', not 200 for 'large'.
        (0.03, {"large": 2, "small": 8}),
        (0.01, {"large": 4, "small": 8}),
        (0.0, {"large": 8, "small": 8}),
    ],
)
def test_combinations_counted_by_hand(limit, expected):
    losses = Losses(BY_HAND)
    assert fewest_bytes(BY_HAND, [], limit, losses) == expected
    assert expected in losses.asked


def test_layers_that_lose_with_all_bits_stay_as_they_are():
    layers = {**BY_HAND, "head": options(320, (0.9, 0.8, 0.7))}
    found = fewest_bytes(layers, [], 0.05, Losses(layers))
    assert found == {"large": 2, "small": 4, "head": None}


def random_layers(seed):
    rng = np.random.default_rng(seed)
    return {
        f"layer_{n}": options(
            int(rng.integers(1, 40)) * 32,
            # As noise of layers that differ, and as measured by chance.
            rng.lognormal(-1.5, 1) * 4.0 ** -np.array([2, 4, 8])
            + 0.001 * rng.normal(size=3),
        )
        for n in range(4)
    }


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_random_layers_beside_all_combinations(seed, factor):
    layers, limit = random_layers(seed), 0.02
    losses = Losses(layers, factor)
    found = fewest_bytes(layers, [], limit, losses)
    assert found in losses.asked or not any(found.values())
    assert losses(found) <= limit
    asked = len(losses.asked)
    assert asked <= 1 + math.ceil(math.log2(13)) + 4 * 4
    best = best_of_all(layers, Losses(layers, factor), limit)
    assert size_of(layers, found) <= 1.46 * best
    assert found == fewest_bytes(layers, [], limit, Losses(layers, factor))


def test_the_search_comes_near_the_best():
    ratios = []
    for seed in range(50):
        layers = random_layers(seed)
        found = fewest_bytes(layers, [], 0.02, Losses(layers))
        best = best_of_all(layers, Losses(layers), 0.02)
        ratios.append(size_of(layers, found) / best)
    assert min(ratios) >= 1
    assert np.mean(ratios) < 1.02


def test_no_layer_can_be_lowered():
    layers = random_layers(1)
    losses = Losses(layers, factor=2.0)
    found = fewest_bytes(layers, [], 0.02, losses)
    lower = {None: 8, 8: 4, 4: 2}
    tried = [
        found | {name: lower[nbits]}
        for name, nbits in found.items()
        if nbits != 2 and losses.alone[name][lower[nbits]] <= 0.02
    ]
    assert tried and all(bits in losses.asked for bits in tried)
    assert all(losses(bits) > 0.02 for bits in tried)


def test_a_start_that_is_better_is_taken():
    # Alone each loses too much; together nothing.
    layers = {name: options(320, (0.9, 0.0, 0.0)) for name in "ab"}
    all_two = {"a": 2, "b": 2}

    def loss_of(bits):
        return 0.0 if bits == all_two else Losses(layers)(bits)

    assert fewest_bytes(layers, [all_two], 0.1, loss_of) == all_two
    assert fewest_bytes(layers, [], 0.1, loss_of) == {"a": 4, "b": 4}


def test_noise_decides_where_the_metric_shows_no_loss():
    silent = [Option(None, 320, 0.0, 0.0), Option(2, 20, 0.0, 0.01)]
    loud = [Option(None, 320, 0.0, 0.0), Option(2, 20, 0.0, 0.1)]
    layers = {"loud": loud, "silent": silent}

    def loss_of(bits):
        return 1.0 if all(bits.values()) else 0.0

    found = fewest_bytes(layers, [], 0.1, loss_of)
    assert found == {"loud": None, "silent": 2}


def test_of_options_of_one_size_the_better_is_taken():
    tiny = [
        Option(2, 1, 0.02, 0.1),
        Option(3, 1, 0.01, 0.01),
        Option(None, 8, 0.0, 0.0),
    ]
    assert fewest_bytes({"tiny": tiny}, [], 0.1, Losses({"tiny": tiny})) == {
        "tiny": 3
    }
