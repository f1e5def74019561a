"""Flip rates, and layers that turn binary in turn."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress import callbacks, layers


def model_of_three():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    for name in ("first", "second"):
        x = keras.layers.BatchNormalization()(x)
        x = layers.BinaryConv2D(8, 3, padding="same", name=name)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="last")(x))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return distinct_weights(model)


def data(count=64):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, 6, 6, 3)).astype("float32")
    return images, rng.normal(size=(count, 2)).astype("float32")


def fit(model, *which, epochs=3, **arguments):
    return model.fit(
        *data(),
        epochs=epochs,
        batch_size=16,
        verbose=0,
        callbacks=list(which),
        **arguments,
    )


class Latent(keras.callbacks.Callback):
    """Keeps the latent kernels, at the start and after each epoch."""

    def on_train_begin(self, logs=None):
        self.kernels = [self.read()]

    def on_epoch_end(self, epoch, logs=None):
        self.kernels.append(self.read())

    def read(self):
        names = ("first", "second")
        model = self.model
        return {
            n: keras.ops.convert_to_numpy(model.get_layer(n).kernel) >= 0
            for n in names
        }


def test_the_flip_rate_is_the_share_of_signs_that_changed():
    flips, latent = callbacks.FlipRate(), Latent()
    history = fit(model_of_three(), flips, latent).history
    for epoch, (old, new) in enumerate(zip(latent.kernels, latent.kernels[1:])):
        changed = [old[name] != new[name] for name in old]
        flipped = sum(map(np.sum, changed)) / sum(x.size for x in changed)
        assert history["flip_rate"][epoch] == pytest.approx(flipped, abs=1e-9)
        assert flipped > 0
    assert flips.by_layer == {
        name: pytest.approx(np.mean(old[name] != new[name])) for name in old
    }


def test_nothing_flips_where_nothing_is_learned():
    model = model_of_three()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = fit(model, callbacks.FlipRate(), epochs=2).history
    assert history["flip_rate"] == [0, 0]


class Switches(keras.callbacks.Callback):
    """Keeps which switches are on in each epoch, and the loss of a batch."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.seen.append(state(self.model))


def state(model):
    return [
        getattr(model.get_layer(name), switch)
        for name in ("first", "second")
        for switch in ("quantizes_kernel", "quantizes_inputs")
    ]


@pytest.mark.parametrize(
    "order, expected",
    [
        ("layers", ["0000", "1100", "1100", "1111", "1111"]),
        ("weights_first", ["0000", "1010", "1010", "1111", "1111"]),
    ],
)
def test_layers_turn_binary_in_order(order, expected):
    gradual = callbacks.GradualBinarization(5, order, begin_epoch=1)
    switches = Switches()
    history = fit(model_of_three(), gradual, switches, epochs=5).history
    seen = ["".join("01"[on] for on in epoch) for epoch in switches.seen]
    assert seen == expected
    assert history["binary_fraction"] == [0, 0.5, 0.5, 1, 1]


def test_the_switches_are_what_is_trained():
    """A float step equals that of plain layers with the same weights."""
    model = model_of_three()
    plain = keras.models.clone_model(
        model,
        clone_function=lambda layer: (
            keras.layers.Conv2D(8, 3, padding="same", name=layer.name)
            if isinstance(layer, layers.BinaryConv2D)
            else layer.__class__.from_config(layer.get_config())
        ),
    )
    plain.set_weights(model.get_weights())
    plain.compile(keras.optimizers.Adam(0.01), "mse")
    gradual = callbacks.GradualBinarization(4, begin_epoch=2)
    first = fit(model, gradual, epochs=1, shuffle=False).history["loss"]
    assert first == pytest.approx(
        fit(plain, epochs=1, shuffle=False).history["loss"], rel=1e-4
    )
    assert state(model) == [True] * 4


def test_all_are_binary_after_training_and_in_what_was_compiled():
    model = model_of_three()
    images, _ = data()
    model.predict(images, verbose=0)
    fit(model, callbacks.GradualBinarization(9, begin_epoch=8), epochs=2)
    assert state(model) == [True] * 4
    np.testing.assert_allclose(
        model.predict(images, verbose=0), model(images), atol=1e-5
    )


@pytest.mark.slow
def test_a_callback_serves_several_fits():
    gradual = callbacks.GradualBinarization(2, begin_epoch=1)
    for _ in range(2):
        switches = Switches()
        fit(model_of_three(), gradual, switches, epochs=2)
        assert switches.seen == [[False] * 4, [True] * 4]


def test_no_binary_layers():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3)), np.ones((4, 2))
    for callback in (callbacks.FlipRate(), callbacks.GradualBinarization(2)):
        with pytest.raises(
            ValueError, match="must have binary layers.*`binari"
        ):
            model.fit(x, y, verbose=0, callbacks=[callback])


def test_the_rules_of_the_trade_are_warnings():
    inputs = keras.Input((6, 6, 3))
    x = layers.BinaryConv2D(4, 3, name="entrance")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="'entrance'") as caught:
        fit(model, callbacks.FlipRate(), epochs=1)
    texts = [str(warning.message) for warning in caught]
    assert any("first layer is binary" in text for text in texts)
    assert any("no normalization" in text for text in texts)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ((0,), "`end_epoch` must be at least 1"),
        ((3, "kernels"), r"`order` must be one of \['layers', 'weights_f"),
        ((3, "layers", 3), "begin_epoch < end_epoch.*begin_epoch=3, end_ep"),
    ],
)
def test_bad_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        callbacks.GradualBinarization(*arguments)
