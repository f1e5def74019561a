import numpy as np
import pytest

from fritz_compress.ops import importance


def test_hand_worked():
    kernel = np.array([[1.0, 2.0, -0.5], [-3.0, 0.0, 0.5]])
    np.testing.assert_array_equal(importance.sums(kernel), [-2, 2, 0])
    np.testing.assert_array_equal(importance.l1_norms(kernel), [4, 2, 1])
    np.testing.assert_array_equal(
        importance.l1_norms(kernel, axis=0), [3.5, 3.5]
    )
    np.testing.assert_array_equal(
        importance.squared_norms(kernel), [10, 4, 0.5]
    )
    np.testing.assert_allclose(
        importance.l2_norms(kernel, axis=0), [5.25**0.5, 9.25**0.5]
    )


KERNEL = np.random.default_rng(0).normal(size=(3, 3, 4, 5))


def filters(axis):
    return [KERNEL.take(i, axis).ravel() for i in range(KERNEL.shape[axis])]


ONE_BY_ONE = {
    "sums": lambda one, every: one.sum(),
    "l1_norms": lambda one, every: abs(one).sum(),
    "squared_norms": lambda one, every: one @ one,
    "l2_norms": lambda one, every: np.linalg.norm(one),
    "summed_distances": lambda one, every: sum(
        np.linalg.norm(one - other) for other in every
    ),
}


@pytest.mark.parametrize("axis", [-1, -2, 0, 2])
@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_equals_a_loop_over_filters(name, axis):
    every = filters(axis)
    expected = [ONE_BY_ONE[name](one, every) for one in every]
    received = getattr(importance, name)(KERNEL, axis)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["l1_norms", "squared_norms", "l2_norms"])
def test_half_precision_does_not_overflow(name):
    kernel = np.full((100, 100, 1), 60000, "float16")
    power = {"l1_norms": 1, "squared_norms": 2, "l2_norms": 2}[name]
    expected = 1e4 * float(kernel[0, 0, 0]) ** power
    if name == "l2_norms":
        expected **= 0.5
    received = getattr(importance, name)(kernel)
    np.testing.assert_allclose(received, [expected], rtol=1e-6)


def test_distances_of_large_equal_filters_are_zero():
    # 1e4 squared leaves a float32 no digits for what they differ in.
    kernel = np.full((50, 3), 1e4, "float32")
    kernel[0, 2] += 1
    received = importance.summed_distances(kernel)
    np.testing.assert_allclose(received, [1, 1, 2], rtol=1e-6)


def test_layer_adaptive_with_ties_and_zeros():
    squares = np.array([3.0, 0.0, 4.0, 3.0, 1.0])
    expected = [3 / 10, 0, 1, 3 / 10, 1 / 11]
    np.testing.assert_allclose(importance.layer_adaptive(squares), expected)
    np.testing.assert_array_equal(importance.layer_adaptive(np.zeros(3)), 0)


def test_layer_adaptive_equals_its_definition():
    squares = np.random.default_rng(1).uniform(size=20)
    expected = [s / sum(t for t in squares if t >= s) for s in squares]
    np.testing.assert_allclose(importance.layer_adaptive(squares), expected)
