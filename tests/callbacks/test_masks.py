"""Entries held at zero, all variables in one call."""

import keras
import numpy as np
import pytest

from fritz_compress.callbacks.masks import Masks


def variable(*shape, dtype="float32"):
    values = np.arange(1, np.prod(shape) + 1).reshape(shape)
    return keras.Variable(values, dtype=dtype)


def read(weight):
    return keras.ops.convert_to_numpy(weight.value)


def test_masked_entries_become_zero_and_others_stay():
    first, second = variable(2, 3), variable(4)
    masks = Masks(
        [
            (first, np.array([[1, 0, 1], [0, 1, 1]], bool)),
            (second, keras.ops.convert_to_tensor([True, False, True, False])),
        ]
    )
    np.testing.assert_array_equal(read(first), [[1, 2, 3], [4, 5, 6]])
    masks.apply()
    np.testing.assert_array_equal(read(first), [[1, 0, 3], [0, 5, 6]])
    np.testing.assert_array_equal(read(second), [1, 0, 3, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_goes_too(value):
    weight = keras.Variable([1.0, value])
    Masks([(weight, [True, False])]).apply()
    np.testing.assert_array_equal(read(weight), [1, 0])


def test_masks_broadcast():
    weight = variable(2, 3)
    Masks([(weight, np.array([[True, False, True]]))]).apply()
    np.testing.assert_array_equal(read(weight), [[1, 0, 3], [4, 0, 6]])


def test_a_variable_that_comes_twice_keeps_what_both_keep():
    weight = variable(2, 2)
    Masks([(weight, [[True, False]]), (weight, [[True], [False]])]).apply()
    np.testing.assert_array_equal(read(weight), [[1, 0], [0, 0]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_every_type_of_weight(dtype):
    weight = variable(3, dtype=dtype)
    Masks([(weight, [True, False, True])]).apply()
    np.testing.assert_array_equal(read(weight).astype("float32"), [1, 0, 3])
    assert weight.dtype == dtype


def test_no_masks_no_effect():
    Masks().apply()


def test_updated_masks_hold_without_another_trace(monkeypatch):
    import fritz_compress.callbacks.masks as module

    traces = []
    original = module._silenced

    def counted(values, masks):
        traces.append(len(values))
        return original(values, masks)

    monkeypatch.setattr(module, "_silenced", counted)
    weight = variable(3)
    masks = Masks([(weight, [True, True, True])])
    for kept in ([True, False, True], [False, True, True]):
        masks.update([(weight, kept)])
        weight.assign([1.0, 2.0, 3.0])
        masks.apply()
        np.testing.assert_array_equal(
            read(weight), np.where(kept, [1, 2, 3], 0)
        )
    assert traces == [1]
    other = variable(2)
    masks.update([(weight, [True, True, True]), (other, [False, True])])
    masks.apply()
    np.testing.assert_array_equal(read(other), [0, 2])


def test_shape_that_does_not_fit():
    with pytest.raises(ValueError, match=r"\(2, 3\). Received: shape \(2,\)"):
        Masks([(variable(2, 3), [True, False])])
