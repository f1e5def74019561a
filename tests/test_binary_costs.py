"""Multiplications of layers with kernels of few bits, counted by hand."""

import keras
import pytest
from keras import layers

from fritz_compress import analysis
from fritz_compress import layers as ours
from fritz_compress.analysis import Cost, profile
from fritz_compress.quantizers import DoReFa

PICTURE = (8, 8, 6)
SCALED = "magnitude_aware_sign"
WEIGHTS_1, WEIGHTS_2 = (DoReFa(nbits, mode="weights") for nbits in (1, 2))

# A layer, the shape of its input, its MACs, its binary MACs, and all other
# products.
CASES = {
    "convolution": (
        lambda: ours.BinaryConv2D(4, 3),
        *(PICTURE, 0, 36 * 4 * 9 * 6, 0),
    ),
    "strides, padding, groups, an activation": (
        lambda: ours.BinaryConv2D(
            4, 3, 2, "same", groups=2, activation="silu", pad_values=1
        ),
        *(PICTURE, 0, 16 * 4 * 9 * 3, 16 * 4),
    ),
    "dilated": (
        lambda: ours.BinaryConv2D(4, 3, dilation_rate=2),
        *(PICTURE, 0, 16 * 4 * 9 * 6, 0),
    ),
    "scale of the quantizer": (
        lambda: ours.BinaryConv2D(4, 3, kernel_quantizer=SCALED),
        *(PICTURE, 0, 36 * 4 * 9 * 6, 36 * 4),
    ),
    "scale as a weight": (
        lambda: ours.BinaryConv2D(4, 3, use_scale=True),
        *(PICTURE, 0, 36 * 4 * 9 * 6, 36 * 4),
    ),
    # Scales are multiplied with each other once.
    "both scales": (
        lambda: ours.BinaryConv2D(
            4, 3, use_scale=True, kernel_quantizer=WEIGHTS_1
        ),
        *(PICTURE, 0, 36 * 4 * 9 * 6, 36 * 4),
    ),
    "depthwise": (
        lambda: ours.BinaryDepthwiseConv2D(3, depth_multiplier=2),
        *(PICTURE, 0, 36 * 12 * 9, 0),
    ),
    "depthwise, scaled": (
        lambda: ours.BinaryDepthwiseConv2D(3, kernel_quantizer=SCALED),
        *(PICTURE, 0, 36 * 6 * 9, 36 * 6),
    ),
    "dense": (lambda: ours.BinaryDense(5), (6,), 0, 30, 0),
    "dense, of a sequence, scaled": (
        lambda: ours.BinaryDense(5, use_scale=True),
        *((7, 6), 0, 7 * 30, 7 * 5),
    ),
    # The mean of channels at 64 positions; windows of 9 of it at 36.
    "XNOR convolution": (
        lambda: ours.XnorConv2D(4, 3),
        *(PICTURE, 36 * 9, 36 * 4 * 9 * 6, 64 + 2 * 36 * 4),
    ),
    "XNOR convolution, no scale of the kernel": (
        lambda: ours.XnorConv2D(
            4, (3, 1), 2, "same", kernel_quantizer="ste_sign"
        ),
        *(PICTURE, 16 * 3, 16 * 4 * 3 * 6, 64 + 16 * 4),
    ),
    "XNOR dense": (
        lambda: ours.XnorDense(5),
        *((7, 6), 0, 7 * 30, 7 + 2 * 7 * 5),
    ),
    # Not two signs: as floats, whose kernel has the scale in it.
    "float inputs": (
        lambda: ours.BinaryConv2D(
            4, 3, kernel_quantizer=SCALED, input_quantizer=None
        ),
        *(PICTURE, 36 * 4 * 9 * 6, 0, 0),
    ),
    "float kernel": (
        lambda: ours.BinaryDense(5, kernel_quantizer=None),
        *((6,), 30, 0, 0),
    ),
    "zeros and ones": (
        lambda: ours.BinaryDense(5, input_quantizer=DoReFa(1)),
        *((6,), 30, 0, 0),
    ),
    "inputs of two bits": (
        lambda: ours.BinaryDepthwiseConv2D(3, input_quantizer=DoReFa(2)),
        *(PICTURE, 36 * 6 * 9, 0, 0),
    ),
    "kernel of two bits": (
        lambda: ours.BinaryDense(5, kernel_quantizer=WEIGHTS_2),
        *((6,), 30, 0, 0),
    ),
    "ternary kernel": (
        lambda: ours.BinaryDense(5, kernel_quantizer="ste_tern"),
        *((6,), 30, 0, 0),
    ),
    "XNOR with float inputs": (
        lambda: ours.XnorDense(5, input_quantizer=None),
        *((6,), 30, 0, 1 + 5),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layers_counted_by_hand(case):
    make, shape, macs, binary_macs, others = CASES[case]
    model = keras.Sequential([keras.Input(shape), make()])
    found = profile(model)
    (row,) = found.layers
    assert (row.macs, row.binary_macs) == (macs, binary_macs)
    assert row.multiplications == macs + others
    assert (found.macs, found.binary_macs) == (macs, binary_macs)
    assert found.unknown == ()


def test_channels_may_be_first():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow convolves no such pictures on a CPU")
    layer = ours.XnorConv2D(4, 3, data_format="channels_first")
    model = keras.Sequential([keras.Input((6, 8, 8)), layer])
    (row,) = profile(model).layers
    assert (row.macs, row.binary_macs) == (36 * 9, 36 * 4 * 9 * 6)
    assert row.multiplications - row.macs == 64 + 2 * 36 * 4


def test_wrapped_layers_count_at_each_step():
    layer = layers.TimeDistributed(ours.XnorDense(5))
    model = keras.Sequential([keras.Input((7, 6)), layer])
    (row,) = profile(model).layers
    assert (row.macs, row.binary_macs) == (0, 7 * 30)
    assert row.multiplications == 7 * (1 + 2 * 5)


def test_costs_add_up():
    cost = Cost(1, 2, 4) + Cost(8, 16, 32)
    assert cost == Cost(9, 18, 36)
    assert 3 * 9 == (cost * 3).macs
    assert (cost * 3).binary_macs == 108
    assert cost.multiplications == 27
    assert (cost + Cost(binary_macs=None)).binary_macs is None
    assert (cost + Cost(binary_macs=None)).multiplications == 27


def test_a_cost_of_the_users_own_may_have_binary_macs():
    class Signs(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.sign(inputs)

    analysis.register_cost(
        Signs, lambda call: Cost(binary_macs=2 * call.outputs)
    )
    model = keras.Sequential([keras.Input((6,)), Signs()])
    (row,) = profile(model).layers
    assert (row.macs, row.binary_macs, row.multiplications) == (0, 12, 0)
