"""Models that TimeDistributed runs at every time step."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from removal_oracle import assert_exact, difference, predict, samples

from fritz_compress import callbacks, surgery

FRAMES = (4, 6, 6, 3)


def encoder(name="encoder"):
    """Two convolutions, the second one added to a shortcut."""
    inputs = keras.Input(FRAMES[1:])
    x = layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    x = layers.BatchNormalization(name="normalization")(x)
    y = layers.Conv2D(8, 3, padding="same", name="second")(layers.ReLU()(x))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    return keras.Model(inputs, x, name=name)


def video(inner):
    inputs = keras.Input(FRAMES)
    x = layers.Conv3D(3, 1, name="before")(inputs)
    x = layers.TimeDistributed(inner, name="wrapped")(x)
    x = layers.LSTM(5, name="lstm")(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    return distinct_weights(model)


def test_filters_inside_go_with_their_readers_outside():
    model = video(encoder())
    groups = surgery.channel_groups(model)
    assert not groups.whole
    (group,) = groups.of("first")
    assert list(group.producers) == ["first", "second"]
    assert group.followers == ("normalization",)
    # The readers: the second convolution (weight 6 of the model at every time
    # step) and what runs over time.
    deaf = {"wrapped#6": (2, [1, 6]), "lstm": (0, [1, 6])}
    smaller = assert_exact(model, {"first": [1, 6]}, deaf)
    inner = smaller.get_layer("wrapped").layer
    assert inner.name == "encoder"
    assert inner.get_layer("second").filters == 6
    assert inner.output_shape == (None, 6)


def test_filters_outside_go_with_their_readers_inside():
    deaf = {"wrapped#0": (2, [0, 1])}
    smaller = assert_exact(video(encoder()), {"before": [0, 1]}, deaf)
    assert smaller.get_layer("wrapped").layer.input_shape == (None, 6, 6, 1)


def test_models_inside_the_model():
    inner = keras.Sequential(
        [keras.Input(FRAMES[1:]), encoder(), layers.Dense(6, name="dense")],
        name="outer",
    )
    smaller = assert_exact(
        video(inner), {"dense": [0, 3]}, {"lstm": (0, [0, 3])}
    )
    assert smaller.get_layer("wrapped").layer.get_layer("dense").units == 4
    deaf = {"wrapped#6": (2, [5]), "wrapped#8": (0, [5])}
    assert_exact(video(inner), {"second": [5]}, deaf)


def test_names_are_paths_where_layers_share_one():
    model = video(
        keras.Sequential(
            [keras.Input(FRAMES[1:]), layers.Flatten(), layers.Dense(6)]
        )
    )
    model.get_layer("wrapped").layer.layers[1].name = "head"
    groups = surgery.channel_groups(model)
    name = f"wrapped/{model.get_layer('wrapped').layer.name}/head"
    assert groups.of(name)[0].channels == 6


def test_a_model_that_is_called_twice():
    shared = layers.TimeDistributed(encoder(), name="wrapped")
    inputs = [keras.Input(FRAMES), keras.Input(FRAMES)]
    one, two = (
        layers.Conv3D(3, 1, name=name)(x) for name, x in zip("ab", inputs)
    )
    x = layers.Concatenate()([shared(one), shared(two)])
    x = layers.Dense(2, name="head")(x)
    model = distinct_weights(keras.Model(inputs, x))
    deaf = {"wrapped#0": (2, [1])}
    smaller = assert_exact(model, {"a": [1]}, deaf)
    assert smaller.get_layer("b").filters == 2
    deaf = {"wrapped#6": (2, [7]), "head": (0, [7, 15])}
    assert_exact(model, {"second": [7]}, deaf)


@pytest.mark.slow
def test_all_of_it_is_pruned_and_trained():
    model = video(encoder())
    model.compile("adam", "mse")
    smaller = surgery.prune_filters(model, 0.5, round_to=1, min_filters=2)
    inner = smaller.get_layer("wrapped").layer
    assert [inner.get_layer(n).filters for n in ("first", "second")] == [4, 4]
    x = samples(model, count=4)
    before = predict(smaller, x)
    smaller.fit(x, np.ones((4, 2)), verbose=0)
    assert difference(before, predict(smaller, x)) > 1e-3


@pytest.mark.parametrize("ignored", ["encoder", "wrapped"])
def test_they_can_be_left_alone(ignored):
    model = video(encoder())
    smaller = surgery.prune_filters(
        model, 0.5, round_to=1, min_filters=2, ignored_layers=[ignored]
    )
    assert smaller.get_layer("wrapped").layer.get_layer("first").filters == 8
    assert smaller.get_layer("lstm").units == 2


def test_every_kernel_is_masked_once():
    model = video(encoder())
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    pruning = callbacks.MagnitudePruning(0.5, frequency=1, end_step=2)
    x = samples(model, count=4)
    model.fit(x, np.ones((4, 2)), batch_size=1, verbose=0, callbacks=[pruning])
    for name in ("first", "second"):
        kernel = model.get_layer("wrapped").layer.get_layer(name).kernel
        zeros = np.mean(keras.ops.convert_to_numpy(kernel) == 0)
        assert zeros == pytest.approx(0.5, abs=0.01)


def test_zeroed_filters_are_removed():
    model = video(encoder())
    inner = model.get_layer("wrapped").layer
    for weight in (*inner.weights[:5], *inner.weights[6:]):
        value = keras.ops.convert_to_numpy(weight).copy()
        value[..., [2, 3]] = 0
        weight.assign(value)
    smaller = surgery.remove_pruned_filters(model)
    assert smaller.get_layer("wrapped").layer.get_layer("first").filters == 6
    x = samples(model)
    assert difference(predict(model, x), predict(smaller, x)) < 1e-5
