"""Means rounded as TFLite does, with integers computed by hand."""

import keras
import numpy as np

from fritz_compress.layers import RangeRounding


def test_halves_are_rounded_away_from_the_integer_zero():
    # Steps of 1 from -100 to 155: zero is the integer -28.
    ends = np.float32([-100.0, 155.0, 1.0])
    numbers = np.float32([0.5, 27.5, 28.5, 30.25, -1.5, 0.5 - 1e-6])
    outputs = RangeRounding()(numbers, ends)
    np.testing.assert_allclose(outputs, [0, 27, 29, 30, -2, 0], atol=1e-4)


def test_it_is_made_again_of_its_configuration():
    layer = RangeRounding("linear_symmetric", name="mean")
    again = RangeRounding.from_config(layer.get_config())
    assert again.quantizer.narrow and again.name == "mean"
    shape = keras.ops.shape(again(np.zeros((2, 3), "float32"), np.ones(3)))
    assert tuple(shape) == again.compute_output_shape((2, 3))
