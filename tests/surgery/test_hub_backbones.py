"""Backbones of KerasHub, pruned: a slice of the benchmark's table."""

import re

import keras
import numpy as np
import pytest

pytest.importorskip(
    "keras_hub", reason="needs the extra: pip install fritz_compress[hub]"
)

from applications import TOLERANCE, draw  # noqa: E402
from hub_backbones import (  # noqa: E402
    build,
    difference,
    outputs_of,
)
from silencing_oracle import removed_channels, silenced_outputs  # noqa: E402

from fritz_compress.surgery import (  # noqa: E402
    channel_groups,
    prune_filters,
    remove_filters,
)

# Parameters before and after a quarter of the channels of all groups is gone:
# 6 of the 24 hidden units of 2 blocks, each of which reads 16 channels with a
# bias and makes 16; gates read as many again, without biases; Gemma halves
# the 24; of four experts each has gates.
MODELS = {
    "BertBackbone": (4_672, 4_672 - 2 * 6 * (16 + 1 + 16)),
    "GemmaBackbone": (3_088, 3_088 - 2 * 3 * 3 * 16),
    "MistralBackbone": (4_560, 4_560 - 2 * 6 * 3 * 16),
    "MixtralBackbone": (11_600, 11_600 - 2 * 4 * 6 * 3 * 16),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_equals_the_oracle_and_loads(name, tmp_path):
    model, inputs = build(name)
    groups = channel_groups(model)
    removed, others = (
        removed_channels(groups, draw(groups, seed)) for seed in (1, 2)
    )
    smaller = remove_filters(model, removed)
    assert (model.count_params(), smaller.count_params()) == MODELS[name]

    received = outputs_of(smaller, inputs)
    wanted = silenced_outputs(model, removed, inputs)
    assert difference(wanted, received) < TOLERANCE
    # The check has teeth.
    control = silenced_outputs(model, others, inputs)
    assert difference(control, received) > 100 * TOLERANCE

    smaller.save(tmp_path / "smaller.keras")
    loaded = keras.saving.load_model(tmp_path / "smaller.keras")
    assert difference(received, outputs_of(loaded, inputs)) < TOLERANCE


@pytest.mark.slow
def test_blocks_of_one_layer_lose_the_same_units():
    """A stack of blocks has one argument for the width of all."""
    model, _ = build("DINOV3Backbone")
    (group,) = channel_groups(model)
    (layer,) = group.makers
    assert list(group.producers) == [f"{layer}:intermediate_dim"]
    smaller = remove_filters(model, {f"{layer}:intermediate_dim": [0, 5]})
    old, new = model.get_layer(layer), smaller.get_layer(layer)
    assert new.intermediate_dim == 22
    kernels = [w for w in old.weights if w.path.endswith("up_proj/kernel")]
    fewer = [w for w in new.weights if w.path.endswith("up_proj/kernel")]
    assert len(kernels) == 2
    for before, after in zip(kernels, fewer, strict=True):
        np.testing.assert_array_equal(
            np.delete(keras.ops.convert_to_numpy(before), [0, 5], axis=1),
            keras.ops.convert_to_numpy(after),
        )


@pytest.mark.slow
def test_an_activation_that_may_mix_keeps_the_units():
    from keras_hub.layers import TransformerEncoder

    inputs = keras.Input((4, 8))
    outputs = TransformerEncoder(
        12, 2, activation=keras.activations.softmax, name="block"
    )(inputs)
    (group,) = channel_groups(keras.Model(inputs, outputs))
    assert group.frozen == (
        "'block' (TransformerEncoder) has the activation 'softmax', which "
        "may mix them"
    )


@pytest.mark.slow
def test_zeroed_units_are_zero_unless_the_activation_revives_them():
    from keras_hub.layers import TransformerEncoder

    inputs = keras.Input((4, 8))
    x = TransformerEncoder(12, 2, activation="gelu", name="quiet")(inputs)
    x = TransformerEncoder(12, 2, activation="sigmoid", name="loud")(x)
    quiet, loud = channel_groups(keras.Model(inputs, x))
    assert quiet.keeps_zero
    assert loud.revived == "'loud' (TransformerEncoder)"


@pytest.mark.slow
def test_units_of_experts_are_judged_by_the_weights_of_all_experts():
    model, _ = build("MixtralBackbone")
    banks = re.compile("expert_feedforward_(gate|intermediate)_dense$")
    places = [i for i, w in enumerate(model.weights) if banks.search(w.path)]
    assert len(places) == 4
    for place in places:
        values = keras.ops.convert_to_numpy(model.weights[place]).copy()
        values[..., [3, 17]] *= 1e-3
        model.weights[place].assign(values)
    smaller = prune_filters(model, 2 / 24, round_to=1)
    for place in places:
        old, new = (
            keras.ops.convert_to_numpy(each.weights[place])
            for each in (model, smaller)
        )
        np.testing.assert_array_equal(np.delete(old, [3, 17], axis=-1), new)
