"""Models on which both Core ML formats are tested."""

import keras
import numpy as np
from helpers import distinct_weights
from keras import layers, ops

from fritz_compress.layers import (
    ChannelShuffle,
    CropToMatch,
    DeprocessStylizedImage,
    DepthToSpace,
    InstanceNormalization,
    PadToMultiple,
)

PICTURE = (7, 10, 4)  # Odd height, so that stride 2 pads on one side only.


def sequential(*steps, shape=PICTURE):
    model = keras.Sequential([keras.Input(shape), *steps])
    return distinct_weights(model)


def inputs_for(model, batch=2):
    shape = (batch, *model.inputs[0].shape[1:])
    return np.random.default_rng(0).normal(size=shape).astype("float32") * 3


SINGLE_LAYERS = {
    "conv": lambda: layers.Conv2D(5, 3),
    "conv same": lambda: layers.Conv2D(5, (3, 4), padding="same"),
    "conv stride 2": lambda: layers.Conv2D(5, 3, strides=2, padding="same"),
    "conv stride 2 valid": lambda: layers.Conv2D(5, 4, strides=2),
    "conv even kernel": lambda: layers.Conv2D(5, 4, 2, padding="same"),
    "conv strides 3, 2": lambda: layers.Conv2D(5, 5, (3, 2), padding="same"),
    "conv no bias": lambda: layers.Conv2D(5, 3, use_bias=False),
    "conv dilated": lambda: layers.Conv2D(
        5, 3, dilation_rate=(2, 1), padding="same"
    ),
    "conv dilated valid": lambda: layers.Conv2D(5, 3, dilation_rate=2),
    "conv grouped": lambda: layers.Conv2D(6, 3, groups=2, padding="same"),
    "conv relu": lambda: layers.Conv2D(5, 3, activation="relu"),
    "conv softmax": lambda: layers.Conv2D(5, 1, activation="softmax"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, padding="same"),
    "depthwise multiplier": lambda: layers.DepthwiseConv2D(
        3, 2, "same", depth_multiplier=3, activation="tanh"
    ),
    "depthwise dilated": lambda: layers.DepthwiseConv2D(3, dilation_rate=2),
    "separable": lambda: layers.SeparableConv2D(5, 3, padding="same"),
    "separable strided": lambda: layers.SeparableConv2D(
        5, 3, 2, "same", depth_multiplier=2, activation="elu", use_bias=False
    ),
    "transpose same": lambda: layers.Conv2DTranspose(5, 3, 2, "same"),
    "transpose same even": lambda: layers.Conv2DTranspose(5, 4, 2, "same"),
    "transpose same odd surplus": lambda: layers.Conv2DTranspose(
        5, 5, (2, 3), "same", activation="relu"
    ),
    "transpose valid": lambda: layers.Conv2DTranspose(5, 3, 2, use_bias=False),
    "transpose stride over kernel": lambda: layers.Conv2DTranspose(
        5, 2, 3, "same"
    ),
    "transpose stride over kernel valid": lambda: layers.Conv2DTranspose(
        5, 2, (3, 2), "valid"
    ),
    "dense on channels": lambda: layers.Dense(5, activation="sigmoid"),
    "batch norm": lambda: layers.BatchNormalization(),
    "batch norm bare": lambda: layers.BatchNormalization(
        center=False, scale=False, epsilon=0.1
    ),
    "instance norm": lambda: InstanceNormalization(epsilon=0.1),
    "deprocess": lambda: DeprocessStylizedImage(),
    "rescaling": lambda: layers.Rescaling(0.5, -1),
    "rescaling channels": lambda: layers.Rescaling([1.0, 2, 3, 4], 0.5),
    "relu": lambda: layers.ReLU(),
    "relu 6": lambda: layers.ReLU(max_value=1.5),
    "relu slope": lambda: layers.ReLU(negative_slope=0.3),
    "relu slope and max": lambda: layers.ReLU(1.5, 0.3),
    "relu threshold": lambda: layers.ReLU(threshold=0.7),
    "leaky relu": lambda: layers.LeakyReLU(0.4),
    "elu": lambda: layers.ELU(0.7),
    "prelu": lambda: layers.PReLU(shared_axes=[1, 2]),
    "softmax": lambda: layers.Softmax(),
    "nearest": lambda: layers.UpSampling2D((2, 3)),
    "bilinear": lambda: layers.UpSampling2D((2, 3), interpolation="bilinear"),
    "max pool": lambda: layers.MaxPooling2D(),
    "max pool same": lambda: layers.MaxPooling2D(3, 2, "same"),
    "average pool": lambda: layers.AveragePooling2D((2, 3), 1),
    "average pool same": lambda: layers.AveragePooling2D(3, 2, "same"),
    "global average": lambda: layers.GlobalAveragePooling2D(),
    "global average keepdims": lambda: layers.GlobalAveragePooling2D(
        keepdims=True
    ),
    "global max": lambda: layers.GlobalMaxPooling2D(),
    "padding": lambda: layers.ZeroPadding2D(((1, 2), (3, 4))),
    "cropping": lambda: layers.Cropping2D(((1, 2), (3, 4))),
    "flatten": lambda: layers.Flatten(),
    "reshape": lambda: layers.Reshape((5, 7, 8)),
    "channel shuffle": lambda: ChannelShuffle(2),
    "reshape to a vector": lambda: layers.Reshape((-1,)),
    "depth to space": lambda: DepthToSpace(2),
    "pad to multiple": lambda: PadToMultiple(4),
    "nothing to pad": lambda: PadToMultiple(1),
    "dropout at the end": lambda: layers.Dropout(0.5),
}


