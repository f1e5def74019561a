"""Layers of few bits against plain ones that hold the levels, and NumPy."""

import inspect
import json

import keras
import numpy as np
import plain_layers
import pytest
from gradients import value_and_gradients
from helpers import distinct_weights
from keras import layers, ops

from fritz_compress import quantizers
from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    XnorConv2D,
    XnorDense,
)

SCALED = "magnitude_aware_sign"
JAX = keras.backend.backend() == "jax"
PLAIN = {
    BinaryConv2D: layers.Conv2D,
    BinaryDepthwiseConv2D: layers.DepthwiseConv2D,
    BinaryDense: layers.Dense,
    XnorConv2D: layers.Conv2D,
    XnorDense: layers.Dense,
}


def with_all_options():
    """A layer of each class."""
    return [
        BinaryConv2D(
            4,
            (3, 2),
            (2, 1),
            "same",
            kernel_quantizer=quantizers.SteTern(0.1, 0.9),
            input_quantizer=quantizers.DoReFa(3),
            kernel_clip=0.8,
            pad_values=1,
            use_scale=True,
            activation="relu",
            name="convolution",
        ),
        BinaryDepthwiseConv2D(
            3,
            2,
            "same",
            2,
            kernel_quantizer=quantizers.StochasticSign(0.7, seed=3),
            input_quantizer="approx_sign",
            kernel_clip=None,
            pad_values=-1.0,
            use_scale=True,
            depthwise_constraint="unit_norm",
            depthwise_regularizer=keras.regularizers.L2(0.1),
        ),
        BinaryDense(
            4,
            kernel_quantizer=quantizers.DoReFa(1, "weights"),
            input_quantizer=None,
            kernel_clip=2.0,
            use_scale=True,
            bias_initializer="ones",
        ),
        XnorConv2D(4, 3, dilation_rate=2, use_scale=True, kernel_clip=0.5),
        XnorDense(4, input_quantizer=quantizers.SwishSign(2.0), use_bias=False),
    ]


def drawn(shape, seed=0):
    """Among them zeros, ones, and numbers beyond."""
    x = np.random.default_rng(seed).normal(0, 0.8, shape)
    x.flat[:4] = 0, -0.0, 1, -1
    return x.astype("float32")


def signs(x):
    return np.where(x >= 0, np.float32(1), np.float32(-1))


def magnitude(kernel, axes):
    means = np.abs(kernel.astype("float64")).mean(axes, keepdims=True)
    return means.astype("float32")


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def built(layer, shape):
    """A layer with distinct weights, and its latent kernel."""
    layer.build((None, *shape))
    distinct_weights(layer)
    kernel = drawn(layer.kernel.shape, seed=1)
    layer.kernel.assign(kernel)
    return layer, kernel


def plain(kind, x, kernel, layer, **arguments):
    """What a layer of Keras computes that holds `kernel`."""
    same = kind(**arguments)
    same.build((None, *x.shape[1:]))
    bias = [numpy(layer.bias)] if layer.use_bias else []
    same.set_weights([kernel, *bias])
    return numpy(same(x))


def close(found, expected):
    np.testing.assert_allclose(numpy(found), expected, rtol=1e-5, atol=1e-5)


CONVOLUTIONS = {
    "valid": {},
    "same": {"padding": "same"},
    "strides": {"strides": 2, "padding": "same"},
    "strides_valid": {"strides": (2, 1), "kernel_size": (2, 3)},
    "dilation": {"dilation_rate": 2},
    "dilation_same": {"dilation_rate": (1, 2), "padding": "same"},
    "groups": {"groups": 2, "padding": "same"},
    "channels_first": {"data_format": "channels_first", "padding": "same"},
    "no_bias": {"use_bias": False},
    "activation": {"activation": "tanh"},
}


@pytest.mark.parametrize("quantizer", ["ste_sign", SCALED])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_is_a_plain_one_of_signs(name, quantizer):
    x = drawn((2, 6, 7, 4))
    arguments = {"filters": 6, "kernel_size": 3, **CONVOLUTIONS[name]}
    layer, kernel = built(
        BinaryConv2D(kernel_quantizer=quantizer, **arguments), x.shape[1:]
    )
    scale = magnitude(kernel, (0, 1, 2)) if quantizer == SCALED else 1
    held = signs(kernel) * scale
    expected = plain(layers.Conv2D, signs(x), held, layer, **arguments)
    for training in (False, True):
        close(layer(x, training=training), expected)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("quantizer", ["ste_sign", SCALED])
