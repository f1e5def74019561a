"""Kernels of few bits in a profile: bits, sizes, table."""

import csv
import io

import keras
import numpy as np
import pytest
from keras import layers

from fritz_compress import layers as ours
from fritz_compress.analysis import profile
from fritz_compress.models import BinaryResNet18
from fritz_compress.quantizers import DoReFa

SCALED = "magnitude_aware_sign"


def small_network():
    return keras.Sequential(
        [
            keras.Input((8, 8, 6)),
            ours.BinaryConv2D(4, 3, kernel_quantizer=SCALED, name="scaled"),
            layers.BatchNormalization(name="norm"),
            ours.BinaryConv2D(
                5, 3, input_quantizer=None, use_scale=True, name="signs"
            ),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(2, name="float"),
        ],
        name="small",
    )


# A layer, the bits of one number of its kernel, and all other bits as
# deployed. Kernels have 6 * 4 numbers.
DEPLOYED = {
    "signs": (lambda: ours.BinaryDense(4), 1, 4 * 32),
    "no bias": (lambda: ours.BinaryDense(4, use_bias=False), 1, 0),
    "scale of the quantizer": (
        lambda: ours.BinaryDense(4, kernel_quantizer=SCALED),
        *(1, 2 * 4 * 32),
    ),
    "one scale of all": (
        lambda: ours.BinaryDense(4, kernel_quantizer=DoReFa(1, "weights")),
        *(1, 2 * 4 * 32),
    ),
    "scale as a weight": (
        lambda: ours.BinaryDense(4, use_scale=True),
        *(1, 2 * 4 * 32),
    ),
    "both scales, which become one": (
        lambda: ours.XnorDense(4, use_scale=True),
        *(1, 2 * 4 * 32),
    ),
    "float inputs": (
        lambda: ours.BinaryDense(4, input_quantizer=None),
        *(1, 4 * 32),
    ),
    "ternary": (
        lambda: ours.BinaryDense(4, kernel_quantizer="ste_tern"),
        *(2, 4 * 32),
    ),
    "three bits": (
        lambda: ours.BinaryDense(4, kernel_quantizer=DoReFa(3, "weights")),
        *(3, 4 * 32),
    ),
    "floats": (
        lambda: ours.BinaryDense(4, kernel_quantizer=None),
        *(32, 4 * 32),
    ),
    "half precision": (
        lambda: ours.BinaryDense(4, dtype="float16"),
        *(1, 4 * 16),
    ),
    "floats of half precision": (
        lambda: ours.BinaryDense(4, kernel_quantizer=None, dtype="float16"),
        *(16, 4 * 16),
    ),
    "wrapped": (
        lambda: layers.TimeDistributed(ours.BinaryDense(4)),
        *(1, 4 * 32),
    ),
}


@pytest.mark.parametrize("case", DEPLOYED)
def test_bits_of_weights(case):
    make, each, others = DEPLOYED[case]
    model = keras.Sequential([keras.Input((7, 6)), make()])
    found = profile(model)
    (row,) = found.layers
    assert row.weight_bits == 24 * each + others
    assert found.deployed_bytes == -(-row.weight_bits // 8)
    assert row.binary_parameters == (24 if each == 1 else 0)
    assert found.binary_parameters == row.binary_parameters
    in_memory = sum(
        keras.ops.convert_to_numpy(weight).nbytes for weight in model.weights
    )
    assert row.bytes == in_memory


def test_a_depthwise_filter_is_an_output_channel():
    layer = ours.BinaryDepthwiseConv2D(
        3, depth_multiplier=2, use_bias=False, kernel_quantizer=SCALED
    )
    (row,) = profile(keras.Sequential([keras.Input((8, 8, 5)), layer])).layers
    assert row.weight_bits == 9 * 10 + 32 * 10


def test_a_shared_kernel_is_stored_once():
    shared = ours.BinaryDense(6, use_bias=False, name="shared")
    inputs = keras.Input((5, 6))
    outputs = layers.TimeDistributed(shared)(shared(inputs))
    found = profile(keras.Model(inputs, outputs))
    assert [row.weight_bits for row in found.layers] == [36, 0]
    assert [row.binary_macs for row in found.layers] == [5 * 36, 5 * 36]
    assert (found.binary_parameters, found.deployed_bytes) == (36, 5)


def test_deployed_as_in_the_larq_zoo():
    """BinaryResNetE18 has 11,699,368 parameters in 4.03 MiB there."""
    model = BinaryResNet18.build(bi_real=True, kernel_quantizer="ste_sign")
    found = profile(model)
    assert found.parameters == 11_699_368
    assert round(found.deployed_bytes / 2**20, 2) == 4.03


def test_without_few_bits_deployed_is_in_memory():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5), layers.BatchNormalization()]
    )
    found = profile(model)
    assert not found.has_few_bits
    assert found.deployed_bytes == found.bytes == 4 * (35 + 20)
    assert (found.binary_macs, found.binary_parameters) == (0, 0)
    assert "deployed" not in str(found) and "binary" not in str(found)
    assert "bi" not in found.to_csv().splitlines()[0]


def test_table():
    lines = profile(small_network()).summary([32]).splitlines()
    assert lines[0].endswith("field  binary macs  deployed bytes")
    cells = {line.split()[0]: line.split() for line in lines}
    assert cells["scaled"][-2:] == ["7,776", "59"]  # 216 and 2 * 4 * 32 bits.
    assert cells["norm"][-2:] == ["0", "64"]
    assert cells["signs"][-2:] == ["0", "63"]  # 180 and 2 * 5 * 32 bits.
    assert cells["float"][-2:] == ["0", "48"]
    assert cells["total"][-2:] == ["7,776", "234"]
    assert cells["deployed:"] == (
        "deployed: 234 bytes; parameters of one bit: 396".split()
    )
    # The layer's products are those with its scale.
    assert cells["scaled"][5:8] == ["0", "880", "144"]


def test_csv():
    found = profile(small_network())
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert list(rows[0])[-4:] == (
        "receptive_field binary_macs binary_parameters weight_bits".split()
    )
    assert [row["binary_macs"] for row in rows] == "7776 0 0 0 0".split()
    assert [row["binary_parameters"] for row in rows] == [
        *("216", "0", "180", "0", "0"),
    ]
    bits = np.array([int(row["weight_bits"]) for row in rows])
    assert sum(-(-bits // 8)) == found.deployed_bytes


def test_what_is_not_known_is_not_zero():
    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs * inputs

    model = keras.Sequential(
        [keras.Input((6,)), ours.BinaryDense(5), Own(name="own")]
    )
    found = profile(model)
    assert found.layers[-1].binary_macs is None
    assert found.binary_macs == 30
    (line,) = (x for x in str(found).splitlines() if x.startswith("own"))
    assert line.split()[-2:] == ["?", "0"]
    (line,) = (x for x in found.to_csv().splitlines() if x.startswith("own"))
    assert line == "own,Own,5,0,?,0,0,?,,?,0,0"
