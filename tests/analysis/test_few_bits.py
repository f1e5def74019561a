"""Zeroed weights of layers of few bits would be signs: they are left."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress import layers as ours
from fritz_compress.analysis import sensitivity
from fritz_compress.callbacks import CodebookFineTuning, MagnitudePruning


def network():
    return distinct_weights(
        keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(8, name="first"),
                layers.Dense(8, name="read_by_signs"),
                ours.BinaryDense(7, name="signs"),
                layers.Dense(2, name="logits"),
            ],
            name="mixed",
        )
    )


def mean_weight(model):
    return {"mean": float(np.abs(model.weights[0]).mean())}


def test_sensitivity_leaves_their_weights():
    table = sensitivity(
        network(),
        evaluate=mean_weight,
        mode="min",
        kind="weights",
        fractions=0.5,
    )
    names = {row.layer for row in table.rows}
    assert names == {"first", "read_by_signs", "logits"}
    reason = "its kernel has few bits, where a zero is a sign"
    assert table.skipped == (("signs", reason),)
    with pytest.raises(
        ValueError, match=f"'signs' of `layers` has nothing.*: {reason}. Leave"
    ):
        sensitivity(
            network(),
            evaluate=mean_weight,
            mode="min",
            kind="weights",
            layers=["signs"],
        )


def test_sensitivity_leaves_their_filters():
    table = sensitivity(
        network(), evaluate=mean_weight, mode="min", fractions=0.5
    )
    assert {row.layer for row in table.rows} == {"first"}
    skipped = dict(table.skipped)
    assert "'signs' (BinaryDense) computes with few" in skipped["read_by_signs"]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 6)), rng.normal(size=(8, 2))


def test_pruning_of_weights_leaves_them(data):
    model = network()
    model.compile("sgd", "mse")
    pruning = MagnitudePruning(0.5, begin_step=0, end_step=1, frequency=1)
    model.fit(*data, epochs=2, verbose=0, callbacks=[pruning])
    reason = "its kernel has few bits, where a zero is a sign like others"
    assert ("signs", reason) in pruning.skipped
    assert np.count_nonzero(model.get_layer("signs").kernel) == 56
    assert np.count_nonzero(model.get_layer("first").kernel) == 24


def test_training_of_codebooks_leaves_them(data):
    """Signs are two values, but their latent weights are not shared."""
    model = network()
    for name in ("signs", "first"):
        kernel = model.get_layer(name).kernel
        kernel.assign(np.sign(keras.ops.convert_to_numpy(kernel)))
    model.compile("sgd", "mse")
    training = CodebookFineTuning()
    model.fit(*data, epochs=2, verbose=0, callbacks=[training])
    assert set(training.shared) == {"first/kernel"}
    assert ("signs/kernel", "quantized by its layer") in training.skipped
    assert len(np.unique(model.get_layer("first").kernel)) == 2