@pytest.mark.parametrize("strides", [1, 2])
def test_a_depthwise_convolution_has_a_scale_for_each_output(
    strides, quantizer, data_format
):
    x = drawn((2, 4, 6, 4))
    arguments = {
        "kernel_size": 3,
        "strides": strides,
        "padding": "same",
        "depth_multiplier": 2,
        "data_format": data_format,
    }
    layer, kernel = built(
        BinaryDepthwiseConv2D(kernel_quantizer=quantizer, **arguments),
        x.shape[1:],
    )
    scale = magnitude(kernel, (0, 1)) if quantizer == SCALED else 1
    held = signs(kernel) * scale
    expected = plain(layers.DepthwiseConv2D, signs(x), held, layer, **arguments)
    for training in (False, True):
        close(layer(x, training=training), expected)


@pytest.mark.parametrize("quantizer", ["ste_sign", SCALED])
@pytest.mark.parametrize("shape", [(5, 9), (2, 3, 9)], ids=str)
def test_a_dense_layer_is_a_product_of_signs(shape, quantizer):
    x = drawn(shape)
    layer, kernel = built(
        BinaryDense(6, kernel_quantizer=quantizer, activation="tanh"), shape[1:]
    )
    scale = magnitude(kernel, 0) if quantizer == SCALED else 1
    sums = signs(x) @ signs(kernel) * scale
    for training in (False, True):
        close(layer(x, training=training), np.tanh(sums + numpy(layer.bias)))


