"""Small classifiers for the tests of distillation, and their data."""

import keras
import numpy as np
from helpers import distinct_weights
from keras import layers

CLASSES = 3
# How to compile for a step or two: on TensorFlow not at all.
QUICKLY = (
    {"jit_compile": True}
    if keras.backend.backend() == "jax"
    else {"run_eagerly": True}
)


def classifier(width, seed, name, softmax=False, size=8):
    """Two convolutions of a width, `wide` and `deep`, and a dense layer."""
    inputs = keras.Input((size, size, 2))
    x = layers.Conv2D(width, 3, activation="relu", name="wide")(inputs)
    x = layers.Conv2D(width, 3, 2, name="deep")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU()(x))
    activation = "softmax" if softmax else None
    x = layers.Dense(CLASSES, activation=activation, name="head")(x)
    return distinct_weights(keras.Model(inputs, x, name=name), seed)


def pair(**student):
    return classifier(6, 0, "teacher"), classifier(4, 1, "student", **student)


def samples(count=16, seed=0, size=8):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, size, size, 2)).astype("float32")
    return x, rng.integers(0, CLASSES, count)


def values(model):
    return [np.array(weight) for weight in model.weights]


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def cross_entropy(labels, logits):
    """Of every sample."""
    return -log_softmax(logits)[np.arange(len(labels)), labels]


def divergence(teacher, student, temperature):
    """T^2 times that of Kullback and Leibler, of every sample."""
    p, q = (
        log_softmax(np.asarray(x) / temperature) for x in (teacher, student)
    )
    return temperature**2 * np.sum(np.exp(p) * (p - q), -1)
