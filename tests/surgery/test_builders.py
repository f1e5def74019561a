"""Every builder's network, pruned, equals the original with deaf readers."""

import keras
import numpy as np
import pytest
from applications import TOLERANCE, difference, settle_statistics
from helpers import distinct_weights
from short_networks import Short1, Short2
from silencing_oracle import silenced_outputs

from fritz_compress import models, surgery
from fritz_compress.analysis import profile

# Builder, its arguments, and the share of parameters that is left at most.
NETWORKS = {
    "MobileNetV1": (models.MobileNetV1, {"alpha": 0.25}, 0.6),
    "MobileNetV2": (models.MobileNetV2, {"alpha": 0.35}, 0.6),
    "ShuffleNetV1 3": (Short1, {"alpha": 0.25, "groups": 3}, 0.6),
    "ShuffleNetV1 8": (Short1, {"alpha": 0.5, "groups": 8}, 0.6),
    "ShuffleNetV2": (Short2, {"alpha": 0.25}, 0.65),
    "SqueezeNet 1.0": (models.SqueezeNet, {"alpha": 0.25}, 0.6),
    "SqueezeNet 1.1": (
        models.SqueezeNet,
        {"alpha": 0.25, "version": "1.1", "bypass": "simple"},
        0.6,
    ),
    "SqueezeNet complex": (
        models.SqueezeNet,
        {"image_size": (36, 39), "alpha": 0.25, "bypass": "complex"},
        0.6,
    ),
    "CifarResNet A": (models.CifarResNet, {"alpha": 0.5, "depth": 14}, 0.7),
    "CifarResNet B": (
        models.CifarResNet,
        {"alpha": 0.5, "depth": 14, "shortcut": "B"},
        0.6,
    ),
    "VGG16": (models.VGG16, {"alpha": 0.1}, 0.6),
    "CifarVGG16": (models.CifarVGG16, {"alpha": 0.1}, 0.6),
    "LeNet5": (models.LeNet5, {"alpha": 0.5}, 0.6),
    "LeNet300100": (models.LeNet300100, {"alpha": 0.25}, 0.8),
}
# With all units, and as wide as in the papers.
FULL = {
    f"full {groups}": (models.ShuffleNetV1, {"groups": groups}, 0.6)
    for groups in (1, 2, 3, 4, 8)
} | {
    "not shuffled": (models.ShuffleNetV1, {"shuffle": False}, 0.6),
    "full V2": (models.ShuffleNetV2, {}, 0.6),
}

SLOW = ("MobileNetV2", "ShuffleNetV1 8", "CifarResNet B")


def cases():
    for name, case in (NETWORKS | FULL).items():
        slow = name in FULL or name in SLOW
        yield pytest.param(
            *case, id=name, marks=[pytest.mark.slow] if slow else []
        )


def kernels(model):
    """Kernels whose last axis are filters, by the name of their layer."""
    kinds = (keras.layers.Conv2D, keras.layers.Dense)
    return {
        layer.name: keras.ops.convert_to_numpy(layer.kernel)
        for layer in model.layers
        if isinstance(layer, kinds)
    }


def places(before, after):
    """Where the filters that are left were, told by their numbers."""
    before = before.reshape(-1, before.shape[-1])
    after = after.reshape(-1, after.shape[-1])
    for values in after[:4].T:
        found = [set(np.nonzero(before == value)[1]) for value in values]
        (place,) = set.intersection(*found)
        yield int(place)


def removed_filters(model, smaller):
    """Indices of the filters that are gone, by layer."""
    left = kernels(smaller)
    gone = {
        name: sorted(
            set(range(kernel.shape[-1])) - set(places(kernel, left[name]))
        )
        for name, kernel in kernels(model).items()
    }
    return {name: indices for name, indices in gone.items() if indices}


@pytest.mark.parametrize("builder, arguments, share", list(cases()))
def test_pruned_networks_equal_the_oracle(builder, arguments, share):
    size = (28, 28) if "LeNet" in builder.__name__ else (32, 35)
    model = builder.build(
        **{"image_size": size, **arguments},
        classes=5,
        classifier_activation=None,
    )
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(4, *model.input_shape[1:])).astype("float32")
    settle_statistics(distinct_weights(model), inputs, rng)

    smaller = surgery.prune_filters(model, 0.25, round_to=1, min_filters=1)

    assert smaller.count_params() < share * model.count_params()
    assert profile(smaller).macs < profile(model).macs
    (wanted,) = silenced_outputs(
        model, removed_filters(model, smaller), [inputs[:2]]
    )
    received, before = (
        keras.ops.convert_to_numpy(network(inputs[:2], training=False))
        for network in (smaller, model)
    )
    assert difference(wanted, received) < TOLERANCE
    # The check has teeth.
    assert difference(wanted, before) > 100 * TOLERANCE
    assert difference(wanted[:1], wanted[1:]) > 100 * TOLERANCE


@pytest.mark.slow
def test_a_network_that_was_pruned_saves_loads_and_trains(tmp_path):
    model = distinct_weights(Short1.build((32, 32), 0.25, classes=5))
    smaller = surgery.prune_filters(model, 0.25, round_to=1)
    smaller.save(tmp_path / "smaller.keras")
    loaded = keras.saving.load_model(tmp_path / "smaller.keras")
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(loaded(x)),
        keras.ops.convert_to_numpy(smaller(x)),
    )
    loss = "sparse_categorical_crossentropy"
    loaded.compile("sgd", loss, run_eagerly=True)
    assert np.isfinite(loaded.train_on_batch(x, np.arange(4)))
