import csv
import io

import keras
import pytest
from keras import layers

from fritz_compress import graph
from fritz_compress.analysis import profile
from fritz_compress.analysis.activation_memory import PeakMemory
from fritz_compress.costs import macs_of
from fritz_compress.models import SmallStyleTransferNetwork


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


def test_sizes_by_input():
    inputs = [keras.Input((None, 6)), keras.Input((None,), dtype="int32")]
    dense, embedded = layers.Dense(4), layers.Embedding(9, 4)
    joined = layers.Add()([dense(inputs[0]), embedded(inputs[1])])
    model = keras.Model(inputs, layers.LSTM(3)(joined))
    with pytest.raises(ValueError, match="any size.*Pass `input_size"):
        profile(model)
    macs = 7 * 6 * 4 + 7 * 4 * 3 * (4 + 3)
    assert profile(model, [(7,), (7,)]).macs == macs
    assert profile(model, [(7, 6), (7,)]).macs == macs
    with pytest.raises(ValueError, match="one for each input.*with 2"):
        profile(model, [(7,)])
    with pytest.raises(ValueError, match=r"must have 1 numbers.*\(7, 5\)"):
        profile(model, [(7, 5), (7,)])


def two_heads():
    """A picture with token ids: a shared layer, a mask, two outputs."""
    inputs = keras.Input((8, 8, 6), name="picture")
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(
        inputs,
        [
            layers.GlobalAveragePooling2D(name="pool")(x),
            layers.Activation("silu", name="map")(x),
        ],
        name="two_heads",
    )


def test_multiplications_by_kind():
    found = profile(two_heads())
    assert found.multiplications == {
        "Conv2D": 36 * 4 * 9 * 6,
        "BatchNormalization": 36 * 4,
        "GlobalAveragePooling2D": 4,
        "Activation": 36 * 4,
    }
    assert {row.name: row.multiplications for row in found.layers} == {
        "conv": 36 * 4 * 9 * 6,
        "norm": 36 * 4,
        "pool": 4,
        "map": 36 * 4,
    }
    assert found.macs == 36 * 4 * 9 * 6


def test_trainable_parameters():
    model = two_heads()
    found = profile(model)
    assert (found.parameters, found.trainable) == (220 + 16, 220 + 8)
    model.get_layer("conv").trainable = False
    assert profile(model).trainable == 8
    assert [row.trainable for row in profile(model).layers] == [0, 8, 0, 0]


def test_weights_that_two_layers_hold_count_once():
    inner = layers.Dense(6, name="inner")
    inputs = keras.Input((5, 6))
    outputs = layers.TimeDistributed(inner)(inner(inputs))
    found = profile(keras.Model(inputs, outputs))
    assert [row.parameters for row in found.layers] == [42, 0]
    assert [row.macs for row in found.layers] == [5 * 36, 5 * 36]
    assert (found.parameters, found.bytes) == (42, 4 * 42)


def test_bytes_of_weights():
    found = profile(two_heads())  # 220 and 16 numbers.
    assert found.bytes == found.weight_bytes(32) == 4 * 236
    assert found.weight_bytes(8) == 236
    assert found.weight_bytes(3) == 83 + 6  # 82.5 and 6 bytes.
    assert found.weight_bytes({"conv": 4}) == 110 + 4 * 16
    assert found.weight_bytes({}) == found.bytes


def test_bytes_for_no_layer_or_no_bits_are_refused():
    found = profile(two_heads())
    with pytest.raises(
        ValueError,
        match="Received: 'con', which .*'two_heads' has not. Did.*" "'conv'",
    ):
        found.weight_bytes({"con": 8})
    with pytest.raises(ValueError, match="`bits` must be at least 1"):
        found.weight_bytes(0)
    with pytest.raises(TypeError, match=r"`bits\['conv'\]` must be a whole"):
        found.weight_bytes({"conv": 2.5})
    with pytest.raises(TypeError, match="`bits` must be a whole.*'8'"):
        found.weight_bytes("8")
    with pytest.raises(ValueError, match="`bits` must be at least 1"):
        found.activation_memory(0)


def test_operations_have_rows():
    inputs = keras.Input((8, 6))
    x = layers.Dense(5, name="dense")(inputs)
    model = keras.Model(inputs, keras.ops.matmul(x, keras.ops.ones((5, 3))))
    row = profile(model).layers[-1]
    assert (row.kind, row.macs, row.parameters) == ("Matmul", 8 * 5 * 3, 0)
    assert row.output_shape == (None, 8, 3)


