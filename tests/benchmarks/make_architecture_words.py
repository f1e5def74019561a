"""Writes the words that deflate knows before it reads an architecture.

    python tests/benchmarks/make_architecture_words.py words.txt

They are configurations of the usual layers, the commonest last, as deflate
points back to near ones in fewer bits. The file in the package was made so on
2026-11-22 with Keras 3.15.1. It belongs to version 1 of the format and never
changes: another one would need another version.
"""

import argparse
import json
import pathlib
import zlib

import keras
from keras import layers

from fritz_compress.layers import (
    DeprocessStylizedImage,
    InstanceNormalization,
)
from fritz_compress.storage.architecture import to_text

LARGEST = 2**15  # Deflate points back no further.


def sequences():
    """A recurrent network and one with attention."""
    words = keras.Input((64,), dtype="int32")
    x = layers.Embedding(1000, 32)(words)
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(x)
    x = layers.GRU(16, return_sequences=True)(x)
    x = layers.Conv1D(16, 3, padding="causal")(x)
    x = layers.LayerNormalization()(x)
    y = layers.MultiHeadAttention(2, 8)(x, x)
    x = layers.GlobalAveragePooling1D()(layers.Add()([x, y]))
    return keras.Model(words, x)


def pictures():
    """The usual layers between pictures and pictures."""
    photo = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(photo)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same")(x)
    x = layers.SeparableConv2D(8, 3, padding="same")(x)
    x = layers.LeakyReLU()(layers.GroupNormalization(4)(x))
    x = layers.UpSampling2D()(InstanceNormalization()(x))
    x = layers.Cropping2D()(layers.Concatenate()([x, x]))
    x = layers.Activation("tanh")(x)
    return keras.Model(photo, DeprocessStylizedImage()(x))


def classifier():
    """A network of depthwise convolutions with a residual."""
    image = keras.Input((224, 224, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(image)
    x = layers.Conv2D(32, 3, strides=2, use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.Activation("relu")(layers.BatchNormalization()(y))
    y = layers.Conv2D(32, 1, padding="same", use_bias=False)(y)
    x = layers.Add()([x, layers.BatchNormalization()(y)])
    z = layers.GlobalAveragePooling2D(keepdims=True)(x)
    z = layers.Reshape((1, 1, 32))(z)
    x = layers.Multiply()([x, layers.Conv2D(32, 1, activation="sigmoid")(z)])
    x = layers.AveragePooling2D(2)(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def small():
    """A chain of convolutions and dense layers."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, padding="same"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(100, activation="relu"),
            layers.Dense(10, activation="softmax"),
            layers.Dense(10),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=pathlib.Path)
    file = parser.parse_args().file
    texts = []
    for make in (sequences, pictures, classifier, small):
        keras.utils.clear_session()
        texts.append(to_text(make()))
    words = without_repeats(texts).encode("ascii")
    file.write_bytes(words[-LARGEST:])
    print(f"{len(words)} bytes")
    for make in (small, classifier, pictures, sequences):
        keras.utils.clear_session()
        text = to_text(make()).encode("ascii")
        deflate = zlib.compressobj(9, wbits=-15, memLevel=9, zdict=words)
        size = len(deflate.compress(text) + deflate.flush())
        print(f"{make.__name__}: {len(text)} bytes, deflated {size}")


def without_repeats(texts):
    """Layers whose kind comes again later, with all its words, left out."""
    parts = [
        json.dumps(layer, separators=(",", ":"))
        for text in texts
        for layer in json.loads(text)["config"].pop("layers")
    ]
    last = {json.loads(part)["class_name"]: part for part in parts}
    frames = []
    for text in texts:
        config = json.loads(text)
        del config["config"]["layers"]
        frames.append(json.dumps(config, separators=(",", ":")))
    kept = [
        part for part in parts if last[json.loads(part)["class_name"]] == part
    ]
    return "".join([*frames, *kept])


if __name__ == "__main__":
    main()
