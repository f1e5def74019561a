"""Small networks with the layers that integers are simulated for."""

import keras
import numpy as np
from helpers import distinct_weights
from keras import layers, ops

from fritz_compress.layers import (
    ChannelShuffle,
    CropToMatch,
    DepthToSpace,
    PadToMultiple,
)


def data_for(model, count=8):
    """Inputs for a model that has one, numbers around zero."""
    rng = np.random.default_rng(0)
    shape = (count, *model.inputs[0].shape[1:])
    return rng.normal(size=shape).astype("float32")


def _model(size, make):
    def build():
        keras.utils.set_random_seed(0)
        inputs = keras.Input(size, name="inputs")
        return distinct_weights(keras.Model(inputs, make(inputs)))

    return build


def _normalized(x, activation=None, **kwargs):
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, **kwargs)(x)
    x = layers.BatchNormalization()(x)
    return x if activation is None else layers.Activation(activation)(x)


def _residual(x):
    x = _normalized(x, "relu6")
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1)(x)
    y = layers.BatchNormalization()(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    return layers.Dense(4)(layers.GlobalAveragePooling2D()(x))


def _concatenated(x):
    x = early = _normalized(x, "relu")
    a = layers.MaxPooling2D(2)(_normalized(x, "relu"))
    b = layers.AveragePooling2D(2)(early)
    c = layers.Conv2D(4, 3, 2, "same", activation="sigmoid")(early)
    x = layers.Concatenate()([a, b, c])
    return layers.Conv2D(3, 1)(layers.Concatenate()([x, c]))


def _excited(x):
    x = _normalized(x, "silu")
    s = layers.GlobalAveragePooling2D(keepdims=True)(x)
    s = layers.Conv2D(3, 1, activation="relu")(s)
    s = layers.Conv2D(6, 1, activation="sigmoid")(s)
    return layers.Multiply()([x, s])


def _preactivated(x):
    x = layers.Conv2D(6, 3, padding="same")(x)
    y = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.Conv2D(6, 3, padding="same")(y)
    x = layers.Add()([x, y])
    return layers.ReLU()(layers.BatchNormalization()(x))


def _moved(x):
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.Permute((2, 1, 3))(layers.Cropping2D(1)(x))
    x = layers.UpSampling2D(2)(layers.Dropout(0.2)(x))
    y = DepthToSpace(2)(layers.Conv2D(32, 1)(PadToMultiple(5)(x)))
    x = CropToMatch()([y, x])
    x = layers.Reshape((-1, 4))(layers.ZeroPadding2D(1)(x))
    return layers.Dense(3)(layers.Flatten()(x))


def _shuffled(x):
    """A unit of ShuffleNetV2, and padded channels."""
    x = _normalized(x, "relu")
    y = layers.Conv2D(3, 1, activation="relu")(x[..., 3:])
    x = ChannelShuffle(2)(layers.Concatenate()([x[..., :3], y]))
    x = ops.pad(x, [[0, 0], [0, 1], [0, 1], [1, 1]])
    return layers.Conv2D(4, 3)(x)


def _shared(x):
    convolution = layers.Conv2D(3, 3, padding="same", name="shared")
    normalization = layers.BatchNormalization()
    x = layers.ReLU()(normalization(convolution(x)))
    x = layers.ReLU()(normalization(convolution(x)))
    other = layers.Conv2D(3, 1, name="twice")
    return other(layers.BatchNormalization()(other(x)))


def _nested(x):
    tail = keras.Sequential(
        [
            keras.Input((10, 10, 6)),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(5, 3, name="conv"),
        ],
        name="tail",
    )
    image = keras.Input((10, 10, 3))
    inner = layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv")
    encoder = keras.Model(image, tail(inner(image)), name="encoder")
    return layers.Conv2D(2, 1, name="conv")(encoder(x))


IMAGE = (10, 10, 3)
MODELS = {
    "residual": _model(IMAGE, _residual),
    "concatenated": _model(IMAGE, _concatenated),
    "excited": _model(IMAGE, _excited),
    "preactivated": _model(IMAGE, _preactivated),
    "moved": _model(IMAGE, _moved),
    "shuffled": _model(IMAGE, _shuffled),
    "shared": _model(IMAGE, _shared),
    "nested": _model(IMAGE, _nested),
    "grouped": _model(
        (8, 8, 4), lambda x: _normalized(layers.ReLU()(x), groups=2)
    ),
    "separable": _model(
        IMAGE, lambda x: layers.SeparableConv2D(5, 3, depth_multiplier=2)(x)
    ),
    "multiplied": _model(
        IMAGE, lambda x: layers.DepthwiseConv2D(3, 2, depth_multiplier=2)(x)
    ),
    "transposed": _model(
        (5, 5, 4),
        lambda x: layers.ReLU()(
            layers.BatchNormalization()(
                layers.Conv2DTranspose(3, 3, 2, padding="same")(x)
            )
        ),
    ),
    "sequence": _model(
        (12, 4),
        lambda x: layers.GlobalAveragePooling1D()(
            layers.Conv1D(5, 3, padding="causal", activation="relu")(
                layers.Conv1D(6, 3, 2)(x)
            )
        ),
    ),
    "dense": _model(
        (7,),
        lambda x: layers.Dense(4, activation="softmax")(
            layers.BatchNormalization()(layers.Dense(6, activation="relu")(x))
        ),
    ),
    "dense_3d": _model((5, 7), lambda x: layers.Dense(4)(x)),
    "tanh": _model(IMAGE, lambda x: layers.Conv2D(3, 1, activation="tanh")(x)),
    "leaky": _model(
        IMAGE, lambda x: layers.LeakyReLU(0.2)(layers.Conv2D(3, 1)(x))
    ),
    "prelu": _model(
        IMAGE,
        lambda x: layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(3, 1)(x)),
    ),
    "hard_silu": _model(
        IMAGE,
        lambda x: layers.Activation("hard_silu")(layers.Conv2D(3, 1)(x)),
    ),
    "bilinear": _model(
        IMAGE,
        lambda x: layers.UpSampling2D(2, interpolation="bilinear")(
            layers.Conv2D(3, 1)(x)
        ),
    ),
    "operations": _model(
        IMAGE,
        lambda x: ops.relu(ops.transpose(x, (0, 2, 1, 3)) * x - x),
    ),
    "relu_behind": _model(
        IMAGE,
        lambda x: layers.ReLU()(
            layers.AveragePooling2D(2)(
                layers.ReLU(6)(layers.MaxPooling2D(2)(x))
            )
        ),
    ),
    "pooled": _model(IMAGE, lambda x: layers.AveragePooling2D(3, 2, "same")(x)),
}
