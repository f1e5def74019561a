"""Models come back from their files bit by bit, and small ones."""

import json
import pathlib
import zlib
from importlib import resources

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from storage_models import (
    arrays,
    config_of,
    pruned,
    same_weights,
    signed,
    small_model,
)

from fritz_compress import load_compressed, save_compressed
from fritz_compress.models import SmallStyleTransferNetwork


def shared_layers():
    left, right = keras.Input((5,)), keras.Input((5,))
    dense = layers.Dense(4)
    tower = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    both = layers.Concatenate()([tower(dense(left)), tower(dense(right))])
    return keras.Model([left, right], both)


def mixed_precision():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, dtype="mixed_bfloat16"),
            layers.BatchNormalization(dtype="float16"),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3, dtype="bfloat16"),
        ]
    )


def residual():
    image = keras.Input((None, None, 3))
    x = layers.SeparableConv2D(6, 3, padding="same")(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.UpSampling2D()(keras.ops.relu(x + y) * 2.0)
    return keras.Model(image, layers.GlobalAveragePooling2D()(x))


def recurrent():
    words = keras.Input((7,), dtype="int32")
    x = layers.Embedding(20, 6)(words)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.TimeDistributed(layers.Dense(3))(x)
    return keras.Model(words, layers.LayerNormalization()(x))


def quantized_dense():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    model.layers[0].quantize("int8")
    return model


MODELS = [
    *(small_model, shared_layers, mixed_precision, residual, recurrent),
    *(quantized_dense, lambda: SmallStyleTransferNetwork.build(None, 0.13)),
]
IDS = [
    *("small", "shared", "mixed", "residual", "recurrent"),
    *("quantized", "style"),
]


@pytest.mark.parametrize("build", MODELS, ids=IDS)
def test_models_come_back(build, tmp_path):
    model = build()
    if build not in (small_model, quantized_dense):
        distinct_weights(model)
    before = arrays(model)
    report = save_compressed(model, tmp_path / "model.fcz")
    loaded = load_compressed(tmp_path / "model.fcz")
    assert same_weights(model, loaded)
    assert [w.name for w in loaded.weights] == [w.name for w in model.weights]
    assert config_of(loaded) == config_of(model)
    assert [w.path for w in report.weights] == [w.path for w in model.weights]
    assert report.file_bytes == (tmp_path / "model.fcz").stat().st_size
    assert not loaded.compiled
    # The model that was given is as it was.
    assert all((a == b).all() for a, b in zip(before, arrays(model)))


def test_a_loaded_model_predicts_the_same_and_trains(tmp_path):
    model = small_model()
    save_compressed(model, tmp_path / "small.fcz")
    loaded = load_compressed(tmp_path / "small.fcz")
    images = np.random.default_rng(0).normal(size=(4, 6, 6, 1))
    expected = model.predict(images, verbose=0)
    assert (loaded.predict(images, verbose=0) == expected).all()
    loaded.compile("sgd", "mse")
    loaded.fit(images, np.zeros((4, 10)), verbose=0)
    assert not same_weights(model, loaded)


def test_layers_that_derive_state_from_weights_have_it(tmp_path):
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)))
    model = keras.Sequential([keras.Input((4,)), normalization])
    save_compressed(model, tmp_path / "model.fcz")
    loaded = load_compressed(tmp_path / "model.fcz")
    values = np.random.default_rng(1).normal(size=(3, 4))
    expected = model.predict(values, verbose=0)
    assert (loaded.predict(values, verbose=0) == expected).all()


def test_unusual_numbers_survive(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(50)])
    kernel = np.zeros((4, 50), "float32")
    kernel.view("uint32")[0, :4] = 0x80000000, 0x7F800000, 0xFF800001, 1
    model.layers[0].kernel.assign(kernel)
    (stored,) = arrays(model)[:1]
    assert np.signbit(stored[0, 0]) and np.isnan(stored[0, 2])
    save_compressed(model, tmp_path / "model.fcz")
    assert same_weights(model, load_compressed(tmp_path / "model.fcz"))


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a.fcz", "b.fcz"):
        save_compressed(small_model(), tmp_path / name)
    a, b = (tmp_path / name for name in ("a.fcz", "b.fcz"))
    assert a.read_bytes() == b.read_bytes()


