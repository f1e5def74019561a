"""Models of keras.applications, pruned: a slice of the benchmark's table."""

import keras
import numpy as np
import pytest
from applications import TOLERANCE, build, difference, draw
from silencing_oracle import removed_channels, silenced_outputs

from fritz_compress.surgery import channel_groups, remove_filters

# Parameters before and after a quarter of the channels of all groups is gone.
MODELS = {
    "MobileNetV2": (2_270_794, 1_304_722),
    "MobileNetV3Small": (1_540_218, 884_638),
    "ResNet50": (23_608_202, 13_310_122),
    "DenseNet121": (7_047_754, 3_999_418),
    "EfficientNetB0": (4_062_381, 2_339_872),
    "ConvNeXtTiny": (27_827_818, 21_351_562),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_equals_the_oracle_and_trains_on(name, tmp_path):
    model, batch = build(name, samples=16)
    inputs = batch[:2]
    groups = channel_groups(model)
    removed, others = (
        removed_channels(groups, draw(groups, seed)) for seed in (1, 2)
    )
    smaller = remove_filters(model, removed)
    assert (model.count_params(), smaller.count_params()) == MODELS[name]

    received = predict(smaller, inputs)
    (wanted,) = silenced_outputs(model, removed, [inputs])
    assert difference(wanted, received) < TOLERANCE
    # The check has teeth.
    (control,) = silenced_outputs(model, others, [inputs])
    assert difference(control, received) > 100 * TOLERANCE
    assert difference(wanted[:1], wanted[1:]) > 100 * TOLERANCE

    smaller.save(tmp_path / "smaller.keras")
    loaded = keras.saving.load_model(tmp_path / "smaller.keras")
    assert difference(received, predict(loaded, inputs)) < TOLERANCE
    loaded.compile(keras.optimizers.SGD(1e-2), "mse", run_eagerly=True)
    assert np.isfinite(loaded.train_on_batch(inputs, 0 * received))
    moved = [
        np.any(before != after)
        for before, after in zip(smaller.get_weights(), loaded.get_weights())
    ]
    assert np.mean(moved) > 0.5


def predict(model, inputs):
    return keras.ops.convert_to_numpy(model(inputs, training=False))
