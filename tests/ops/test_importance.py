import numpy as np
import pytest

from fritz_compress.ops import importance


def test_hand_worked():
    kernel = np.array([[1.0, 2.0, -0.5], [-3.0, 0.0, 0.5]])
    np.testing.assert_array_equal(importance.l1_norms(kernel), [4, 2, 1])
    np.testing.assert_array_equal(
        importance.l1_norms(kernel, axis=0), [3.5, 3.5]
    )


@pytest.mark.parametrize("axis", [-1, -2, 0, 2])
def test_equals_a_loop_over_filters(axis):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5))
    expected = [
        abs(kernel.take(i, axis)).sum() for i in range(kernel.shape[axis])
    ]
    np.testing.assert_allclose(importance.l1_norms(kernel, axis), expected)


def test_half_precision_does_not_overflow():
    kernel = np.full((100, 100, 1), 60000, "float16")
    np.testing.assert_allclose(importance.l1_norms(kernel), [6e8], rtol=1e-3)
