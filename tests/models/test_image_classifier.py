"""What all builders of classifiers share: inputs, heads, weights, errors."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress import models
from fritz_compress.models import ImageClassifier
from fritz_compress.models.widths import scaled


class Tiny(ImageClassifier):
    """One convolution of eight filters."""

    smallest = 4

    @classmethod
    def features(cls, x, alpha, depth=1):
        filters = scaled(8, alpha, "stem")
        for number in range(depth):
            x = cls.convolution(x, filters, 3, 2, name=f"stem_{number}")
        return x


class Flat(Tiny):
    flattens = True

    @classmethod
    def top(cls, x, alpha, classes, activation):
        x = keras.layers.Flatten()(x)
        return cls.predictions(x, classes, activation)


# Every builder with a cheap network, and the smallest side that it takes.
NETWORKS = {
    "MobileNetV1": ({"alpha": 0.1}, 31),
    "MobileNetV2": ({"alpha": 0.1}, 1),
    "ShuffleNetV1": ({"alpha": 0.1}, 1),
    "ShuffleNetV2": ({"alpha": 0.1}, 1),
    "SqueezeNet": ({"alpha": 0.1}, 21),
    "CifarResNet": ({"alpha": 0.1, "depth": 8}, 1),
    "VGG16": ({"alpha": 0.02}, 32),
    "CifarVGG16": ({"alpha": 0.02}, 32),
    "LeNet5": ({"alpha": 0.1}, 16),
    "LeNet300100": ({"alpha": 0.1}, 1),
}


def values(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


@pytest.mark.parametrize("name", NETWORKS)
def test_probabilities_at_the_smallest_size_saved_and_loaded(name, tmp_path):
    options, side = NETWORKS[name]
    builder = getattr(models, name)
    model = distinct_weights(builder.build((side, side), classes=3, **options))
    channels = model.input_shape[-1]
    assert channels == (1 if name.startswith("LeNet") else 3)
    x = np.random.default_rng(0).normal(size=(2, side, side, channels))
    probabilities = values(model, x)
    assert probabilities.shape == (2, 3) and not model.compiled
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(values(loaded, x), probabilities)


@pytest.mark.parametrize(
    "name", [name for name, (_, side) in NETWORKS.items() if side > 1]
)
def test_smaller_pictures_do_not_pass(name):
    options, side = NETWORKS[name]
    builder = getattr(models, name)
    size = (side + 3, side - 1)
    with pytest.raises(
        ValueError,
        match=rf"Pictures of {name} must be at least {side}x{side}. Received: "
        rf"\({side + 3}, {side - 1}\)",
    ):
        builder.build(size, **options)
    # And rightly so: the layers themselves do not let them through.
    unchecked = type(name, (builder,), {"smallest": 1})
    with pytest.raises(ValueError):
        unchecked.build(size, **options)


@pytest.mark.parametrize(
    "name", [n for n in NETWORKS if "VGG" not in n and "LeNet" not in n]
)
def test_any_size(name):
    options, side = NETWORKS[name]
    builder = getattr(models, name)
    model = distinct_weights(builder.build(None, classes=3, **options))
    assert model.input_shape == (None, None, None, 3)
    side = max(side, 31)
    x = np.random.default_rng(0).normal(size=(1, side, side + 1, 3))
    fixed = builder.build((side, side + 1), classes=3, **options)
    fixed.set_weights(model.get_weights())
    np.testing.assert_allclose(values(model, x), values(fixed, x), rtol=1e-5)


def test_logits_have_no_activation():
    options = {"image_size": (8, 8), "classes": 3}
    model = distinct_weights(Tiny.build(**options))
    logits = Tiny.build(**options, classifier_activation=None)
    logits.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    powers = np.exp(values(logits, x))
    np.testing.assert_allclose(
        values(model, x), powers / powers.sum(axis=1, keepdims=True), rtol=1e-5
    )


def test_features_are_what_comes_before_the_head():
    model = distinct_weights(Tiny.build((8, 8), classes=3))
    features = Tiny.build((8, 8), include_top=False)
    assert features.output_shape == (None, 4, 4, 8)
    features.set_weights(model.get_weights()[:-2])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    kernel, bias = model.get_weights()[-2:]
    logits = values(features, x).mean(axis=(1, 2)) @ kernel + bias
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    np.testing.assert_allclose(values(model, x), expected, rtol=1e-5)


def test_a_network_is_built_on_a_tensor():
    pictures = keras.Input((8, 8, 2), name="pictures")
    doubled = keras.layers.Rescaling(2.0)(pictures)
    model = distinct_weights(Tiny.build(input_tensor=doubled, classes=3))
    assert model.inputs[0] is pictures
    plain = Tiny.build((8, 8), classes=3, channels=2)
    plain.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 2))
    np.testing.assert_allclose(
        values(model, x), values(plain, 2 * x), rtol=1e-5
    )


def test_names():
    assert Tiny.build((8, 8)).name == "tiny"
    assert models.LeNet5.build(alpha=0.1).name == "le_net5"
    assert models.VGG16.build((32, 32), 0.02).name == "vgg16"
    assert models.CifarVGG16.build(alpha=0.02).name == "cifar_vgg16"


def test_options_reach_the_features():
    assert Tiny.build((8, 8), include_top=False, depth=3).output_shape[1:3] == (
        1,
        1,
    )
    with pytest.raises(TypeError, match="unexpected keyword argument 'detph'"):
        Tiny.build((8, 8), detph=3)


def test_a_base_without_features_says_so():
    with pytest.raises(
        NotImplementedError, match="ImageClassifier must define `features"
    ):
        ImageClassifier.build()


def test_channels_first_is_refused(monkeypatch):
    monkeypatch.setattr(
        keras.config, "image_data_format", lambda: "channels_first"
    )
    with pytest.raises(ValueError, match="channels last.*'channels_first'"):
        Tiny.build((8, 8))


@pytest.mark.parametrize(
    "builder, arguments, error, message",
    [
        (Tiny, {"alpha": 0.1}, ValueError, r"'stem' int\(0.1 \* 8\) = 0.*1/8"),
        (Tiny, {"alpha": -1}, ValueError, "positive. Received: alpha=-1"),
        (Tiny, {"alpha": None}, ValueError, "positive. Received: alpha=None"),
        (Tiny, {"image_size": (3, 8)}, ValueError, r"least 4x4.*\(3, 8\)"),
        (Tiny, {"image_size": (0, 8)}, ValueError, r"positive.*\(0, 8\)"),
        (Tiny, {"image_size": 8}, ValueError, "two whole numbers.*: 8"),
        (Tiny, {"image_size": (8, 8.5)}, ValueError, "two whole numbers"),
        (Tiny, {"image_size": "8x8"}, ValueError, "two whole numbers"),
        (Tiny, {"classes": 0}, ValueError, "`classes` must be at least 1"),
        (Tiny, {"classes": 2.5}, TypeError, "`classes` must be a whole"),
        (Tiny, {"channels": 0}, ValueError, "`channels` must be at least 1"),
        (Tiny, {"channels": True}, TypeError, "`channels` must be a whole"),
        (
            Tiny,
            {"input_tensor": keras.Input((8, 8, 2)), "channels": 3},
            ValueError,
            r"pictures of shape \(batch, height, width, 3\). .*8, 8, 2\)",
        ),
        (
            Tiny,
            {"input_tensor": keras.Input((8, 8, None))},
            ValueError,
            r"height, width, channels\). Received: .*8, 8, None\)",
        ),
        (
            Tiny,
            {"input_tensor": np.ones((1, 8, 8, 3))},
            ValueError,
            "symbolic Keras tensor.*Received: ndarray",
        ),
        (
            Flat,
            {"image_size": None},
            ValueError,
            r"head of Flat needs pictures of one size.*\(None, None\)",
        ),
        (
            models.LeNet5,
            {"image_size": None},
            ValueError,
            "head of LeNet5 needs pictures of one size",
        ),
        (
            models.VGG16,
            {"alpha": 0.01},
            ValueError,
            r"'block1_conv1' int\(0.01 \* 64\) = 0.*alpha=1/64",
        ),
        (
            models.LeNet300100,
            {"alpha": 0.001},
            ValueError,
            r"'ip1' int\(0.001 \* 300\) = 0",
        ),
    ],
)
def test_errors_say_what_was_expected(builder, arguments, error, message):
    with pytest.raises(error, match=message):
        builder.build(**{"image_size": (32, 32), **arguments})


def test_without_a_head_any_size_is_fine():
    assert Flat.build(None, include_top=False).output_shape == (
        *[None] * 3,
        8,
    )


def test_weights_come_from_a_file_of_this_network_alone(tmp_path):
    model = distinct_weights(Tiny.build((8, 8), classes=3))
    model.save_weights(tmp_path / "tiny.weights.h5")
    again = Tiny.build(
        (8, 8), classes=3, checkpoint_file=tmp_path / "tiny.weights.h5"
    )
    for wanted, weight in zip(model.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(weight, wanted)
    for options in ({"classes": 4}, {"alpha": 0.5}, {"depth": 2}):
        options = {"image_size": (8, 8), "classes": 3, **options}
        with pytest.raises(
            ValueError, match="tiny.weights.h5' does not hold the weights of"
        ):
            Tiny.build(**options, checkpoint_file=tmp_path / "tiny.weights.h5")
    with pytest.raises(ValueError, match="No checkpoint file at"):
        Tiny.build((8, 8), checkpoint_file="missing.npz")