def varint(data):
    value = shift = 0
    while True:
        byte, *data = data
        value += (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, bytes(data)


def test_a_file_is_laid_out_as_described(tmp_path):
    """Read by hand, up to the coded numbers."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    model.layers[0].kernel.assign([[1.5, 0.1, -7], [2, 3e-9, 11]])
    file = tmp_path / "model.fcz"
    report = save_compressed(model, file)
    data = file.read_bytes()
    assert data[:4] == b"FCZ\1" and data == signed(data)
    length, rest = varint(data[12:])
    deflated, rest = varint(rest)
    assert deflated == report.architecture_bytes < 100
    folder = resources.files("fritz_compress.storage")
    words = folder.joinpath("architecture_words_1.txt").read_bytes()
    inflater = zlib.decompressobj(wbits=-15, zdict=words)
    text = inflater.decompress(rest[:deflated])
    assert len(text) == length and json.loads(text) == config_of(model)
    count, rest = varint(rest[deflated:])
    assert count == 2
    # float32, all numbers as they are, 2 axes of 2 and 3, 24 bytes.
    assert rest[:6] == bytes([0, 0, 2, 2, 3, 24])
    # Zeros: float32, all left out by gaps, with no planes; 1 axis of 3.
    assert rest[6:11] == bytes([0, 16, 1, 3, 2])
    kernel = np.frombuffer(rest[11:35], "<f4")
    assert (kernel == arrays(model)[0].reshape(-1)).all()
    assert rest[35:] == bytes(2)


def test_the_words_of_the_format_never_change():
    """A change makes every file unreadable that was written before."""
    folder = resources.files("fritz_compress.storage")
    words = folder.joinpath("architecture_words_1.txt").read_bytes()
    assert (len(words), zlib.crc32(words)) == (25518, 2593781818)


def test_a_file_of_the_first_release_is_read():
    """Of the other backend too: this one was written by TensorFlow."""
    file = pathlib.Path(__file__).with_name("small_version_1.fcz")
    loaded = load_compressed(file)
    assert same_weights(small_model(), loaded)


def test_the_report_counts_what_is_in_the_file(tmp_path):
    model = keras.Sequential([keras.Input((300,)), layers.Dense(100)])
    kernel = pruned((300, 100))
    model.layers[0].kernel.assign(kernel)
    report = save_compressed(model, tmp_path / "model.fcz")
    first, bias = report.weights
    assert first.encoding.endswith("codebook") and first.nbits == 4
    assert first.nonzero == np.count_nonzero(kernel)
    assert (first.size, first.shape) == (30_000, (300, 100))
    # Positions and codes, each number by itself: what coding can not beat.
    p = first.nonzero / first.size
    positions = -first.size * (p * np.log2(p) + (1 - p) * np.log2(1 - p)) / 8
    shares = np.unique(kernel[kernel != 0], return_counts=True)[1]
    shares = shares / first.nonzero
    codes = -first.nonzero * (shares @ np.log2(shares)) / 8
    assert first.entropy_bytes == pytest.approx(positions + codes, rel=0.01)
    assert first.bytes <= 1.03 * first.entropy_bytes + 16 * 4
    assert first.bits_per_number == 8 * first.bytes / 30_000
    assert (bias.encoding, bias.nonzero) == ("gaps + raw", 0)
    assert report.float32_bytes == 4 * 30_100
    assert report.ratio == report.float32_bytes / report.file_bytes
    text = str(report)
    assert "300x100" in text and f"{report.file_bytes:,} bytes" in text


def test_a_network_without_its_zeros_is_small(tmp_path):
    """266,610 weights, 8% of them not zero, of 31 kinds: 35 times smaller."""
    model = keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(300, activation="relu"),
            layers.Dense(100, activation="relu"),
            layers.Dense(10),
        ]
    )
    for layer in model.layers:
        layer.kernel.assign(pruned(layer.kernel.shape, 0.08, 31))
    report = save_compressed(model, tmp_path / "model.fcz")
    assert report.architecture_bytes < 120
    assert report.weight_bytes < 1.02 * sum(
        weight.entropy_bytes for weight in report.weights
    )
    assert report.ratio > 35


@keras.saving.register_keras_serializable("somebody")
class Doubling(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


@pytest.mark.parametrize("name", ["Doubling", "somebody>Doubling"])
def test_classes_of_others_are_passed(name, tmp_path):
    model = keras.Sequential([keras.Input((4,)), Doubling()])
    file = tmp_path / "model.fcz"
    with pytest.raises(ValueError, match="could not be loaded again: its arch"):
        save_compressed(model, file)
    save_compressed(model, file, custom_objects={name: Doubling})
    with pytest.raises(ValueError, match="needs the class 'somebody>Doubling'"):
        load_compressed(file)
    loaded = load_compressed(file, custom_objects={name: Doubling})
    assert type(loaded.layers[0]) is Doubling


def test_python_code_is_loaded_by_those_who_trust_it(tmp_path):
    def double(x):
        return 2 * x

    model = keras.Sequential([keras.Input((4,)), layers.Lambda(double)])
    file, objects = tmp_path / "model.fcz", {"double": double}
    save_compressed(model, file, objects)
    with pytest.raises(ValueError, match="has Python code in it"):
        load_compressed(file, objects)
    loaded = load_compressed(file, objects, safe_mode=False)
    assert (loaded.predict(np.ones((1, 4)), verbose=0) == 2).all()


class Counting(layers.Layer):
    def save_own_variables(self, store):
        store["count"] = np.array(3)


REFUSED = {
    "has a vocabulary": lambda: layers.StringLookup(vocabulary=["a"]),
    "stores more than weights, in its `save_own_variables`": Counting,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_more_than_weights_is_refused(reason, tmp_path):
    layer = REFUSED[reason]()
    dtype = "string" if "vocabulary" in reason else None
    model = keras.Sequential([keras.Input((1,), dtype=dtype), layer])
    with pytest.raises(ValueError, match=reason):
        save_compressed(model, tmp_path / "model.fcz")
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_refused(tmp_path):
    file = tmp_path / "model.fcz"
    with pytest.raises(TypeError, match="must be a Keras model"):
        save_compressed("model.keras", file)
    with pytest.raises(ValueError, match="must be built"):
        save_compressed(keras.Sequential([layers.Dense(3)]), file)
    with pytest.raises(ValueError, match=r"ends with .fcz. Received"):
        save_compressed(small_model(), tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"ends with .fcz. Received"):
        load_compressed(tmp_path / "model.keras")
    with pytest.raises(FileNotFoundError):
        load_compressed(file)
    with pytest.raises(ValueError, match="folder of .* does not exist"):
        save_compressed(small_model(), tmp_path / "missing" / "model.fcz")
    assert not list(tmp_path.iterdir())
