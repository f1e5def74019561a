"""Error correction of whole models: patches, order of layers, accuracy."""

import itertools

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from sklearn import datasets

from fritz_compress.ops.product_quantization import product_quantize
from fritz_compress.quantization import WeightConfig
from fritz_compress.quantization.correction import error_corrected_codes

NAMES = ("first", "second", "classifier")


def network():
    """Strides, dilation, an activation inside a layer, a residual."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="first")(x)
    x = layers.BatchNormalization()(x)
    shortcut = x = layers.ReLU()(x)
    x = layers.Conv2D(8, 2, dilation_rate=2, name="second")(
        layers.ZeroPadding2D(1)(x)
    )
    x = layers.Add()([layers.ReLU()(x), shortcut])
    x = layers.Dense(10, name="classifier", activation="softmax")(
        layers.Flatten()(x)
    )
    return keras.Model(inputs, x)


def with_kernels(model, kernels):
    """A copy whose layers have other kernels."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name, kernel in kernels.items():
        copy.get_layer(name).kernel.assign(kernel)
    return copy


def product(nbits, dimension, granularity="per_block"):
    return WeightConfig(nbits, "product", granularity, dimension=dimension)


def plain_kernels(model, settings):
    return {
        name: product_quantize(
            keras.ops.convert_to_numpy(model.get_layer(name).kernel),
            chosen.nbits,
            chosen.dimension,
            groups=_per_sub_space(model.get_layer(name), chosen.dimension),
        ).decode()
        for name, chosen in settings.items()
    }


def _per_sub_space(layer, dimension):
    *positions, channels, _ = layer.kernel.shape
    return (*[1] * len(positions), channels // dimension, 1)


def pictures(count=40):
    return np.random.default_rng(1).normal(size=(count, 8, 8, 1))


def test_output_error_falls():
    model = distinct_weights(network())
    settings = {name: product(3, 4) for name in NAMES}
    codes = error_corrected_codes(model, settings, pictures(400), sweeps=4)
    kernels = {name: code.decode() for name, code in codes.items()}
    unseen = np.random.default_rng(2).normal(size=(40, 8, 8, 1))
    wanted, plain, corrected = (
        np.log(other.predict(unseen, verbose=0))
        for other in (
            model,
            with_kernels(model, plain_kernels(model, settings)),
            with_kernels(model, kernels),
        )
    )
    before = np.square(plain - wanted).sum()
    assert np.square(corrected - wanted).sum() < 0.5 * before


def test_codes_are_in_the_form_of_product_quantization():
    model = distinct_weights(network())
    settings = {
        "first": product(4, 2),
        "second": product(3, 4, "per_tensor"),
        "classifier": product(2, 8),
    }
    codes = error_corrected_codes(model, settings, pictures(), sweeps=1)
    forms = {
        name: (code.axis, code.groups, code.codebooks.shape[-2:], code.nbits)
        for name, code in codes.items()
    }
    assert forms == {
        "first": (2, (1, 1, 4, 1), (16, 2), 4),
        "second": (2, (1, 1, 1, 1), (8, 4), 3),
        "classifier": (0, (16, 1), (4, 8), 2),
    }
    for name, code in codes.items():
        assert code.decode().shape == model.get_layer(name).kernel.shape


def test_without_sweeps_it_is_plain_product_quantization():
    model = distinct_weights(network())
    settings = {name: product(3, 4) for name in NAMES}
    codes = error_corrected_codes(model, settings, pictures(), sweeps=0)
    for name, kernel in plain_kernels(model, settings).items():
        np.testing.assert_array_equal(codes[name].decode(), kernel)


@pytest.mark.slow
def test_a_layer_sees_the_errors_of_those_before_it():
    """One that is exact by itself must move once an earlier one is not."""
    model = distinct_weights(network())
    exact = product(8, 4)
    kernel = keras.ops.convert_to_numpy(model.get_layer("second").kernel)
    alone = error_corrected_codes(model, {"second": exact}, pictures())
    np.testing.assert_allclose(alone["second"].decode(), kernel, atol=1e-4)
    coarse = {"first": product(1, 8), "second": exact}
    after = error_corrected_codes(model, coarse, pictures())
    assert np.abs(after["second"].decode() - kernel).max() > 0.01


def test_model_is_not_changed_and_a_seed_repeats():
    model = distinct_weights(network())
    before = [weight.copy() for weight in model.get_weights()]
    settings = {"first": product(2, 4)}
    first, again = (
        error_corrected_codes(model, settings, pictures(), seed=3)
        for _ in range(2)
    )
    assert (first["first"].codes == again["first"].codes).all()
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8"])
def test_data_of_any_type_reach_the_first_layer_as_its_model_has_them(dtype):
    model = keras.Sequential(
        [keras.Input((8, 8, 2)), layers.Conv2D(8, 3, name="first")]
    )
    distinct_weights(model)
    data = np.random.default_rng(1).integers(0, 9, (20, 8, 8, 2))
    settings = {"first": product(2, 2)}
    found, same = (
        error_corrected_codes(model, settings, data.astype(name), seed=3)
        for name in (dtype, "float32")
    )
    assert (found["first"].codes == same["first"].codes).all()


@pytest.mark.slow
def test_accuracy_of_a_trained_network():
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype("float32")
    train, test = slice(1300), slice(1300, None)
    keras.utils.set_random_seed(0)
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images[train], labels[train], 32, epochs=15, verbose=0)
    settings = {name: product(3, 4) for name in NAMES}
    codes = error_corrected_codes(model, settings, images[train][:300])
    accuracies = [
        (
            other.predict(images[test], verbose=0).argmax(1) == labels[test]
        ).mean()
        for other in (
            model,
            with_kernels(model, plain_kernels(model, settings)),
            with_kernels(model, {k: v.decode() for k, v in codes.items()}),
        )
    ]
    exact, plain, corrected = accuracies
    assert exact > 0.9
    assert corrected > exact - 0.05
    assert exact - corrected < 0.5 * (exact - plain)


