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
    inputs = [_sample(rng, tensor, count) for tensor in model.inputs]
    return inputs if len(inputs) > 1 else inputs[0]


def _sample(rng, tensor, count):
    shape = (count, *(size or 8 for size in tensor.shape[1:]))
    if "int" in keras.backend.standardize_dtype(tensor.dtype):
        return rng.integers(0, 5, shape)
    return rng.normal(size=shape)


def deafen(model, deaf):
    """Zeroes what layers read, in place.

    Args:
        deaf: `{layer: (axis, indices)}` of the layer's first weight, its
            kernel; a layer of a nested model as `"model/layer"`, another
            weight as `"layer#number"`.
    """
    for path, (axis, indices) in deaf.items():
        path, _, number = path.partition("#")
        layer = model
        for name in path.split("/"):
            layer = layer.get_layer(name)
        weight = layer.weights[int(number or 0)]
        kernel = keras.ops.convert_to_numpy(weight).copy()
        np.moveaxis(kernel, axis, 0)[list(indices)] = 0
        weight.assign(kernel)


def assert_exact(model, removed, deaf, tolerance=1e-4, effect=0.1):
    """Checks one removal against the oracle and returns the smaller model.

    Args:
        removed: What `remove_filters` is asked to remove.
        deaf: Who must not have listened; see `deafen`.
        effect: How much the removal must change the outputs, at least.
    """
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
    assert difference(wanted, original) > effect
    assert smaller.count_params() < model.count_params()
    return smaller
