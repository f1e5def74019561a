"""A removal must equal the original with the readers deaf to the channels."""

import keras
import numpy as np

from fritz_compress import surgery


def predict(model, inputs):
    outputs = model(inputs, training=False)
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(output).astype("float64").ravel()
            for output in keras.tree.flatten(outputs)
        ]
    )


def difference(wanted, received):
    """Largest difference, relative to the spread of what is wanted."""
    return np.max(np.abs(wanted - received)) / np.std(wanted)


def samples(model, seed=0, count=2):
    rng = np.random.default_rng(seed)
    inputs = [
        rng.normal(size=(count, *(size or 8 for size in tensor.shape[1:])))
        for tensor in model.inputs
    ]
    return inputs if len(inputs) > 1 else inputs[0]


def deafen(model, deaf):
    """Zeroes what layers read, in place.

    Args:
        deaf: `{layer: (axis, indices)}` of the layer's first weight, its
            kernel; a layer of a nested model as `"model/layer"`.
    """
    for path, (axis, indices) in deaf.items():
        layer = model
        for name in path.split("/"):
            layer = layer.get_layer(name)
        kernel = keras.ops.convert_to_numpy(layer.weights[0]).copy()
        np.moveaxis(kernel, axis, 0)[list(indices)] = 0
        layer.weights[0].assign(kernel)


def assert_exact(model, removed, deaf, tolerance=1e-4):
    """Checks one removal against the oracle and returns the smaller model."""
    inputs = samples(model)
    config, weights = model.get_config(), model.get_weights()
    original = predict(model, inputs)

    smaller = surgery.remove_filters(model, removed)

    assert model.get_config() == config
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    deafen(model, deaf)
    wanted = predict(model, inputs)
    assert difference(wanted, predict(smaller, inputs)) < tolerance
    # The check has teeth: the outputs depend on the input, and without the
    # removal they would be others.
    assert difference(wanted, predict(model, samples(model, seed=1))) > 0.1
    assert difference(wanted, original) > 0.1
    assert smaller.count_params() < model.count_params()
    return smaller
