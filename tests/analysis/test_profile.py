import csv
import io

import keras
import pytest
from keras import layers

from fritz_compress.analysis import profile
from fritz_compress.models import SmallStyleTransferNetwork

# Inputs have 8 positions per axis and 6 channels. Layer, its MACs, and its
# parameters, all counted by hand.
COUNTED = {
    "conv1d": (1, layers.Conv1D(4, 3), 6 * 4 * 3 * 6, 76),
    "conv2d": (2, layers.Conv2D(4, (3, 5)), 6 * 4 * 4 * 15 * 6, 364),
    "strided": (2, layers.Conv2D(4, 3, 2, "same"), 4 * 4 * 4 * 9 * 6, 220),
    "dilated": (2, layers.Conv2D(4, 3, dilation_rate=2), 16 * 4 * 54, 220),
    "grouped": (2, layers.Conv2D(4, 3, groups=2), 36 * 4 * 9 * 3, 112),
    "conv3d": (3, layers.Conv3D(2, 3), 6**3 * 2 * 27 * 6, 326),
    "transposed": (
        2,
        layers.Conv2DTranspose(4, 3, 2, "same"),
        8 * 8 * 6 * 9 * 4,
        220,
    ),
    "depthwise": (
        2,
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        6 * 6 * 12 * 9,
        120,
    ),
    "separable": (
        2,
        layers.SeparableConv2D(4, 3, depth_multiplier=2),
        6 * 6 * 12 * 9 + 6 * 6 * 4 * 12,
        9 * 12 + 12 * 4 + 4,
    ),
    "dense": (0, layers.Dense(5), 6 * 5, 35),
    "dense on a sequence": (1, layers.Dense(5), 8 * 6 * 5, 35),
    "normalization": (2, layers.BatchNormalization(), 0, 24),
    "activation": (2, layers.ReLU(), 0, 0),
}


@pytest.mark.parametrize("case", COUNTED)
def test_layers_counted_by_hand(case):
    axes, layer, macs, parameters = COUNTED[case]
    model = keras.Sequential([keras.Input((8,) * axes + (6,)), layer])
    (row,) = [r for r in profile(model).layers if r.kind != "InputLayer"]
    assert (row.macs, row.parameters) == (macs, parameters)
    assert row.bytes == 4 * parameters
    assert row.output_shape == model.output_shape
    assert (row.name, row.kind) == (layer.name, type(layer).__name__)


@pytest.mark.parametrize(
    "build, macs",
    [
        (keras.applications.MobileNet, 568_740_352),
        (keras.applications.MobileNetV2, 300_774_272),
        pytest.param(
            keras.applications.VGG16,
            15_346_630_656 + 123_633_664,
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_published_networks(build, macs):
    model = build(weights=None)
    found = profile(model)
    assert found.macs == macs
    assert found.parameters == model.count_params()


def test_a_shared_layer_computes_twice_and_is_stored_once():
    shared = layers.Dense(6, name="shared")
    inputs = keras.Input((6,))
    model = keras.Model(inputs, shared(shared(inputs)))
    (row,) = profile(model).layers
    assert (row.macs, row.parameters, row.bytes) == (72, 42, 168)


def test_nested_models_are_flattened():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="in")])
    model = keras.Sequential([keras.Input((6,)), inner, layers.Dense(2)])
    assert [row.macs for row in profile(model).layers] == [30, 10]
    assert profile(model).parameters == model.count_params()


def test_half_precision_weights_take_two_bytes():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, dtype="float16")]
    )
    assert profile(model).bytes == 70


def test_models_of_any_size_need_one():
    model = SmallStyleTransferNetwork.build(None, alpha=0.3)
    at_size = SmallStyleTransferNetwork.build((480, 640), alpha=0.3)
    found = profile(model, input_size=(480, 640))
    assert found == profile(at_size)
    assert (found.parameters, found.macs) == (11_868, 1_777_593_600)
    with pytest.raises(
        ValueError,
        match="'encode_full_convolution' sees inputs of any size.*"
        r"Pass `input_size=\(height, width\)`",
    ):
        profile(model)


def test_wrong_sizes_are_refused():
    model = keras.Sequential([keras.Input((8, 6)), layers.Conv1D(4, 3)])
    with pytest.raises(ValueError, match=r"must have 1 numbers.*\(8, 8\)"):
        profile(model, input_size=(8, 8))
    inputs = [keras.Input((8, 6)), keras.Input((8, 6))]
    two = keras.Model(inputs, layers.Add()(inputs), name="two")
    assert profile(two).macs == 0
    with pytest.raises(ValueError, match="'two' with 2"):
        profile(two, input_size=(8,))


def test_models_without_a_graph_are_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="Expected a Functional"):
        profile(Own(), input_size=(8, 8))


def test_table_and_csv():
    model = keras.Sequential(
        [
            keras.Input((64, 48, 3)),
            layers.Conv2D(40, 3, padding="same", name="conv"),
            layers.GlobalAveragePooling2D(name="pool"),
        ]
    )
    found = profile(model)
    assert str(found).splitlines() == [
        "layer  kind                    output    parameters       macs  bytes",
        "conv   Conv2D                  64x48x40       1,120  3,317,760  4,480",
        "pool   GlobalAveragePooling2D  40                 0          0      0",
        "total                                         1,120  3,317,760  4,480",
    ]
    assert list(csv.reader(io.StringIO(found.to_csv()))) == [
        ["layer", "kind", "output", "parameters", "macs", "bytes"],
        ["conv", "Conv2D", "64x48x40", "1120", "3317760", "4480"],
        ["pool", "GlobalAveragePooling2D", "40", "0", "0", "0"],
    ]