def test_layers_without_a_rule_are_never_zero():
    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs * inputs

    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5), Own(name="own")]
    )
    found = profile(model)
    assert (found.layers[-1].macs, found.layers[-1].multiplications) == (
        *(None, None),
    )
    assert (found.macs, found.unknown) == (30, ("own",))
    *table, _, _, _, note = str(found).splitlines()
    assert table[2].split() == ["own", "Own", "5", "0", "?", "0", "?"]
    assert note == "not counted, without a rule: own"
    (line,) = (x for x in found.to_csv().splitlines() if x.startswith("own"))
    assert line == "own,Own,5,0,?,0,0,?,"


def test_macs_of_one_call():
    model = two_heads()
    nodes = graph.trace(model).nodes
    assert [macs_of(node) for node in nodes] == [36 * 4 * 9 * 6, 0, 0, 0]
    inputs = keras.Input((6,))
    lambda_ = layers.Lambda(lambda x: x * x, output_shape=(6,))
    (node,) = graph.trace(keras.Model(inputs, lambda_(inputs))).nodes
    assert macs_of(node) is None


@pytest.mark.slow
def test_the_walk_through_vgg16():
    """What the phone article counts by hand; no weight is computed with."""
    found = profile(keras.applications.VGG16(weights=None))
    assert found.parameters == found.trainable == 138_357_544
    assert found.macs == 15_470_264_320
    rows = {row.name: row for row in found.layers}
    first, last = rows["block1_conv1"], rows["block5_pool"]
    # A kernel of 3x3x3 for each of 64 filters, at 224x224 positions.
    assert first.macs == 3 * 3 * 3 * 64 * 224 * 224 == 86_704_128
    assert (first.parameters, first.receptive_field) == (1_792, (3, 3))
    assert last.receptive_field == (212, 212)
    assert rows["fc1"].receptive_field is found.receptive_field is None
    middle = [
        r for n, r in rows.items() if n[:6] in ("block2", "block3", "block4")
    ]
    assert sum(row.macs for row in middle) / found.macs > 0.77
    share = rows["fc1"].parameters / found.parameters
    assert round(100 * share, 1) == 74.3
    # Two maps of 224x224x64 numbers meet at the second convolution.
    peak = found.activation_memory()
    assert peak == PeakMemory(4 * 2 * 224 * 224 * 64, "block1_conv2")


def test_table_and_csv():
    model = keras.Sequential(
        [
            keras.Input((64, 48, 3)),
            layers.Conv2D(40, 3, padding="same", name="conv"),
            layers.GlobalAveragePooling2D(name="pool"),
        ]
    )
    model.get_layer("conv").trainable = False
    found = profile(model)
    assert str(found) == found.summary((32, 8))
    assert found.summary([4]).splitlines() == [
        "layer  kind                    output    parameters      %       macs"
        "      %  bytes  multiplications  field",
        "conv   Conv2D                  64x48x40       1,120  100.0  3,317,760"
        "  100.0  4,480        3,317,760    3x3",
        "pool   GlobalAveragePooling2D  40                 0                 0"
        "             0               40",
        "total                                         1,120         3,317,760"
        "         4,480        3,317,800",
        "trainable: 0, not: 1,120",
        "at 4 bits: 560 bytes of weights, 66,048 of activations at most, at "
        "'conv'",
    ]
    assert list(csv.reader(io.StringIO(found.to_csv()))) == [
        "layer kind output parameters macs bytes trainable multiplications "
        "receptive_field".split(),
        *(
            ["conv", "Conv2D", "64x48x40", "1120", "3317760", "4480", "0"]
            + ["3317760", "3x3"],
            ["pool", "GlobalAveragePooling2D", "40", "0", "0", "0", "0", "40"]
            + [""],
        ),
    ]


def test_tables_of_no_known_size():
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4)(tokens)
    model = keras.Model(
        tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)), name="bag"
    )
    found = profile(model)
    assert (found.macs, found.multiplications["Dense"]) == (8, 8)
    assert "at 8 bits: 46 bytes of weights, activations of no known" in str(
        found
    )
    with pytest.raises(
        ValueError, match="'bag' takes inputs of any size.*Pass"
    ):
        found.activation_memory()
