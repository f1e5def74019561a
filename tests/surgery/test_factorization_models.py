"""Whole models: nested, shared, saved, trained, pruned, converted."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights, slow_but
from keras import layers
from low_rank_models import (
    assert_unchanged,
    classifier,
    give_rank,
    images,
    predict,
    snapshot,
)

from fritz_compress.analysis import profile
from fritz_compress.surgery import factorize, prune_filters, remove_filters


def encoder(name="encoder"):
    inputs = keras.Input((8, 8, 6))
    x = layers.Conv2D(6, 3, padding="same", name="convolution")(inputs)
    outputs = layers.Add()([layers.ReLU()(x), inputs])
    return keras.Model(inputs, outputs, name=name)


def decoder():
    return keras.Sequential(
        [
            keras.Input((8, 8, 6)),
            layers.Conv2D(9, 3, padding="same", name="convolution"),
            layers.Flatten(name="flatten"),
            layers.Dense(7, name="dense"),
        ],
        name="decoder",
    )


def low_rank(model, rank=1):
    """The same with kernels of this rank, so that nothing is lost."""
    distinct_weights(model)
    for seed, layer in enumerate(_kernel_layers(model)):
        method = "svd" if type(layer) is layers.Dense else "channel"
        give_rank(layer, method, rank, seed)
    return model


def _kernel_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _kernel_layers(layer)
        elif type(layer) in (layers.Dense, layers.Conv2D):
            yield layer


def nested():
    inputs = keras.Input((8, 8, 6))
    shared = encoder()
    x = shared(shared(inputs))
    return low_rank(keras.Model(inputs, decoder()(x), name="nested"))


def pictures(count=3, shape=(8, 8, 6), seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *shape)).astype("float32")


def test_models_inside_a_model_stay_models():
    model = nested()
    before = snapshot(model)
    smaller, report = factorize(model, {"rank": 1})
    assert_unchanged(model, before)
    x = pictures()
    np.testing.assert_allclose(
        predict(smaller, x), predict(model, x), atol=1e-3
    )
    assert [layer.name for layer in smaller.layers] == [
        layer.name for layer in model.layers
    ]
    inside = smaller.get_layer("encoder")
    assert [layer.name for layer in inside.layers][1:3] == [
        "convolution_reduce",
        "convolution",
    ]
    assert type(smaller.get_layer("decoder")) is keras.Sequential
    names = [layer.name for layer in smaller.get_layer("decoder").layers]
    assert names == [
        "convolution_reduce_1",
        "convolution",
        "flatten",
        "dense_reduce",
        "dense",
    ]
    rows = {row.name: row for row in report.layers}
    assert list(rows) == [
        "encoder/convolution",
        "decoder/convolution",
        "dense",
    ]
    # Called twice, so that its multiplications count twice.
    assert rows["encoder/convolution"].macs_before == 2 * 64 * 54 * 6
    assert rows["encoder/convolution"].macs_after == 2 * 64 * (54 + 6)
    assert report.macs_after == profile(smaller).macs
    assert report.parameters_after == smaller.count_params()


def test_a_layer_of_a_model_inside_is_named_by_its_path():
    config = {"layer_name_configs": {"encoder/*": {"rank": 1}, "*": None}}
    smaller, report = factorize(nested(), config)
    assert [row.name for row in report.factorized] == ["encoder/convolution"]
    assert "convolution_reduce" not in [
        layer.name for layer in smaller.get_layer("decoder").layers
    ]


def test_shared_layers_stay_shared():
    inputs = [keras.Input((8,)), keras.Input((8,))]
    shared = layers.Dense(10, name="shared")
    x = layers.Concatenate()([shared(inputs[0]), shared(inputs[1] * 2.0)])
    model = low_rank(keras.Model(inputs, layers.Dense(4, name="head")(x)))
    smaller, report = factorize(model, {"rank": 1})
    x = [pictures(3, (8,)), pictures(3, (8,), seed=2)]
    np.testing.assert_allclose(
        predict(smaller, x), predict(model, x), atol=1e-4
    )
    assert len(smaller.weights) == 6
    rows = {row.name: row for row in report.layers}
    assert rows["shared"].macs_before == 2 * 80
    assert rows["shared"].macs_after == 2 * 18


def test_a_sequential_model_stays_one():
    model = low_rank(decoder())
    smaller, _ = factorize(model, {"rank": 1})
    assert type(smaller) is keras.Sequential and smaller.name == "decoder"
    x = pictures()
    np.testing.assert_allclose(
        predict(smaller, x), predict(model, x), atol=1e-3
    )


def test_what_cannot_be_factorized_is_listed_with_the_reason():
    image = keras.Input((8, 8, 8))
    x = layers.Conv2D(8, 3, padding="same", groups=2, name="grouped")(image)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(9, 3, name="separable")(x)
    x = layers.Conv2DTranspose(8, 3, name="transposed")(x)
    x = layers.Reshape((6, 48))(x)
    x = layers.TimeDistributed(layers.Dense(20, name="each"), name="steps")(x)
    x = layers.MultiHeadAttention(2, 8, name="attention")(x, x)
    x = layers.GRU(12, name="recurrent")(x)
    x = layers.Dense(30, name="dense")(x)
    model = distinct_weights(keras.Model(image, x))
    smaller, report = factorize(model, {"energy": 0.5})
    assert [row.name for row in report.factorized] == ["dense"]
    reasons = report.skipped
    assert reasons["grouped"] == "works on 2 groups of channels apart"
    assert reasons["depthwise"] == "nothing is known for DepthwiseConv2D"
    assert reasons["separable"] == "nothing is known for SeparableConv2D"
    assert reasons["transposed"] == "nothing is known for Conv2DTranspose"
    assert reasons["steps/each"] == "inside of layer 'steps'"
    assert reasons["attention/query"] == "nothing is known for EinsumDense"
    assert reasons["recurrent/gru_cell"] == "nothing is known for GRUCell"
    assert set(reasons) | {"dense"} == {row.name for row in report.layers}
    assert smaller.get_layer("grouped").groups == 2
    assert report.macs_after == profile(smaller).macs


def test_a_model_at_every_time_step_is_left():
    frames = keras.Input((4, 8, 8, 6))
    x = layers.TimeDistributed(encoder(), name="steps")(frames)
    model = distinct_weights(keras.Model(frames, layers.Flatten()(x)))
    smaller, report = factorize(model, {"rank": 1})
    reason = "not called by the model itself, but at every time step"
    assert report.skipped == {"convolution": reason}
    assert smaller.count_params() == model.count_params()


def test_quantized_layers_are_left():
    model = keras.Sequential([keras.Input((20,)), layers.Dense(20, name="one")])
    model.layers[0].quantize("int8")
    _, report = factorize(model, {"rank": 1})
    assert report.skipped == {"one": "its kernel is quantized, or has adapters"}
    model = keras.Sequential([keras.Input((20,)), layers.Dense(20, name="one")])
    model.layers[0].enable_lora(2)
    _, report = factorize(model, {"rank": 1})
    assert report.skipped == {"one": "its kernel is quantized, or has adapters"}


def test_models_of_any_size():
    inputs = keras.Input((None, None, 6))
    x = layers.Conv2D(12, 3, name="one")(inputs)
    model = low_rank(keras.Model(inputs, layers.Conv2D(8, 3, name="two")(x)))
    smaller, report = factorize(model, {"rank": 1})
    assert report.macs_before is report.macs_after is None
    assert report.layers[0].macs_before is None
    assert str(report).splitlines()[-1].endswith("of parameters")
    x = pictures(2, (9, 7, 6))
    np.testing.assert_allclose(
        predict(smaller, x), predict(model, x), atol=1e-3
    )
    _, sized = factorize(model, {"rank": 1}, input_size=(9, 7))
    counted = profile(smaller, (9, 7)).macs
    assert sized.macs_after == counted
    _, halved = factorize(model, macs=0.5, input_size=(9, 7))
    assert halved.macs_after <= 0.5 * halved.macs_before
    with pytest.raises(ValueError, match=r"Pass `input_size=\(height, width\)"):
        factorize(model, macs=0.5)


def compiled(model):
    model.compile(
        keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy"
    )
    return model


METHODS = ["channel", "spatial", "tucker", "cp", "separable"]


@pytest.mark.parametrize("method", slow_but(METHODS, "channel", "separable"))
def test_the_result_is_saved_and_trains_on(method, tmp_path):
    model = compiled(classifier())
    config = {
        "layer_type_configs": {
            "Conv2D": {"method": method, "energy": 0.7},
            "Dense": {"energy": 0.7},
        },
        "layer_name_configs": {"hidden": {"method": "toeplitz", "rank": 2}},
    }
    smaller, report = factorize(model, config)
    assert len(report.factorized) == 5
    assert smaller.loss == model.loss  # Compiled as the original is.
    assert type(smaller.optimizer) is keras.optimizers.Adam
    smaller.optimizer.build(smaller.trainable_variables)
    x, y = images(16), np.arange(16) % 13
    smaller.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(predict(again, x), predict(smaller, x))
    before = again.get_weights()
    losses = [again.evaluate(x, y, verbose=0)]
    again.fit(x, y, epochs=3, verbose=0)
    losses.append(again.evaluate(x, y, verbose=0))
    assert losses[1] < losses[0]
    trainable = {id(w) for w in again.trainable_weights}
    for weight, old in zip(again.weights, before):
        if id(weight) in trainable:
            assert (keras.ops.convert_to_numpy(weight) != old).any()


def test_flags_of_the_model_are_kept():
    model = nested()
    model.get_layer("encoder").trainable = False
    smaller, _ = factorize(model, {"rank": 1})
    inside = smaller.get_layer("encoder")
    assert not inside.trainable and not inside.trainable_weights
    assert len(inside.weights) == 3
    assert smaller.get_layer("decoder").trainable


@pytest.mark.parametrize(
    "method", ["channel", "spatial", "tucker", "cp", "separable"]
)
def test_filters_of_the_result_are_pruned(method):
    config = {"layer_type_configs": {"Conv2D": {"method": method}}}
    config["global_config"] = {}
    smaller, _ = factorize(classifier(), config, macs=0.5)
    tiny = prune_filters(smaller, 0.25, round_to=1)
    assert tiny.count_params() < 0.9 * smaller.count_params()
    assert predict(tiny, images()).shape == (6, 13)
    # What is removed in front of a pointwise layer is what it does not hear.
    first = next(x for x in smaller.layers if "dilated" in x.name)
    if method in ("channel", "spatial", "tucker"):
        gone = remove_filters(smaller, {first.name: [0]})
        deaf = keras.models.clone_model(smaller)
        deaf.set_weights(smaller.get_weights())
        names = [layer.name for layer in smaller.layers]
        reader = deaf.get_layer(names[names.index(first.name) + 1])
        kernel = keras.ops.convert_to_numpy(reader.kernel)
        kernel[:, :, 0] = 0
        reader.kernel.assign(kernel)
        np.testing.assert_allclose(
            predict(gone, images()), predict(deaf, images()), atol=1e-5
        )


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="converts from TensorFlow"
)
@pytest.mark.parametrize("suffix", [".tflite", ".mlmodel", ".mlpackage"])
@pytest.mark.parametrize(
    "method", ["channel", "spatial", "tucker", "cp", "separable"]
)
def test_the_result_converts(method, suffix, tmp_path):
    from fritz_compress.convert import to_coreml, to_tflite

    config = {
        "layer_type_configs": {"Conv2D": {"method": method, "energy": 0.7}},
        "layer_name_configs": {"hidden": {"method": "toeplitz", "rank": 2}},
        "global_config": {"energy": 0.7},
    }
    smaller, report = factorize(classifier(), config)
    assert len(report.factorized) == 5
    write = to_tflite if suffix == ".tflite" else to_coreml
    converted = write(smaller, tmp_path / f"net{suffix}", samples=images())
    assert converted.psnr > 90
    rows = {row.name: row.kind for row in converted.layers}
    assert rows["hidden"] == "Dense"  # In place of Fourier transforms.
    plain = [name for name in rows if name.startswith("dilated")]
    assert len(plain) == len(
        [x for x in smaller.layers if x.name.startswith("dilated")]
    )
