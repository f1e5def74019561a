import keras
import numpy as np
import plain_layers as plain
from helpers import distinct_weights

from fritz_compress.models import LeNet5, LeNet300100


def weights(model):
    return {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}


def digits(model):
    x = np.random.default_rng(0).normal(size=(3, *model.input_shape[1:]))
    return x.astype("float32")


def dense(x, found, name):
    return x @ found[f"{name}/kernel"] + found[f"{name}/bias"]


def test_lenet_300_100_in_numpy():
    model = distinct_weights(LeNet300100.build(classifier_activation=None))
    x, found = digits(model), weights(model)
    hidden = plain.relu(dense(x.reshape(3, -1), found, "ip1"))
    wanted = dense(plain.relu(dense(hidden, found, "ip2")), found, "ip3")
    received = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(received, wanted, rtol=1e-4, atol=1e-5)


def test_lenet_5_in_numpy():
    """Relu after the first dense layer alone."""
    model = distinct_weights(LeNet5.build(classifier_activation=None))
    digit, found = digits(model), weights(model)
    x = digit
    for name in ("conv1", "conv2"):
        x = plain.convolution(x, found[f"{name}/kernel"])
        x = plain.maximum(x + found[f"{name}/bias"], 2, 2)
    x = plain.relu(dense(x.reshape(3, -1), found, "ip1"))
    received = keras.ops.convert_to_numpy(model(digit))
    np.testing.assert_allclose(
        received, dense(x, found, "ip2"), rtol=1e-4, atol=1e-4
    )


def test_widths_and_sizes_may_be_others():
    model = LeNet5.build((20, 16), 0.1, classes=4, channels=3)
    assert [w.shape for w in model.weights if w.name == "kernel"] == [
        (5, 5, 3, 2),
        (5, 5, 2, 5),
        (2 * 1 * 5, 50),
        (50, 4),
    ]
