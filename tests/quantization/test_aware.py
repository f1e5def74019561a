"""Models with simulated integers: what is made, trained, kept and refused."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights, slow_but
from keras import layers, ops
from quantization_models import MODELS, data_for

import fritz_compress as fc
from fritz_compress.layers import (
    ActivationRange,
    ConcatenationRange,
    QuantizedLayer,
)
from fritz_compress.quantization import (
    AwareConfig,
    apply_ranges,
    calibrate,
    freeze,
    integers,
    quantization_aware,
)


def kinds(model, kind):
    return [x for x in model.layers if type(x) is kind]


def small():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, use_bias=False, name="conv")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Flatten()(x)
    return distinct_weights(keras.Model(inputs, layers.Dense(2)(x)))


def fitted(model, epochs=1):
    x = data_for(model)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    target = np.ones(model(x).shape, "float32")
    model.fit(x, target, epochs=epochs, verbose=0)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_with_16_bits_it_computes_what_the_model_does(name):
    """Rounding to 65,535 levels hardly shows; a wrong formula would."""
    model = MODELS[name]()
    aware = quantization_aware(model, {"activation_bits": 16})
    x = data_for(model)
    for layer in aware.layers:
        if isinstance(layer, ActivationRange) and layer.high is None:
            layer.set_range(-64.0, 64.0)
    expected, outputs = np.asarray(model(x)), np.asarray(aware(x))
    # Weights have 8 bits still.
    error = np.abs(expected - outputs).max() / np.ptp(expected)
    assert outputs.shape == expected.shape
    assert error < 0.05
    before = [np.array(weight) for weight in model.get_weights()]
    aware(x, training=True)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_the_parts_of_a_small_model():
    model = small()
    aware = quantization_aware(model, AwareConfig(weight_bits=4))
    conv, dense = kinds(aware, QuantizedLayer)
    assert (conv.name, conv.activation) == ("conv", "relu")
    assert conv.normalization.name == "norm"
    assert conv.quantizer.nbits == dense.quantizer.nbits == 4
    ranges = kinds(aware, ActivationRange)
    assert [x.low for x in ranges] == [None, 0.0, None]
    assert aware.count_params() == model.count_params() + 3 * len(ranges)
    assert not aware.compiled
    for old, new in (
        (model.get_layer("conv"), conv.layer),
        (model.get_layer("norm"), conv.normalization),
    ):
        for a, b in zip(old.get_weights(), new.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_calls_of_a_shared_layer_share_weights_but_not_ranges():
    aware = quantization_aware(MODELS["shared"]())
    names = [layer.name for layer in kinds(aware, QuantizedLayer)]
    assert len(names) == 3 and {"shared", "twice"} < set(names)
    assert len(kinds(aware, ActivationRange)) == 6


def test_inputs_of_a_concatenation_have_its_range():
    aware = quantization_aware(MODELS["concatenated"]())
    first, second = kinds(aware, ConcatenationRange)
    # The pooled convolution has none of its own; pooling and sigmoid have.
    assert first.ranged == [1, 2]
    assert second.ranged == [0, 1]


def test_several_inputs_and_outputs_and_their_names():
    images = {name: keras.Input((4,), name=name) for name in ("b", "a")}
    x = layers.Add()([images["a"], layers.Dense(4)(images["b"])])
    outputs = {"sum": x, "classes": layers.Dense(3, activation="softmax")(x)}
    model = distinct_weights(keras.Model(images, outputs))
    aware = quantization_aware(model)
    data = {name: np.ones((2, 4), "float32") for name in images}
    aware(data, training=True)
    result = aware(data)
    assert set(result) == {"sum", "classes"}
    for name, expected in model(data).items():
        np.testing.assert_allclose(result[name], expected, atol=0.1)


def test_training_moves_weights_statistics_and_ranges():
    model = small()
    given = [np.array(w) for w in model.get_weights()]
    aware = quantization_aware(model)
    before = [np.array(w) for w in aware.get_weights()]
    fitted(aware)
    for old, new in zip(given, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    for weight, old in zip(aware.weights, before):
        assert (np.asarray(weight) != old).any(), weight.path


@pytest.mark.slow
def test_freezing_between_two_fits_keeps_the_optimizer():
    aware = fitted(quantization_aware(small()))
    iterations = int(aware.optimizer.iterations)
    freeze(aware)
    fixed = [w for w in aware.non_trainable_weights]
    before = [np.array(w) for w in fixed]
    x = data_for(aware)
    aware.fit(x, np.ones((8, 2), "float32"), verbose=0)
    assert int(aware.optimizer.iterations) == iterations + 1
    for weight, old in zip(fixed, before):
        np.testing.assert_array_equal(np.asarray(weight), old)
    freeze(aware, False)
    aware.fit(x, np.ones((8, 2), "float32"), verbose=0)
    assert any((np.asarray(w) != old).any() for w, old in zip(fixed, before))


def test_freezing_needs_simulated_integers():
    with pytest.raises(ValueError, match="no simulated integers to freeze"):
        freeze(small())
    with pytest.raises(ValueError, match="has no simulated integers. Make"):
        integers(small())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "concatenated", "nested"])
def test_it_is_saved_and_loaded(name, tmp_path):
    aware = fitted(quantization_aware(MODELS[name]()))
    freeze(aware)
    aware.save(tmp_path / "aware.keras")
    again = keras.saving.load_model(tmp_path / "aware.keras")
    x = data_for(aware)
    np.testing.assert_array_equal(again(x), aware(x))
    assert all(x.frozen for x in kinds(again, QuantizedLayer))
    fitted(again)


def test_what_turns_pictures_into_numbers_stays_float():
    picture = keras.Input((8, 8, 3))
    x = fc.layers.StandardizeImage(name="standardize")(picture)
    x = layers.Conv2D(3, 3, padding="same", activation="tanh", name="conv")(x)
    x = fc.layers.DeprocessStylizedImage(name="deprocess")(x)
    model = distinct_weights(keras.Model(picture, x))
    pictures = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3))
    pictures = pictures.astype("float32")
    ranges = calibrate(model, pictures)
    assert set(ranges.ends) >= {"conv_range"}
    assert not any("deprocess" in name for name in ranges.ends)
    aware = apply_ranges(model, ranges)
    np.testing.assert_allclose(aware(pictures), model(pictures), atol=12)


def test_it_freezes_in_the_middle_of_a_fit():
    aware = quantization_aware(small())
    conv = kinds(aware, QuantizedLayer)[0]
    seen = []

    def freeze_last(epoch, logs):
        seen.append(np.array(conv.normalization.moving_mean))
        if epoch == 2:
            freeze(aware)

    x = data_for(aware)
    aware.compile(keras.optimizers.Adam(0.01), "mse")
    last = keras.callbacks.LambdaCallback(on_epoch_begin=freeze_last)
    before = np.array(conv.layer.kernel)
    history = aware.fit(
        x, np.ones((8, 2)), epochs=4, verbose=0, callbacks=[last]
    )
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])
    np.testing.assert_array_equal(seen[2], seen[3])
    assert not np.array_equal(before, np.array(conv.layer.kernel))
    assert len(history.history["loss"]) == 4


@pytest.mark.slow
def test_pruned_filters_and_weights_stay_zero():
    model = small()
    kernel = model.get_layer("conv").get_weights()[0]
    kernel[..., 1] = 0
    kernel[0, 0] = 0
    model.get_layer("conv").set_weights([kernel])
    gamma, beta, mean, variance = model.get_layer("norm").get_weights()
    gamma[1] = beta[1] = mean[1] = 0
    model.get_layer("norm").set_weights([gamma, beta, mean, variance])
    aware = quantization_aware(model)
    fitted(aware, 3)
    written = integers(aware).layers["conv"]
    assert not written.kernel[..., 1].any() and not written.kernel[0, 0].any()
    assert written.bias[1] == 0 and written.bias.any()
    free = quantization_aware(model, {"preserve": []})
    assert not kinds(free, QuantizedLayer)[0].keep_zeros
    fitted(free, 3)
    assert integers(free).layers["conv"].kernel[0, 0].any()


@pytest.mark.parametrize("per_channel", slow_but([False, True], True))
def test_a_codebook_stays_one(per_channel):
    model = small()
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (64, 2))
    book = rng.normal(size=(4, 2) if per_channel else (4, 1))
    values = np.take_along_axis(book, codes, axis=0)
    bias = model.layers[-1].get_weights()[1]
    model.layers[-1].set_weights([values.astype("float32"), bias])
    aware = quantization_aware(model)
    dense = kinds(aware, QuantizedLayer)[1]
    assert dense.per_channel == per_channel
    assert dense.clusters == book.size
    fitted(aware, 3)
    kernel = integers(aware).layers[dense.name].kernel
    groups = kernel.T if per_channel else [kernel]
    assert all(len(np.unique(group)) <= 4 for group in groups)
    trained = np.asarray(dense.plain_kernel())
    assert np.abs(trained - values).max() > 1e-3


def test_layers_can_be_left_float_or_get_other_bits():
    model = small()
    aware = quantization_aware(
        model,
        {
            "global_config": {"weight_bits": 4},
            "layer_type_configs": {"Dense": None},
            "layer_name_configs": {"con*": {"weight_bits": 8}},
        },
    )
    (conv,) = kinds(aware, QuantizedLayer)
    assert conv.quantizer.nbits == 8
    (dense,) = kinds(aware, layers.Dense)
    np.testing.assert_array_equal(dense.kernel, model.layers[-1].kernel)
    assert kinds(aware, ActivationRange)[-1].name == "conv_range"


@pytest.mark.parametrize(
    "config, message",
    [
        ({"weight_bits": 9}, "`weight_bits` must be from 2 to 8"),
        ({"weight_bits": 1}, "`weight_bits` must be at least 2"),
        ({"activation_bits": 4}, "must be 8 or 16. Received.*=4"),
        ({"preserve": "zeros"}, "`preserve` must be a list of some"),
        ({"momentum": 2}, "`momentum` must be a fraction"),
        ({"bits": 8}, "Received: 'bits'"),
        ({"layer_name_configs": {"conv_9": None}}, "'conv_9'.*mean 'conv'"),
        (
            {"layer_type_configs": {"Dense": {"activation_bits": 16}}},
            "must be the same for all layers, 8 here.*'Dense'",
        ),
    ],
)
def test_configurations_are_checked(config, message):
    with pytest.raises(ValueError, match=message):
        quantization_aware(small(), config)


def test_layers_without_a_rule_are_named_with_the_way_out():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3)(inputs)
    x = layers.GroupNormalization(2, name="groups")(x)
    x = layers.Activation("gelu", name="gelu")(x)
    model = keras.Model(inputs, x)
    with pytest.raises(ValueError, match="'groups' .GroupNormalization"):
        quantization_aware(model)
    config = {
        "global_config": {},
        "layer_type_configs": {"GroupNormalization": None},
    }
    with pytest.raises(ValueError, match="'gelu' .Activation.*: None"):
        quantization_aware(model, config)
    config["layer_type_configs"]["Activation"] = None
    aware = quantization_aware(model, config)
    assert kinds(aware, layers.GroupNormalization)
    with pytest.raises(ValueError, match="Some layers must be computed"):
        quantization_aware(model, {"layer_type_configs": {"Conv2D": None}})


def test_padding_with_other_numbers_than_zero_has_no_rule():
    """It would have to be within the range of what is padded."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3)(inputs)
    x = ops.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]], constant_values=2.0)
    with pytest.raises(ValueError, match=r"'pad\w*' \(?.?Pad"):
        quantization_aware(keras.Model(inputs, x))


def test_what_is_no_model_or_has_no_graph_is_refused():
    with pytest.raises(TypeError, match="`model` must be a Keras model"):
        quantization_aware("model.keras")
    half = keras.Sequential(
        [keras.Input((3,)), layers.Dense(2, dtype="mixed_float16", name="half")]
    )
    with pytest.raises(ValueError, match="'half' must compute in float32"):
        quantization_aware(half)
