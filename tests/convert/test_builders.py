"""Networks of the builders, converted and compared with Keras."""

import numpy as np
import pytest
from applications import settle_statistics
from helpers import distinct_weights
from short_networks import Short1, Short2

from fritz_compress import convert, models, surgery

NETWORKS = {
    "ShuffleNetV1": (Short1, {"alpha": 0.25, "groups": 3}),
    "ShuffleNetV2": (Short2, {"alpha": 0.25}),
    "SqueezeNet": (models.SqueezeNet, {"alpha": 0.25, "bypass": "complex"}),
    "CifarResNet": (models.CifarResNet, {"alpha": 0.5, "depth": 8}),
}
LEAST_PSNR = 80


def network(name, image_size=(32, 35), pruned=False):
    """One with logits that depend on its input, and inputs."""
    builder, arguments = NETWORKS[name]
    arguments = {**arguments, "classes": 5, "classifier_activation": None}
    model = distinct_weights(builder.build(image_size, **arguments))
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(4, 32, 35, 3)).astype("float32")
    settle_statistics(model, inputs, rng)
    if pruned:
        model = surgery.prune_filters(model, 0.25, round_to=1)
    return model, inputs


def check(report):
    assert report.psnr > LEAST_PSNR


@pytest.mark.parametrize("name", NETWORKS)
def test_core_ml_neural_networks(name, tmp_path):
    model, inputs = network(name)
    path = tmp_path / "model.mlmodel"
    check(convert.to_coreml(model, path, samples=inputs))


@pytest.mark.parametrize("name", NETWORKS)
def test_tflite(name, tmp_path):
    model, inputs = network(name)
    path = tmp_path / "model.tflite"
    check(convert.to_tflite(model, path, samples=inputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_core_ml_programs(name, tmp_path):
    model, inputs = network(name)
    path = tmp_path / "model.mlpackage"
    check(convert.to_coreml(model, path, samples=inputs))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["tflite", "mlmodel"])
@pytest.mark.parametrize("name", NETWORKS)
def test_after_pruning(name, ending, tmp_path):
    model, inputs = network(name, pruned=True)
    path = tmp_path / f"model.{ending}"
    to = convert.to_tflite if ending == "tflite" else convert.to_coreml
    check(to(model, path, samples=inputs))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["tflite", "mlmodel"])
@pytest.mark.parametrize("name", NETWORKS)
def test_of_any_size(name, ending, tmp_path):
    model, inputs = network(name, image_size=None)
    path = tmp_path / f"model.{ending}"
    to = convert.to_tflite if ending == "tflite" else convert.to_coreml
    check(to(model, path, image_size=(32, 35), samples=inputs))
