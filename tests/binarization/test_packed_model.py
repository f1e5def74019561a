"""Predictions from bits are those of the float simulation, bit for bit."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights, slow_but
from keras import layers

import fritz_compress as fc
from fritz_compress.binarization import PackedModel
from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    XnorConv2D,
    XnorDense,
)
from fritz_compress.models import BinaryConnectMLP, BinaryLeNet5, BinaryResNet
from fritz_compress.quantizers import BitQuantizer, DoReFa, EvenLevels

CHANNELS = (1, 20, 64, 65, 200)
KERNELS = ("ste_sign", "magnitude_aware_sign")
POOLING = ("before", "after", "both")
RESNETS = {
    "plain": {},
    "bi_real": {"bi_real": True},
    "input_scale": {"input_scale": True},
    "shortcut B": {"shortcut": "B"},
    "signs": {"kernel_quantizer": "ste_sign"},
    "all": {"bi_real": True, "input_scale": True, "shortcut": "B"},
}


def pictures(model, count=3, seed=0):
    shape = (count, *model.input_shape[1:])
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def check(model, x=None, threads=1):
    """Compares all outputs; returns the packed model."""
    if x is None:
        x = pictures(model)
    packed = PackedModel(model, threads)
    got = packed.predict(x)
    want = keras.tree.map_structure(np.array, model(x, training=False))
    keras.tree.map_structure(np.testing.assert_array_equal, got, want)
    flat = np.concatenate([np.ravel(a) for a in keras.tree.flatten(want)])
    assert np.isfinite(flat).all() and len(np.unique(flat)) > 3
    return packed


def chain(*stack, shape=(8, 8, 20)):
    """A model of one layer after the other, its weights distinct."""
    return distinct_weights(keras.Sequential([keras.Input(shape), *stack]))


def normalization(name=None):
    return layers.BatchNormalization(name=name)


@pytest.mark.parametrize("options", slow_but(RESNETS, "bi_real"))
def test_residual_networks(options):
    model = BinaryResNet.build(alpha=0.5, depth=8, **RESNETS[options])
    packed = check(distinct_weights(model))
    assert len(packed.packed) == 6
    scaled = RESNETS[options].get("input_scale", False)
    assert len(packed.fused) == (0 if scaled else 6)


@pytest.mark.parametrize("quantizer", slow_but(KERNELS, KERNELS[0]))
@pytest.mark.parametrize("input_scale", [False, True])
def test_lenet(quantizer, input_scale):
    model = BinaryLeNet5.build(
        kernel_quantizer=quantizer,
        input_scale=input_scale,
        classifier_activation=None,
    )
    packed = check(distinct_weights(model))
    assert packed.packed == ("conv2", "ip1")
    between = ("conv1_normalization", "pool2", "conv2_normalization", "flatten")
    assert packed.fused == (() if input_scale else between)


def test_dense_network():
    model = distinct_weights(BinaryConnectMLP.build(alpha=0.1, num_bits=1))
    packed = check(model)
    assert packed.packed == ("ip2", "ip3")
    assert packed.fused == ("ip1_normalization", "ip2_normalization")
    assert packed.floats["ip1"] == "its input is of floats, no signs"
    assert packed.floats["ip4"] == "no binary layer"


@pytest.mark.parametrize("pad_values", [-1, 0, 1])
@pytest.mark.parametrize("kind", [BinaryConv2D, XnorConv2D])
def test_padding_strides_and_dilation(kind, pad_values):
    """Strides at odd sizes, a bias, an activation, a scale of its own."""
    first = {"padding": "same", "pad_values": pad_values}
    model = chain(
        kind(7, 3, strides=2, **first, use_scale=True, activation="tanh"),
        kind(6, 3, dilation_rate=2, **first),
        kind(5, (2, 1), strides=(2, 1)),
        shape=(9, 10, 20),
    )
    assert len(check(model).packed) == 3


@pytest.mark.parametrize("channels", slow_but(CHANNELS, 65))
def test_channels_that_do_not_fill_words(channels):
    model = chain(
        normalization(),
        BinaryConv2D(channels, 3, padding="same"),
        normalization(),
        BinaryConv2D(3, 3, use_bias=False),
        layers.Flatten(),
        normalization(),
        BinaryDense(channels),
        normalization(),
        XnorDense(6),
        shape=(6, 6, channels),
    )
    packed = check(model)
    assert len(packed.packed) == 4
    assert [r.how for r in packed._rows()].count("comparison") == 3


@pytest.mark.parametrize("pooling", slow_but(POOLING, "before"))
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_maxima_of_rising_and_falling_channels(pooling, padding):
    """Scales and normalizations of both signs."""
    pools = [layers.MaxPooling2D(3, 2, padding) for _ in range(2)]
    model = chain(
        BinaryConv2D(70, 3, use_scale=True),
        *pools[: pooling in ("before", "both")],
        normalization(),
        *pools[1 : 1 + (pooling in ("after", "both"))],
        layers.Dropout(0.5),
        layers.Flatten(),
        BinaryDense(9),
        shape=(16, 15, 20),
    )
    scale = model.layers[0].kernel_scale
    scale.assign(np.where(np.arange(70) % 3, 1, -1) * np.array(scale))
    packed = check(model, pictures(model, 10))
    assert set(packed.floats) == set()


def test_constant_and_tied_channels():
    """A gamma of 0, a huge offset, scales of 0: signs that never change."""
    model = chain(
        BinaryConv2D(6, 3, use_bias=False, use_scale=True),
        normalization(),
        BinaryConv2D(4, 3, use_bias=False),
        shape=(8, 8, 5),
    )
    convolution, norm, _ = model.layers
    norm.gamma.assign([0, 0, 1, -1, 1, 1e-20])
    norm.beta.assign([-1, 1, 1e9, -1e9, 0, 0])
    norm.moving_mean.assign([0, 0, 0, 0, 3, 5])
    convolution.kernel_scale.assign([1, 1, 1, 1, 0, 1])
    assert check(model).fused == (norm.name,)


def test_sums_exactly_at_the_threshold():
    """All weights 1: the mean that is subtracted is a sum that occurs."""
    model = keras.Sequential(
        [
            keras.Input((5, 5, 3)),
            BinaryConv2D(2, 3, kernel_initializer="ones", use_bias=False),
            layers.BatchNormalization(epsilon=1e-3),
            BinaryConv2D(1, 3, kernel_initializer="ones"),
        ]
    )
    norm = model.layers[1]
    norm.moving_mean.assign([27, 3])
    norm.gamma.assign([1, -1])
    ones = np.ones((2, 5, 5, 3), "float32")
    ones[1, ..., :2] = -1
    got = PackedModel(model).predict(ones)[:, 0, 0, 0]
    # Sums 27 and -9, less 27: 1, -1. Of -(27 - 3) and -(-9 - 3): -1, 1.
    np.testing.assert_array_equal(got, [0, 0])
    norm.moving_mean.assign([27.001, -9])
    got = PackedModel(model).predict(ones)[:, 0, 0, 0]
    # -1 and -1; then -1 and, of -0, 1.
    np.testing.assert_array_equal(got, [-18, 0])
    check_same = model(ones, training=False)
    np.testing.assert_array_equal(got, np.array(check_same)[:, 0, 0, 0])


def test_numbers_that_others_read_stay_floats():
    """Of a sum that is an output, one that is added, and one read twice."""
    inputs = keras.Input((8, 8, 20))
    first = BinaryConv2D(8, 3, padding="same", name="first")(inputs)
    norm = normalization("added")(first)
    second = BinaryConv2D(8, 3, padding="same", name="second")(norm)
    added = layers.Add(name="sum")([norm, second])
    third = BinaryConv2D(6, 3, name="third")(normalization("single")(added))
    shown = normalization("shown")(third)
    last = BinaryConv2D(5, 3, name="last")(shown)
    model = keras.Model(inputs, {"shown": shown, "last": last})
    packed = check(distinct_weights(model))
    assert packed.packed == ("first", "second", "third", "last")
    assert packed.fused == ("single",)
    assert set(packed.floats) == {"added", "sum", "shown"}


def test_what_is_between_but_not_monotone_stays_float():
    model = chain(
        BinaryConv2D(8, 3, activation="relu", name="first"),
        normalization("norm"),
        BinaryConv2D(8, 3, name="second"),
        layers.AveragePooling2D(2, 1),
        BinaryConv2D(8, 3, name="third"),
    )
    packed = check(model)
    assert packed.fused == ("norm",)
    rows = {row.name: row for row in packed._rows()}
    # Of the floats after the activation: no limits of the sums.
    assert packed._packed[packed._graph.nodes[0]].sum_limits is None
    assert rows["norm"].how == "comparison"


def test_identities_do_not_hinder():
    model = chain(
        layers.Conv2D(9, 3, name="float"),
        normalization("of_floats"),
        layers.Identity(name="first_identity"),
        BinaryConv2D(8, 3),
        normalization("of_sums"),
        layers.Identity(name="second_identity"),
        BinaryConv2D(7, 3),
    )
    fused = check(model).fused
    assert set(fused) == {
        *("of_floats", "first_identity", "of_sums", "second_identity")
    }


def test_rows_are_flattened_as_floats():
    model = chain(
        BinaryDense(70), layers.Flatten(), BinaryDense(9), shape=(3, 20)
    )
    packed = check(model)
    assert len(packed.packed) == 2 and len(packed.floats) == 1


def test_shared_layers_and_nested_models():
    shared = BinaryDense(20, name="shared")
    inner = keras.Sequential(
        [keras.Input((20,)), normalization(), shared, normalization(), shared]
    )
    inputs = keras.Input((20,))
    model = keras.Model(inputs, inner(layers.Dense(20)(inputs)))
    packed = check(distinct_weights(model), pictures(model, 40))
    assert packed.packed == ("shared",)
    assert len(packed.fused) == 2


def test_several_inputs_and_batches():
    left, right = keras.Input((9,), name="left"), keras.Input(
        (5,), name="right"
    )
    joined = layers.Concatenate()([left, right])
    model = keras.Model([left, right], BinaryDense(12)(joined))
    distinct_weights(model)
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(7, 9)), rng.normal(size=(7, 5))]
    packed = PackedModel(model)
    got = packed.predict(x, batch_size=3)
    want = np.array(model([a.astype("float32") for a in x], training=False))
    np.testing.assert_array_equal(got, want)
    named = packed.predict({"right": x[1], "left": x[0]})
    np.testing.assert_array_equal(named, want)


@pytest.mark.parametrize("threads", slow_but((2, 3), 2))
def test_threads_change_nothing(threads):
    model = distinct_weights(BinaryLeNet5.build(alpha=0.5))
    check(model, pictures(model, 1), threads)
    check(model, pictures(model, 7), threads)


@pytest.mark.slow
def test_predictions_are_those_of_model_predict():
    """What is compiled may round otherwise, but not far."""
    model = distinct_weights(BinaryResNet.build(alpha=0.5, depth=8))
    x = pictures(model, 5)
    want = model.predict(x, verbose=0)
    got = PackedModel(model).predict(x)
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("quantizer", slow_but(KERNELS, KERNELS[1]))
def test_a_packed_file(tmp_path, quantizer):
    """The weights that are made 1 and -1, stored and read again."""
    model = distinct_weights(
        BinaryLeNet5.build(alpha=0.5, kernel_quantizer=quantizer)
    )
    x = pictures(model)
    want = PackedModel(model).predict(x)
    fc.save_compressed(fc.convert_to_binary(model), tmp_path / "model.fcz")
    loaded = fc.load_compressed(tmp_path / "model.fcz")
    packed = PackedModel(loaded)
    assert packed.packed == ("conv2", "ip1")
    np.testing.assert_array_equal(packed.predict(x), want)


def test_the_model_is_left_as_it_was_and_may_change():
    model = distinct_weights(BinaryLeNet5.build(alpha=0.5))
    before = [np.array(w) for w in model.weights]
    x, packed = pictures(model), PackedModel(model)
    want = packed.predict(x)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    model.get_layer("conv2").kernel.assign(-before[5])
    np.testing.assert_array_equal(packed.predict(x), want)


def test_bytes_by_hand():
    model = chain(
        BinaryConv2D(64, 3, use_bias=False, name="first"),
        normalization(),
        BinaryConv2D(10, 3, name="second", use_scale=True),
        layers.Conv2D(4, 1, name="floats"),
        shape=(8, 8, 130),
    )
    packed = PackedModel(model)
    first = 9 * 3 * 8 * 64 + 2 * 4  # 3 words of 8 bytes; limits of 0.
    between = 2 * 4 * 64
    second = 9 * 8 * 10 + 2 * 4 * 10  # With bias and scale.
    assert packed.nbytes == first + between + second + 4 * (10 * 4 + 4)
    lines = str(packed).splitlines()
    assert lines[0].split() == ["layer", "kind", "computed", "from", "bytes"]
    assert lines[1].split() == [
        *("first", "BinaryConv2D", "bits", f"{first + between:,}"),
    ]
    assert "comparison" in lines[2] and lines[4].endswith("no binary layer")
    assert lines[-1].split() == ["total", f"{packed.nbytes:,}"]


class Backwards(BitQuantizer):
    """A sign that is 1 twice."""

    def __call__(self, values, training=None):
        inside = keras.ops.abs(values) < 1
        return keras.ops.where(inside, 1.0, -1.0)


class OwnConvolution(BinaryConv2D):
    pass


FLOATS = {
    "its kernel is of floats, no signs": {"kernel_quantizer": None},
    "its input is of floats, no signs": {"input_quantizer": None},
    "its input is of 4 bits, no signs": {"input_quantizer": DoReFa(4)},
    "its kernel is of 2 bits, no signs": {"kernel_quantizer": "ste_tern"},
    "it has 2 groups": {"groups": 2},
    "it pads with 0.5, which is not -1, 0 or 1": {
        "padding": "same",
        "pad_values": 0.5,
    },
    "it computes with float16, not float32": {"dtype": "float16"},
    "its input quantizer makes no step from -1 to 1": {
        "input_quantizer": Backwards()
    },
}


@pytest.mark.parametrize("reason", FLOATS)
def test_layers_that_run_in_floats_say_why(reason):
    other = BinaryConv2D(8, 3, name="other", **FLOATS[reason])
    model = chain(
        other, layers.Activation("linear", dtype="float32"), BinaryConv2D(4, 3)
    )
    assert check(model).floats["other"] == reason


def test_other_reasons():
    model = chain(
        BinaryDepthwiseConv2D(3, name="depthwise"),
        OwnConvolution(8, 3, name="own"),
        BinaryConv2D(8, 1, name="float_kernel"),
        BinaryConv2D(4, 1),
    )
    model.get_layer("float_kernel").quantizes_kernel = False
    assert list(check(model).floats.values()) == [
        "depthwise: each sum is of few products",
        "OwnConvolution is a class of its own, which may do more",
        "it does not quantize yet, as `GradualBinarization` left it",
    ]


@pytest.mark.parametrize(
    "quantizer", ["approx_sign", "swish_sign", "stochastic_sign", EvenLevels(1)]
)
def test_any_sign_of_inputs(quantizer):
    """Also one of which 0 is -1."""
    model = chain(BinaryDense(7, input_quantizer=quantizer), shape=(9,))
    x = pictures(model, 9)
    x[:5] = [[0.0], [-0.0], [1e-30], [-1e-30], [-1e-7]]
    assert check(model, x).packed


def test_errors():
    plain = keras.Sequential([keras.Input((4,)), layers.Dense(3)], name="net")
    message = (
        "'net' has no binary layer to compute from bits. Make them .* with "
        "`fc.binarize`"
    )
    with pytest.raises(ValueError, match=message):
        PackedModel(plain)
    model = chain(
        BinaryDense(3, input_quantizer=None, name="floats"), shape=(4,)
    )
    message = (
        "no layer that can be computed from bits. Received: 1 binary layers; "
        "of the first, 'floats': its input is of floats, no signs"
    )
    with pytest.raises(ValueError, match=message):
        PackedModel(model)
    with pytest.raises(ValueError, match="Functional or a built Sequential"):
        PackedModel(keras.Sequential([BinaryDense(3)]))
    with pytest.raises(TypeError, match="must be a Keras model"):
        PackedModel("model.fcz")
    model = chain(BinaryDense(3), shape=(4,))
    with pytest.raises(ValueError, match="`threads` must be at least 1. Rec"):
        PackedModel(model, threads=0)
    with pytest.raises(TypeError, match="`threads` must be a whole number"):
        PackedModel(model, threads=1.5)


def test_errors_of_predict():
    inputs = keras.Input((4,), name="pixels")
    packed = PackedModel(
        keras.Model(inputs, BinaryDense(3)(inputs), name="net")
    )
    message = (
        r"Input 'pixels' must have the shape \(None, 4\)\. Received: an array "
        r"of the shape \(2, 5\)"
    )
    with pytest.raises(ValueError, match=message):
        packed.predict(np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"the shape \(4,\)"):
        packed.predict(np.zeros(4))
    with pytest.raises(ValueError, match=r"Received: \[0\] samples"):
        packed.predict(np.zeros((0, 4)))
    with pytest.raises(ValueError, match="has 1 inputs, 'pixels'. Received: 2"):
        packed.predict([np.zeros((2, 4))] * 2)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        packed.predict(np.zeros((2, 4)), batch_size=0)
