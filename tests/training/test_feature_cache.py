import keras
import numpy as np
import pytest
import tensorflow as tf
from fits import JIT
from helpers import distinct_weights
from keras import layers, ops
from PIL import Image

from fritz_compress.training import cache_features, join_head


def network(*more, frozen=True, name="base"):
    inputs = keras.Input((16, 12, 3))
    x = layers.Conv2D(5, 3, 2, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    for layer in more:
        x = layer(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = distinct_weights(keras.Model(inputs, x, name=name))
    model.trainable = not frozen
    return model


@pytest.fixture(name="images")
def some_images():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 16, 12, 3)).astype("float32"), np.arange(20) % 4


@pytest.fixture(name="flowers")
def folder_of_flowers(tmp_path):
    """Two classes, three photos, of other sizes."""
    rng = np.random.default_rng(0)
    for name in ("roses/b.png", "daisies/a.png", "roses/a.png"):
        path = tmp_path / "flowers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (20, 30, 3), dtype="uint8")
        Image.fromarray(pixels).save(path)
    return tmp_path / "flowers"


def test_features_and_labels_are_those_of_the_base(images, tmp_path):
    base = network()
    cache = cache_features(base, images[0], tmp_path / "f", images[1])
    expected = base.predict(images[0], verbose=0)
    np.testing.assert_allclose(cache.features, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cache.labels, images[1])
    assert (cache.count, cache.feature_shape) == (20, (5,))
    dataset = cache.dataset(batch_size=6, shuffle=False)
    assert len(dataset) == 4
    x, y = dataset[3]
    np.testing.assert_array_equal(x, cache.features[18:])
    np.testing.assert_array_equal(y, images[1][18:])


@pytest.mark.slow
def test_a_head_is_trained_and_joined(images, tmp_path):
    base = network()
    cache = cache_features(base, images[0], tmp_path / "f", images[1])
    head = keras.Sequential(
        [
            keras.Input(cache.feature_shape),
            layers.Dropout(0.1),
            layers.Dense(4, activation="softmax"),
        ]
    )
    head.compile(
        keras.optimizers.Adam(0.1),
        "sparse_categorical_crossentropy",
        jit_compile=JIT,
    )
    train, held_out = np.arange(15), np.arange(15, 20)
    history = head.fit(
        cache.dataset(5, indices=train),
        validation_data=cache.dataset(5, indices=held_out),
        epochs=10,
        verbose=0,
    ).history
    assert history["loss"][-1] < history["loss"][0]
    whole = join_head(base, head, name="flowers")
    np.testing.assert_allclose(
        whole.predict(images[0], verbose=0),
        head.predict(cache.features, verbose=0),
        rtol=1e-3,
        atol=1e-5,
    )
    whole.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras")
    np.testing.assert_allclose(again(images[0]), whole(images[0]), rtol=1e-5)
    assert again.name == "flowers"


def test_a_joined_base_stays_as_it_was_cached(images, tmp_path):
    base = network()
    cache = cache_features(base, images[0], tmp_path / "f", images[1])
    head = keras.Sequential([keras.Input((5,)), layers.Dense(4)])
    whole = join_head(base, head)
    whole.compile("sgd", "mse", jit_compile=JIT)
    whole.fit(images[0], np.eye(4)[images[1]], verbose=0)
    again = cache_features(base, images[0], tmp_path / "f", images[1])
    np.testing.assert_array_equal(cache.features, again.features)
    np.testing.assert_allclose(
        whole(images[0], training=True),
        head(cache.features),
        rtol=1e-3,
        atol=1e-5,
    )


def test_sequential_bases_are_joined(images, tmp_path):
    base = keras.Sequential(
        [keras.Input((16, 12, 3)), layers.AveragePooling2D(4), layers.Flatten()]
    )
    cache = cache_features(base, images[0], tmp_path / "f", images[1])
    head = keras.Sequential([keras.Input((36,)), layers.Dense(4)])
    whole = join_head(base, head)
    np.testing.assert_allclose(
        whole(images[0]), head(cache.features), rtol=1e-3, atol=1e-5
    )