def padded(x, size, strides, value):
    """As "same" does: what is odd comes after."""
    edges = [(0, 0)]
    for length in x.shape[1:3]:
        missing = (-(-length // strides) - 1) * strides + size - length
        missing = max(missing, 0)
        edges.append((missing // 2, missing - missing // 2))
    return np.pad(x, [*edges, (0, 0)], constant_values=value)


@pytest.mark.parametrize("pad_values", [-1, 0, 1, 0.5])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("kind", [BinaryConv2D, BinaryDepthwiseConv2D])
def test_padding_is_with_these_values(kind, strides, pad_values):
    x = drawn((2, 6, 5, 4))
    filters = {"filters": 6} if kind is BinaryConv2D else {}
    arguments = {"kernel_size": 3, "strides": strides, **filters}
    layer, kernel = built(
        kind(
            padding="same",
            pad_values=pad_values,
            kernel_quantizer=SCALED,
            **arguments,
        ),
        x.shape[1:],
    )
    axes = (0, 1, 2) if filters else (0, 1)
    held = signs(kernel) * magnitude(kernel, axes)
    around = padded(signs(x), 3, strides, pad_values)
    expected = plain(PLAIN[kind], around, held, layer, **arguments)
    for training in (False, True):
        close(layer(x, training=training), expected)


def test_padding_of_pictures_of_any_size_and_of_channels_first():
    inputs = keras.Input((None, None, 2))
    layer = BinaryConv2D(3, 3, padding="same", pad_values=1)
    model = distinct_weights(keras.Model(inputs, layer(inputs)))
    x = drawn((1, 4, 5, 2))
    kernel = signs(numpy(layer.kernel))
    sums = plain_layers.convolution(padded(signs(x), 3, 1, 1), kernel)
    close(model(x), sums + numpy(layer.bias))
    first = BinaryConv2D(
        3, 3, padding="same", pad_values=1, data_format="channels_first"
    )
    first.build((None, 2, 4, 5))
    first.set_weights(layer.get_weights())
    close(first(x.transpose(0, 3, 1, 2)), numpy(model(x)).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("padding, strides", [("valid", 1), ("same", 2)])
def test_xnor_is_equation_11_of_the_paper(padding, strides):
    """I * W is (sign(I) * sign(W)) K alpha, with K = A * k, A = mean |I|."""
    x = drawn((2, 6, 7, 4))
    layer, kernel = built(XnorConv2D(5, 3, strides, padding), x.shape[1:])
    edges = padded if padding == "same" else lambda x, *_: x
    sums = plain_layers.convolution(
        edges(signs(x), 3, strides, 0), signs(kernel), strides
    )
    a = np.abs(x).mean(-1, keepdims=True)
    k = plain_layers.mean(edges(a, 3, strides, 0), 3, strides)
    alpha = magnitude(kernel, (0, 1, 2)).ravel()
    expected = sums * k * alpha + numpy(layer.bias)
    for training in (False, True):
        close(layer(x, training=training), expected)


def test_xnor_of_other_forms_is_that_of_the_first():
    x = drawn((2, 6, 7, 4))
    last, kernel = built(XnorConv2D(5, 3, dilation_rate=2), x.shape[1:])
    wide = np.zeros((5, 5, 4, 5), "float32")
    wide[::2, ::2] = 1
    # The mean of those that the filter sees.
    a = np.abs(x).mean(-1, keepdims=True)
    k = plain_layers.convolution(a, wide[:, :, :1, :1]) / 9
    wide[::2, ::2] = signs(kernel)
    sums = plain_layers.convolution(signs(x), wide)
    alpha = magnitude(kernel, (0, 1, 2)).ravel()
    close(last(x), sums * k * alpha + numpy(last.bias))
    first = XnorConv2D(5, 3, padding="same", data_format="channels_first")
    same = XnorConv2D(5, 3, padding="same")
    for layer, shape in ((first, (4, 6, 7)), (same, (6, 7, 4))):
        layer.build((None, *shape))
        layer.set_weights(last.get_weights())
    transposed = numpy(first(x.transpose(0, 3, 1, 2)))
    close(same(x), transposed.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("shape", [(5, 9), (2, 3, 9)], ids=str)
def test_xnor_of_a_dense_layer_scales_by_the_mean_of_a_sample(shape):
    x = drawn(shape)
    layer, kernel = built(XnorDense(4), shape[1:])
    sums = signs(x) @ signs(kernel)
    k = np.abs(x).mean(-1, keepdims=True)
    close(layer(x), sums * k * magnitude(kernel, 0) + numpy(layer.bias))


@pytest.mark.parametrize(
    "layer",
    [
        BinaryConv2D(6, 3, use_scale=True),
        BinaryConv2D(6, 3, use_scale=True, kernel_quantizer=SCALED),
        BinaryConv2D(
            6,
            3,
            use_scale=True,
            kernel_quantizer=quantizers.DoReFa(1, "weights"),
        ),
        BinaryDepthwiseConv2D(3, depth_multiplier=2, use_scale=True),
        BinaryDense(6, use_scale=True),
        XnorConv2D(6, 3, use_scale=True),
    ],
    ids=lambda layer: layer.name,
)
def test_each_filter_has_a_scale_of_its_own(layer):
    x = drawn((2, 5, 5, 3))
    layer, _ = built(layer, x.shape[1:])
    scale, bias = numpy(layer.kernel_scale), numpy(layer.bias)
    assert scale.shape == (6,) and len(np.unique(np.abs(scale))) == 6
    found = {training: layer(x, training=training) for training in (0, 1)}
    layer.kernel_scale.assign(np.ones(6))
    expected = (numpy(layer(x)) - bias) * scale + bias
    for outputs in found.values():
        close(outputs, expected)


@pytest.mark.parametrize("nbits", [2, 4])
def test_a_convolution_of_more_bits(nbits):
    x = drawn((2, 6, 6, 3))
    layer, kernel = built(
        BinaryConv2D(
            4,
            3,
            kernel_quantizer=quantizers.DoReFa(nbits, "weights"),
            input_quantizer=quantizers.DoReFa(nbits),
        ),
        x.shape[1:],
    )
    top = 2**nbits - 1
    halves = np.tanh(kernel) / (2 * np.abs(np.tanh(kernel)).max()) + 0.5
    held = 2 * np.round(top * halves) / top - 1
    values = np.round(top * np.clip(x, 0, 1)) / top
    close(layer(x), plain_layers.convolution(values, held) + numpy(layer.bias))


def test_without_quantizers_a_layer_is_a_plain_one():
    x = drawn((2, 6, 6, 3))
    layer, kernel = built(
        BinaryConv2D(4, 3, kernel_quantizer=None, input_quantizer=None),
        (6, 6, 3),
    )
    close(
        layer(x),
        plain(layers.Conv2D, x, kernel, layer, filters=4, kernel_size=3),
    )
    layer, kernel = built(
        BinaryConv2D(4, 3, kernel_quantizer=SCALED), (6, 6, 3)
    )
    layer.quantizes_kernel = layer.quantizes_inputs = False
    close(
        layer(x),
        plain(layers.Conv2D, x, kernel, layer, filters=4, kernel_size=3),
    )


@pytest.mark.parametrize("pad_values", [0, 1, -1])
def test_sums_of_signs_are_whole_numbers_without_rounding(pad_values):
    x = drawn((2, 6, 6, 64))
    layer, kernel = built(
        BinaryConv2D(
            8, 3, padding="same", use_bias=False, pad_values=pad_values
        ),
        x.shape[1:],
    )
    around = padded(signs(x), 3, 1, pad_values).astype("int64")
    exact = plain_layers.convolution(around, signs(kernel).astype("int64"))
    np.testing.assert_array_equal(layer(x), exact)
    # A scale is multiplied once, with the whole sum.
    layer.kernel_quantizer = quantizers.get(SCALED)
    scale = numpy(layer.kernel_levels()[1])
    np.testing.assert_array_equal(layer(x), exact.astype("float32") * scale)


def test_what_a_layer_says_of_itself():
    assert BinaryConv2D(4, 3).is_binary and XnorDense(4).is_binary
    assert not BinaryDense(4, input_quantizer=None).is_binary
    assert not BinaryDense(4, input_quantizer="dorefa").is_binary
    layer = BinaryDense(
        4,
        kernel_quantizer="ste_tern",
        input_quantizer=quantizers.DoReFa(1),
    )
    assert not layer.is_binary
    assert (layer.kernel_bits, layer.input_bits) == (2, 1)
    layer = BinaryDense(4, kernel_quantizer=None, input_quantizer=None)
    assert (layer.kernel_bits, layer.input_bits) == (32, 32)
    for padding, value, pads in (
        ("same", 1, 1),
        ("same", 0, 0),
        ("valid", 1, 0),
    ):
        layer = BinaryConv2D(4, 3, padding=padding, pad_values=value)
        assert layer.pads == bool(pads)


@pytest.mark.parametrize("layer", with_all_options(), ids=lambda x: x.name)
def test_levels_and_scales_have_their_shapes(layer):
    built(layer, (5, 5, 4))
    levels, scale = layer.kernel_levels()
    assert tuple(levels.shape) == tuple(layer.kernel.shape)
    assert tuple(scale.shape) == (8 if "depthwise" in layer.name else 4,)


def gradients(layer, x, upstream, training=True):
    """The outputs, and gradients by inputs and by the kernel."""
    others = [numpy(weight) for weight in layer.trainable_variables[1:]]
    states = [numpy(state) for state in layer.non_trainable_variables]

    def outputs(x, kernel):
        return layer.stateless_call(
            [kernel, *others], states, x, training=training
        )[0]

    return value_and_gradients(
        outputs, x, numpy(layer.kernel), upstream=upstream
    )


def passes(x, limit=1):
    return np.abs(x) <= limit


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [BinaryDense, XnorDense])
@pytest.mark.parametrize("quantizer", ["ste_sign", SCALED])
def test_gradients_of_a_dense_layer_are_the_closed_forms(
    quantizer, kind, training
):
    x, upstream = drawn((7, 9)), drawn((7, 6), seed=2)
    layer, kernel = built(kind(6, kernel_quantizer=quantizer), (9,))
    _, by_x, by_kernel = gradients(layer, x, upstream, training)
    alpha = magnitude(kernel, 0) if quantizer == SCALED else np.float32(1)
    xnor = kind is XnorDense
    k = np.abs(x).mean(-1, keepdims=True) if xnor else np.float32(1)
    to_sums = upstream * k * alpha
    expected = to_sums @ signs(kernel).T * passes(x)
    np.testing.assert_allclose(by_x, expected, rtol=1e-5, atol=2e-6)
    expected = signs(x).T @ to_sums * passes(kernel)
    np.testing.assert_allclose(by_kernel, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("pad_values", [0, 1])
def test_gradients_of_a_convolution_are_those_of_a_plain_one(
    pad_values, training
):
    x = drawn((2, 6, 6, 3))
    layer, kernel = built(
        BinaryConv2D(
            4,
            3,
            2,
            "same",
            kernel_quantizer=quantizers.MagnitudeAwareSign(0.5),
            pad_values=pad_values,
        ),
        x.shape[1:],
    )
    alpha = magnitude(kernel, (0, 1, 2))
    upstream = drawn((2, 3, 3, 4), seed=2)
    edges = [(0, 0), (0, 1), (0, 1), (0, 0)]

    def convolved(levels, held):
        around = ops.pad(levels, edges, constant_values=pad_values)
        return ops.conv(around, held, 2, "valid")

    _, by_levels, by_held = value_and_gradients(
        convolved, signs(x), signs(kernel) * alpha, upstream=upstream
    )
    _, by_x, by_kernel = gradients(layer, x, upstream, training)
    close(by_x, by_levels * passes(x))
    close(by_kernel, by_held * alpha * passes(kernel, 0.5))


def test_gradients_of_xnor_do_not_flow_through_the_scale_of_the_inputs():
    x, upstream = drawn((2, 5, 5, 3)), drawn((2, 5, 5, 4), seed=2)
    layer, kernel = built(XnorConv2D(4, 3, padding="same"), x.shape[1:])
    alpha = magnitude(kernel, (0, 1, 2))
    ninth = np.full((3, 3, 1, 1), 1 / 9, "float32")

    def product(levels, held, magnitudes):
        means = ops.mean(magnitudes, -1, keepdims=True)
        sums = ops.conv(levels, held, padding="same")
        return sums * ops.conv(means, ninth, padding="same")

    _, by_levels, by_held, _ = value_and_gradients(
        product, signs(x), signs(kernel) * alpha, np.abs(x), upstream=upstream
    )
    _, by_x, by_kernel = gradients(layer, x, upstream)
    close(by_x, by_levels * passes(x))
    close(by_kernel, by_held * alpha * passes(kernel))


def network(*quantized, seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            *quantized,
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    distinct_weights(model)
    return model


def fit(model, learning_rate=0.1, steps=4):
    model.compile(keras.optimizers.SGD(learning_rate), "mse", jit_compile=JAX)
    model.fit(
        drawn((2 * steps, 6, 6, 3)),
        drawn((2 * steps, 2), seed=1),
        batch_size=2,
        shuffle=False,
        verbose=0,
    )


def test_latent_weights_stay_in_their_range_while_signs_turn():
    clipped = BinaryConv2D(8, 3, kernel_clip=0.5, name="clipped")
    free = BinaryConv2D(8, 3, kernel_clip=None, name="free")
    depthwise = BinaryDepthwiseConv2D(2, name="depthwise")
    model = network(layers.BatchNormalization(), clipped, depthwise, free)
    before = {layer.name: numpy(layer.kernel) for layer in (clipped, depthwise)}
    fit(model, learning_rate=1e4, steps=1)
    for layer, limit in ((clipped, 0.5), (depthwise, 1.0)):
        after = numpy(layer.kernel)
        assert np.abs(after).max() == limit
        assert (signs(after) != signs(before[layer.name])).any()
    assert np.abs(numpy(free.kernel)).max() > 1


def test_every_weight_learns():
    model = network(
        layers.BatchNormalization(),
        BinaryConv2D(4, 2, use_scale=True, use_bias=False, pad_values=1),
        layers.BatchNormalization(),
        XnorConv2D(4, 2, use_bias=False),
        layers.BatchNormalization(),
        BinaryDepthwiseConv2D(3, padding="same"),
    )
    before = [numpy(weight) for weight in model.trainable_weights]
    fit(model)
    for weight, old in zip(model.trainable_weights, before):
        assert (numpy(weight) != old).any(), weight.path


def test_random_signs_are_drawn_in_training_alone():
    x = drawn((2, 6, 6, 3))
    layer, kernel = built(
        BinaryConv2D(
            8,
            3,
            kernel_quantizer=quantizers.StochasticSign(seed=7),
            input_quantizer=None,
        ),
        x.shape[1:],
    )
    expected = plain(
        layers.Conv2D, x, signs(kernel), layer, filters=8, kernel_size=3
    )
    first, second = (numpy(layer(x, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 0.1
    for training in (None, False):
        close(layer(x, training=training), expected)
    same, _ = built(BinaryConv2D.from_config(layer.get_config()), x.shape[1:])
    np.testing.assert_array_equal(same(x, training=True), first)


def test_random_signs_work_in_fit_and_are_repeatable():
    def fitted(seed):
        layer = BinaryConv2D(
            4,
            3,
            kernel_quantizer=quantizers.StochasticSign(seed=seed),
            input_quantizer=quantizers.StochasticSign(seed=seed),
        )
        model = network(layer)
        generator, other = layer.seed_generators
        before = numpy(generator.state), numpy(other.state)
        fit(model)
        # Drawn from in every step: in graphs and under `jit`, too.
        assert (numpy(generator.state) != before[0]).any()
        assert (numpy(other.state) != before[1]).any()
        return [numpy(weight) for weight in model.trainable_weights]

    once, again, another = fitted(1), fitted(1), fitted(2)
    for one, same in zip(once, again):
        np.testing.assert_allclose(one, same, rtol=1e-6, atol=1e-7)
    assert np.abs(once[0] - another[0]).max() > 1e-4


@pytest.mark.parametrize("index", range(5))
def test_a_layer_is_made_again_of_its_configuration(index):
    layer = with_all_options()[index]
    unbuilt = layer.get_config()
    config = json.loads(json.dumps(unbuilt))
    assert type(layer).from_config(config).get_config() == unbuilt
    built(layer, (7, 7, 4))
    assert layer.get_config() == unbuilt
    again, _ = built(type(layer).from_config(config), (7, 7, 4))
    x = drawn((2, 7, 7, 4))
    np.testing.assert_array_equal(again(x), layer(x))
    assert again.compute_output_shape(x.shape) == tuple(layer(x).shape)


@pytest.mark.parametrize("kind", PLAIN)
def test_arguments_are_those_of_keras_and_a_few_more(kind):
    position = 3 if issubclass(kind, layers.Dense) else (4, 3)
    own = kind(position) if position == 3 else kind(*position)
    extra = {"kernel_quantizer", "input_quantizer", "kernel_clip", "use_scale"}
    if position != 3:
        extra.add("pad_values")
    config = own.get_config()
    plain_config = (
        PLAIN[kind]
        .from_config({k: v for k, v in config.items() if k not in extra})
        .get_config()
    )
    assert set(config) == set(plain_config) | extra
    parameters = list(inspect.signature(kind).parameters)
    theirs = list(inspect.signature(PLAIN[kind]).parameters)
    for ours, plain_one in zip(parameters, theirs):
        if ours == "kernel_quantizer":
            break
        assert ours == plain_one


def test_models_are_saved_with_all_options(tmp_path):
    x = inputs = keras.Input((24, 24, 3))
    convolution, depthwise, dense, xnor, xnor_dense = with_all_options()
    for layer in (convolution, depthwise, xnor, dense, xnor_dense):
        x = layer(layers.BatchNormalization()(x))
    model = distinct_weights(keras.Model(inputs, x))
    x = drawn((2, 24, 24, 3))
    xnor.trainable = False  # As `convert_to_binary` leaves its layers.
    expected = numpy(model(x))
    assert np.ptp(expected) > 0
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), expected)
    for one, other in zip(model.layers, again.layers):
        assert one.get_config() == other.get_config()


@pytest.mark.parametrize("index", range(5))
def test_half_precision_is_close_to_single(index):
    single = with_all_options()[index]
    single.build((None, 7, 7, 4))
    distinct_weights(single)
    half = type(single).from_config(
        {**single.get_config(), "dtype": "mixed_float16"}
    )
    half.build((None, 7, 7, 4))
    half.set_weights(single.get_weights())
    x = drawn((2, 7, 7, 4)).astype("float16").astype("float32")
    outputs = half(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float16"
    np.testing.assert_allclose(outputs, single(x), rtol=5e-3, atol=2e-2)
    outputs = half(x, training=True)
    assert np.isfinite(numpy(outputs)).all()


def test_half_precision_trains():
    policy = {"dtype": "mixed_float16"}
    layer = XnorConv2D(4, 3, **policy)
    model = network(layers.BatchNormalization(**policy), layer)
    before = numpy(layer.kernel)
    fit(model)
    assert (numpy(layer.kernel) != before).any()


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (
            {"kernel_quantizer": "ste_sing"},
            ValueError,
            r"Received: 'ste_sing'. Did you mean 'ste_sign'\?$",
        ),
        (
            {"kernel_quantizer": "linear"},
            TypeError,
            "`kernel_quantizer` of layer 'it' must be a .*BitQuantizer.*Linear"
            ".*needs a range. Use 'ste_sign'.*`quantization_aware`",
        ),
        (
            {"input_quantizer": quantizers.LinearSymmetric()},
            TypeError,
            "`input_quantizer` of layer 'it' must be a .*LinearSymmetric",
        ),
        ({"input_quantizer": 3}, TypeError, "a name or an object.*Received: 3"),
        (
            {"kernel_quantizer": quantizers.DoReFa(3)},
            ValueError,
            "`kernel_quantizer` of layer 'it' must have negative levels.*Pass "
            r"quantizers.DoReFa\(3, mode='weights'\)",
        ),
        (
            {"kernel_clip": 1.0, "kernel_constraint": "unit_norm"},
            ValueError,
            "One constraint.*kernel_clip=1.0 and kernel_constraint='unit_norm'"
            ".*Pass kernel_clip=None",
        ),
        (
            {"kernel_clip": 0},
            ValueError,
            "`kernel_clip` must be a number above",
        ),
        (
            {"kernel_clip": "1"},
            TypeError,
            "`kernel_clip` must be a number above",
        ),
        (
            {"pad_values": "same"},
            TypeError,
            "`pad_values` must be a number, such as 0, 1 or -1. Received: "
            "pad_values='same'",
        ),
        ({"pad_values": None}, TypeError, "`pad_values` must be a number"),
    ],
)
def test_arguments_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        BinaryConv2D(4, 3, name="it", **arguments)


def test_arguments_of_other_layers_are_checked():
    with pytest.raises(ValueError, match="depthwise_constraint='unit_norm'"):
        BinaryDepthwiseConv2D(
            3, kernel_clip=1, depthwise_constraint="unit_norm"
        )
    message = "Layer 'it' scales by the mean of all.*groups=2. Use `BinaryConv"
    with pytest.raises(ValueError, match=message):
        XnorConv2D(4, 3, groups=2, name="it")
    with pytest.raises(ValueError, match="Unrecognized.*'pad_values': 1"):
        BinaryDense(4, pad_values=1)


@pytest.mark.parametrize(
    "quantizer, limit",
    [
        ("ste_sign", 1),
        (quantizers.SteSign(None), 1),
        (quantizers.StochasticSign(0.02), 0.02),
        (quantizers.DoReFa(2, "weights"), 1),
    ],
)
def test_latent_weights_are_clipped_where_their_gradient_ends(quantizer, limit):
    layer = BinaryConv2D(4, 3, kernel_quantizer=quantizer)
    assert layer.kernel_constraint.clip_value == limit
    again = BinaryConv2D.from_config(layer.get_config())
    assert again.kernel_clip == layer.kernel_clip == "auto"
    assert again.kernel_constraint.clip_value == limit


def test_floats_and_own_constraints_are_not_clipped():
    assert BinaryDense(4, kernel_quantizer=None).kernel_constraint is None
    own = BinaryDense(4, kernel_constraint="unit_norm")
    assert isinstance(own.kernel_constraint, keras.constraints.UnitNorm)
    again = BinaryDense.from_config(own.get_config())
    assert isinstance(again.kernel_constraint, keras.constraints.UnitNorm)


def test_a_constraint_without_a_clip_is_used():
    layer = BinaryConv2D(4, 3, kernel_clip=None, kernel_constraint="unit_norm")
    layer.build((None, 5, 5, 2))
    assert isinstance(layer.kernel.constraint, keras.constraints.UnitNorm)
    assert layer.get_config()["kernel_constraint"] is not None


def test_the_example_of_the_docstring_runs():
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(x)
    x = BinaryConv2D(64, 3, padding="same", use_bias=False)(x)
    assert keras.Model(inputs, x).output_shape == (None, 8, 8, 64)
