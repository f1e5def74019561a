"""Kernels that a layer quantizes itself are given no other codes."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

import fritz_compress as fc
from fritz_compress import layers as ours
from fritz_compress.quantizers import DoReFa


def network():
    return distinct_weights(
        keras.Sequential(
            [
                keras.Input((12, 12, 3)),
                layers.Conv2D(8, 3, name="stem"),
                layers.BatchNormalization(name="norm"),
                ours.BinaryConv2D(8, 3, name="signs"),
                ours.BinaryDepthwiseConv2D(3, name="depthwise"),
                ours.XnorDense(
                    8, kernel_quantizer=DoReFa(3, "weights"), name="levels"
                ),
                ours.BinaryDense(8, kernel_quantizer=None, name="floats"),
                layers.GlobalAveragePooling2D(name="mean"),
                layers.Dense(4, name="logits"),
            ],
            name="mixed",
        )
    )


def pictures(count=2):
    images = np.random.default_rng(1).normal(size=(count, 12, 12, 3))
    return images.astype("float32")


@pytest.mark.parametrize(
    "config", [None, {"nbits": 4, "mode": "kmeans"}], ids=["linear", "kmeans"]
)
def test_their_kernels_stay(config):
    model = network()
    smaller, report = fc.quantize_weights(model, config)
    rows = {row.name: row for row in report.weights}
    for name, nbits in (("signs", 1), ("depthwise", 1), ("levels", 3)):
        row = rows[f"{name}/kernel"]
        assert row.note == f"its layer makes {nbits}-bit numbers of it"
        assert row.codes is None
        np.testing.assert_array_equal(
            smaller.get_layer(name).kernel, model.get_layer(name).kernel
        )
    for name in ("stem", "floats", "logits"):
        assert rows[f"{name}/kernel"].codes is not None


def test_data_corrects_the_others():
    model = network()
    config = {
        "global_config": None,
        "layer_name_configs": {
            "stem": {"mode": "product", "nbits": 4, "dimension": 3},
            "signs": {"mode": "product", "nbits": 4, "dimension": 4},
        },
    }
    _, report = fc.quantize_weights(model, config, data=pictures(20))
    rows = {row.name: row for row in report.weights}
    assert rows["stem/kernel"].note == "corrected on data"
    assert rows["signs/kernel"].note == "its layer makes 1-bit numbers of it"


def test_without_bits_to_choose_they_are_skipped():
    model = network()
    table = fc.analysis.signal_to_noise(model, (2, 8))
    assert "signs/kernel" not in table.weights
    assert "stem/kernel" in table.weights
    assert table.skipped["signs/kernel"] == (
        "its layer makes 1-bit numbers of it"
    )
    suggestion = fc.analysis.suggest_bits(
        model,
        evaluate=lambda copy: {"loss": float(np.abs(copy.weights[0]).mean())},
        max_loss=1.0,
        nbits=8,
    )
    assert set(suggestion.bits) == {"stem", "floats", "logits"}
    assert suggestion.skipped["levels/kernel"] == (
        "its layer makes 3-bit numbers of it"
    )


def test_integers_are_refused_and_the_way_out_works():
    model = network()
    with pytest.raises(
        ValueError,
        match="no rule for computing with integers.*'signs' "
        r"\(BinaryConv2D\).*'levels' \(XnorDense\).*To leave them float "
        "pass config=.*'BinaryConv2D': None",
    ):
        fc.quantization_aware(model)
    kinds = "BinaryConv2D BinaryDepthwiseConv2D XnorDense BinaryDense".split()
    aware = fc.quantization_aware(
        model,
        {"global_config": {}, "layer_type_configs": dict.fromkeys(kinds)},
    )
    for name in ("signs", "depthwise", "levels", "floats"):
        (layer,) = (
            layer for layer in aware.layers if layer.name.startswith(name)
        )
        assert type(layer) is type(model.get_layer(name))
        np.testing.assert_array_equal(
            layer.kernel, model.get_layer(name).kernel
        )
    assert np.isfinite(aware.predict(pictures(), verbose=0)).all()