def test_layers_that_cannot_be_corrected_are_refused():
    model = network()
    settings = product(8, 4)
    for names, message in (
        (["nothing"], "no layer of this name.*'nothing'"),
        (["batch_normalization"], "'batch_normalization.*' must be a Conv2D"),
    ):
        found = [
            layer.name
            for name, layer in itertools.product(names, model.layers)
            if layer.name.startswith(name)
        ]
        with pytest.raises(ValueError, match=message):
            error_corrected_codes(
                model, {(found or names)[0]: settings}, pictures()
            )


def test_wrong_settings_are_refused():
    model = network()
    with pytest.raises(TypeError, match="layer 'first' must be a `WeightConf"):
        error_corrected_codes(model, {"first": 4}, pictures())
    for wrong in (
        WeightConfig(),
        WeightConfig(4, "product", vectors="outputs"),
    ):
        with pytest.raises(
            ValueError, match="'first' must be of mode='product"
        ):
            error_corrected_codes(model, {"first": wrong}, pictures())


def test_a_length_that_does_not_divide_is_shortened():
    model = distinct_weights(network())
    codes = error_corrected_codes(model, {"first": product(4, 3)}, pictures())
    assert codes["first"].length == 2


def test_wrong_data_are_refused():
    settings = {"first": product(8, 4)}
    for data in (pictures(0), [pictures(), pictures()]):
        with pytest.raises(ValueError, match="`data` must have one array"):
            error_corrected_codes(network(), settings, data)
    with pytest.raises(TypeError, match="`model` must be a Keras model"):
        error_corrected_codes("model.keras", settings, pictures())
    with pytest.raises(ValueError, match="`samples` must be at least 1"):
        error_corrected_codes(network(), settings, pictures(), samples=0)