ACTIVATIONS = (
    "elu exponential hard_sigmoid hard_swish leaky_relu linear relu relu6 selu "
    "sigmoid softmax softplus softsign swish tanh"
).split()


MERGES = {
    "add": layers.add,
    "subtract": layers.subtract,
    "multiply": layers.multiply,
    "average": layers.average,
    "maximum": layers.maximum,
    "minimum": layers.minimum,
    "concatenate": layers.concatenate,
    "crop": lambda pair: CropToMatch()(
        [pair[0], layers.Cropping2D(((0, 2), (0, 3)))(pair[1])]
    ),
    "nothing to crop": lambda pair: CropToMatch()(pair),
    "raw add": lambda pair: pair[0] + pair[1],
    "raw subtract": lambda pair: pair[1] - pair[0],
    "raw multiply": lambda pair: pair[0] * pair[1],
    "numbers": lambda pair: 2 - (pair[0] * 3 + 1.5) + (pair[1] - 0.5),
    "twice": lambda pair: pair[0] * pair[0] + pair[1],
}


OPERATIONS = {
    "shuffle of a vector": lambda x: ChannelShuffle(3)(
        layers.Flatten()(layers.Dense(3)(x))
    ),
    "slices": lambda x: x[:, 1::2, :-3, 1:4],
    "slices of channels": lambda x: x[..., -2:] + x[..., ::2],
    "slice of a vector": lambda x: layers.Flatten()(x)[:, 1:50:2],
    "slices of all": lambda x: x[:, :] + x[:, ..., :],
    "pad": lambda x: ops.pad(x, [[0, 0], [1, 2], [0, 3], [0, 0]]),
    "pad channels": lambda x: ops.pad(
        x, [[0, 0], [1, 0], [0, 2], [3, 1]], constant_values=-1.5
    ),
    "pad reflected": lambda x: ops.pad(
        x, [[0, 0], [1, 2], [0, 3], [0, 0]], mode="reflect"
    ),
}


def operating(make):
    """A convolution and what is done with its four channels."""
    inputs = keras.Input(PICTURE)
    x = layers.Conv2D(4, 1, name="before")(inputs)
    return distinct_weights(keras.Model(inputs, make(x)))


def merging(merge):
    """Two branches of three channels each and what puts them together."""
    inputs = keras.Input(PICTURE)
    branches = [layers.Conv2D(3, 1, name=f"branch_{i}")(inputs) for i in "ab"]
    return distinct_weights(keras.Model(inputs, merge(branches)))


MOBILENETS = {"MobileNet": 0.25, "MobileNetV2": 0.35}


def mobilenet(name):
    """A small MobileNet whose output depends on its input."""
    build = getattr(keras.applications, name)
    model = build((32, 32, 3), MOBILENETS[name], weights=None, classes=10)
    distinct_weights(model)
    for weight in model.weights:
        if weight.name == "kernel" and weight.shape[-1] == 1:
            # Of a depthwise convolution: its fan-in has no channels.
            weight.assign(weight * weight.shape[-2] ** 0.5)
    # An output that does not depend on the input would prove nothing.
    first, second = np.asarray(model(inputs_for(model)))
    assert np.abs(first - second).max() > 1e-3
    return model
