"""Configurations: defaults, precedence, and what is refused."""

import keras
import pytest

from fritz_compress.quantization import ConfigByLayer, WeightConfig
from fritz_compress.surgery.config_by_layer import config_by_layer


def of(config, name, layer):
    return config_by_layer(config, WeightConfig).of(name, layer)


def test_defaults():
    config = of(None, "any", keras.layers.Dense(1))
    assert config == WeightConfig(8, "linear_symmetric", "per_channel")
    assert WeightConfig(mode="kmeans").granularity == "per_tensor"
    assert WeightConfig(mode="product").granularity == "per_tensor"
    assert WeightConfig(nbits=6).levels_between == "minmax"
    assert WeightConfig(nbits=5).levels_between == "least_squares"
    assert WeightConfig(5, ranges="minmax").levels_between == "minmax"


def test_names_count_more_than_types_and_types_more_than_all():
    config = {
        "global_config": {"nbits": 8},
        "layer_type_configs": {"Dense": {"nbits": 4}, "Conv2D": None},
        "layer_name_configs": {
            "head_*": {"nbits": 2},
            "head_1": {"nbits": 3},
            "stem": None,
        },
    }
    dense, conv = keras.layers.Dense(1), keras.layers.Conv2D(1, 1)
    assert of(config, "other", keras.layers.Embedding(2, 2)).nbits == 8
    assert of(config, "other", dense).nbits == 4
    assert of(config, "other", conv) is None
    assert of(config, "head_1", conv).nbits == 2, "the first that matches"
    assert of(config, "stem", dense) is None
    by_object = ConfigByLayer(
        WeightConfig(8),
        {"Dense": WeightConfig(4), "Conv2D": None},
        {"head_*": {"nbits": 2}, "head_1": {"nbits": 3}, "stem": None},
    )
    assert config_by_layer(by_object, WeightConfig) == config_by_layer(
        config, WeightConfig
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"nbits": 0}, "`nbits` must be a whole number from 1 to 16"),
        ({"mode": "lineer"}, "`mode` must be one of .*'linear_symmetric'"),
        ({"granularity": "channel"}, "`granularity` must be one of"),
        ({"ranges": "all"}, "`ranges` must be one of"),
        ({"vectors": "rows"}, "`vectors` must be one of"),
        ({"start": "zero"}, "`start` must be one of"),
        ({"dimension": 0}, "`dimension` must be at least 1"),
        ({"weight_threshold": -1}, "`weight_threshold` must be at least 0"),
        (
            {"mode": "kmeans", "granularity": "per_block"},
            "mode='kmeans' must have a granularity of .*per_grouped_channel",
        ),
        (
            {"granularity": "per_grouped_channel"},
            "must have a granularity of .*'per_block'",
        ),
        ({"mode": "product", "granularity": "per_channel"}, "'per_block'"),
        ({"mode": "kmeans", "ranges": "minmax"}, "a codebook has no range"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WeightConfig(**arguments)


def test_wrong_configurations_are_refused():
    with pytest.raises(ValueError, match="'nbit'. Did you mean 'nbits'"):
        config_by_layer({"nbit": 4}, WeightConfig)
    with pytest.raises(ValueError, match="Did you mean 'layer_name_configs'"):
        config_by_layer(
            {"global_config": None, "layer_name_config": {}}, WeightConfig
        )
    with pytest.raises(TypeError, match="WeightConfig, a dictionary .* 4"):
        config_by_layer(4, WeightConfig)
    with pytest.raises(TypeError, match="to leave layers as they are"):
        config_by_layer({"layer_name_configs": {"a": 4}}, WeightConfig)


def test_configurations_for_nobody_are_refused():
    layers = [("conv_1", keras.layers.Conv2D(1, 1))]
    config_by_layer({"layer_name_configs": {"con*": None}}, WeightConfig)
    for config, message in [
        ({"layer_name_configs": {"conv1": None}}, "Did you mean 'conv_1'"),
        ({"layer_type_configs": {"Conv": None}}, "Did you mean 'Conv2D'"),
    ]:
        with pytest.raises(ValueError, match=message):
            config_by_layer(config, WeightConfig).check_used(layers)