def test_bases_that_change_in_training_are_refused(images, tmp_path):
    moving = network(frozen=False)
    before = [np.array(weight) for weight in moving.weights]
    with pytest.raises(
        ValueError, match="'base' computes something else.*Received: norm. Fr"
    ):
        cache_features(moving, *images[:1], tmp_path / "f")
    for weight, old in zip(moving.weights, before):
        np.testing.assert_array_equal(weight, old)
    dropping = network(layers.Dropout(0.5, name="drop", seed=0))
    with pytest.raises(ValueError, match="Received: drop. Freeze.*without dr"):
        cache_features(dropping, images[0], tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_photos_in_folders_of_their_class(flowers, tmp_path):
    base = network()
    cache = cache_features(
        base, flowers, tmp_path / "f", preprocess=lambda pixels: pixels / 255
    )
    assert cache.class_names == ("daisies", "roses")
    np.testing.assert_array_equal(cache.labels, [0, 1, 1])
    photo = Image.open(flowers / "roses" / "b.png").resize((12, 16))
    pixels = np.asarray(photo, "float32")[None] / 255
    np.testing.assert_allclose(
        cache.features[2:], base(pixels), rtol=1e-4, atol=1e-5
    )


def test_photos_that_changed_are_refused(flowers, tmp_path):
    def halved(pixels):
        return pixels / 2

    base = network()
    cache_features(base, flowers, tmp_path / "f", preprocess=halved)
    cache_features(base, flowers, tmp_path / "f", preprocess=halved)
    with pytest.raises(ValueError, match="samples 0 to 2 are others"):
        cache_features(base, flowers, tmp_path / "f")
    (flowers / "roses" / "b.png").rename(flowers / "roses" / "c.png")
    with pytest.raises(ValueError, match="samples 0 to 2 are others"):
        cache_features(base, flowers, tmp_path / "f", preprocess=halved)


def test_photos_without_classes(flowers, tmp_path):
    cache = cache_features(network(), flowers / "roses", tmp_path / "f")
    assert (cache.labels, cache.class_names) == (None, ())
    (features,) = cache.dataset()[0]
    assert features.shape == (2, 5)


def test_bases_of_any_size_need_one(flowers, tmp_path):
    inputs = keras.Input((None, None, 3))
    base = keras.Model(inputs, ops.mean(inputs, (1, 2)), name="mean")
    with pytest.raises(ValueError, match="'mean' takes images of any size"):
        cache_features(base, flowers, tmp_path / "f")
    cache = cache_features(base, flowers, tmp_path / "f", image_size=(20, 30))
    pixels = np.asarray(Image.open(flowers / "daisies" / "a.png"), "float32")
    np.testing.assert_allclose(
        cache.features[0], pixels.mean((0, 1)), rtol=1e-4
    )


def test_data_sets_bring_their_labels(images, tmp_path):
    batches = tf.data.Dataset.from_tensor_slices(images).batch(6)
    cache = cache_features(network(), batches, tmp_path / "f", chunk_size=8)
    np.testing.assert_array_equal(cache.labels, images[1])
    assert len(list((tmp_path / "f").glob("*.npz"))) == 3


def test_files_that_are_no_photos_are_named(flowers, tmp_path):
    (flowers / "roses" / "c.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="c.png' is not a picture that can be"):
        cache_features(network(), flowers, tmp_path / "f")
    with pytest.raises(ValueError, match="No folder of photos at"):
        cache_features(network(), tmp_path / "missing", tmp_path / "f")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="No photo was found.*empty.*.jpg"):
        cache_features(network(), tmp_path / "empty", tmp_path / "f")
    Image.new("RGB", (4, 4)).save(flowers / "loose.png")
    with pytest.raises(ValueError, match="Received: 'loose.png' beside fold"):
        cache_features(network(), flowers, tmp_path / "f")


def test_wrong_arguments_are_refused(images, flowers, tmp_path):
    base, folder = network(), tmp_path / "f"
    with pytest.raises(TypeError, match="`base` must be a Keras model"):
        cache_features("base.keras", images[0], folder)
    two = keras.Model(base.input, [base.output, base.output], name="two")
    with pytest.raises(ValueError, match="one output. Received: 'two' with 2"):
        cache_features(two, images[0], folder)
    with pytest.raises(ValueError, match="`image_size` are for a folder"):
        cache_features(base, images[0], folder, image_size=(4, 4))
    with pytest.raises(ValueError, match="Received: `labels` beside"):
        cache_features(base, flowers, folder, images[1])
    cache = cache_features(base, images[0], folder)
    with pytest.raises(ValueError, match="from 0 to 19. Received: 3 to 20"):
        cache.dataset(indices=[3, 20])
    with pytest.raises(ValueError, match=r"Received: an array of shape \(0,\)"):
        cache.dataset(indices=[])
    with pytest.raises(ValueError, match="`seed` must be at least 0"):
        cache.dataset(seed=-1)
    head = keras.Sequential([keras.Input((7,)), layers.Dense(2)], name="head")
    with pytest.raises(
        ValueError, match=r"'head' must take.*shape \(5,\).*for \(7,\)"
    ):
        join_head(base, head)
    with pytest.raises(TypeError, match="`head` must be a Keras model"):
        join_head(base, None)
